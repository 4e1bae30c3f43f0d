"""A server on this machine that hands out small CIFAR-10s and MNISTs, well or badly, and torchvision pointed at it."""

import gzip
import hashlib
import http.server
import io
import pickle
import socket
import tarfile
import threading
from contextlib import contextmanager

import numpy as np
from torchvision import datasets


class Server:
    """What it serves, by file name, and how: `well`, or one of the ways of WAYS."""

    WAYS = ("not found", "refused", "breaks off", "wrong MD5", "rubbish")

    def __init__(self):
        self.way, self.files, self.port = "well", {}, 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def answer(self, request):
        name, way = request.path.strip("/"), self.way
        if way == "rubbish":
            request.wfile.write(b"no HTTP at all\r\n\r\n")
            return
        if way == "not found" or name not in self.files:
            request.send_error(404)
            return
        content = bytearray(self.files[name])
        if way == "wrong MD5":
            content[len(content) // 2] ^= 0xFF
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content[: len(content) // 2] if way == "breaks off" else content)


@contextmanager
def serving(way="well"):
    server = Server()
    server.way = way

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    if way == "refused":
        with socket.socket() as taken:  # bound and not listening
            taken.bind(("127.0.0.1", 0))
            server.port = taken.getsockname()[1]
            yield server
        return
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        server.port = listening.server_port
        threading.Thread(target=listening.serve_forever, args=[0.01], daemon=True).start()
        yield server
        listening.shutdown()


def _cifar_archive(random):
    """cifar-10-python.tar.gz with 20 images a batch, and the MD5 sums torchvision would know it by."""
    files, names = {}, [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name in names:
        data = random.integers(0, 256, (20, 3072)).astype(np.uint8)
        files[name] = pickle.dumps({"data": data, "labels": [i % 10 for i in range(20)]})
    files["batches.meta"] = pickle.dumps({"label_names": [f"class{i}" for i in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    return buffer.getvalue(), files, sums


def offer_cifar10(monkeypatch, server):
    """torchvision's CIFAR10 comes from `server`; returns the files inside its archive."""
    archive, files, sums = _cifar_archive(np.random.default_rng(0))
    server.files["cifar.tar.gz"] = archive
    kind = datasets.CIFAR10
    monkeypatch.setattr(kind, "url", f"{server.url}cifar.tar.gz")
    monkeypatch.setattr(kind, "filename", "cifar.tar.gz")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(archive).hexdigest())
    monkeypatch.setattr(kind, "train_list", [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})
    return files


def offer_mnist(monkeypatch, server):
    """torchvision's MNIST comes from `server`: 40 and 20 images in the IDX format."""
    random, resources = np.random.default_rng(0), []
    for split, count in (("train", 40), ("t10k", 20)):
        images = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for name, array in ((f"{split}-images-idx3-ubyte.gz", images), (f"{split}-labels-idx1-ubyte.gz", labels)):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
            content = gzip.compress(header + array.tobytes())
            server.files[name] = content
            resources.append((name, hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url])
    monkeypatch.setattr(datasets.MNIST, "resources", resources)


OFFERS = {"cifar10": offer_cifar10, "mnist": offer_mnist}
