"""Downloads that fail, and data sets that were unpacked by half."""

import numpy as np
import pytest
from support.bad_input import check_refused
from support.downloads import OFFERS, Server, serving
from support.images import forget_images

from resdepth.config.schema import DataConfig
from resdepth.data import sources


@pytest.mark.parametrize("source", OFFERS)
@pytest.mark.parametrize("way", Server.WAYS)
def test_a_download_that_fails_is_one_line_and_the_next_try_gets_the_data(source, way, resdepth, tmp_path, monkeypatch):
    words = ["sweep", f"data={source}", "data.root=root"]
    with serving(way) as server:
        OFFERS[source](monkeypatch, server)
        check_refused(resdepth(*words), f"data={source}: not found in root, and the download failed (")
        assert not (tmp_path / "results").exists()
    with serving() as server:
        OFFERS[source](monkeypatch, server)
        data = sources.load(DataConfig(source=source, root="root"))
    assert (len(data.train.labels), len(data.test.labels)) == {"cifar10": (100, 20), "mnist": (40, 20)}[source]


@pytest.mark.parametrize("source", OFFERS)
def test_what_was_unpacked_by_half_is_not_taken_for_good(source, resdepth, tmp_path, monkeypatch):
    with serving() as server:
        OFFERS[source](monkeypatch, server)
        config = DataConfig(source=source, root="root")
        whole = sources.load(config)
        name = {"cifar10": "data_batch_1", "mnist": "train-images-idx3-ubyte"}[source]
        (file,) = (tmp_path / "root").rglob(name)
        file.write_bytes(file.read_bytes()[:1000])
        forget_images()
        if source == "mnist":  # torchvision has no sum of the file, only of the archive
            said = resdepth("sweep", "data=mnist", "data.root=root")
            check_refused(said, "data=mnist: not found in root, and the download failed (")
        assert np.array_equal(sources.load(config).train.images, whole.train.images)
