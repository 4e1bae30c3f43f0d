"""Stand-ins for CUDA's streams, events and graphs, with which the CUDA path runs on a CPU.

Work is done at once, but an event says so only after a few queries. What is recorded into a graph is the operators that
PyTorch dispatches, with the tensors that they read and wrote; a replay runs them again on these tensors, at fixed
addresses as CUDA does. What CUDA would not survive is noted in `faults`, also a tensor used on one stream that another
one has written, without a wait between them.
"""

import contextlib
from collections import Counter
from types import SimpleNamespace

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from resdepth.training import cuda, engine

QUERIES_UNTIL_DONE = 3


class FakeEvent:
    def __init__(self, stream):
        self.stream, self.recorded, self.left = stream, stream.cuda.clock, QUERIES_UNTIL_DONE

    def query(self):
        self.left -= 1
        if self.left <= 0:
            self.stream.known_done = max(self.stream.known_done, self.recorded)
        return self.left <= 0


class FakeStream:
    def __init__(self, cuda, number):
        self.cuda, self.number, self.pending, self.graphs = cuda, number, [], []
        self.known_done = -1  # the host knows that work up to this time is done
        self.waited_for = {}  # other streams' work up to these times

    def __repr__(self):
        return f"stream {self.number}"

    def wait_stream(self, other):
        self.cuda.waits[self, other] += 1
        self.waited_for[other] = self.cuda.clock

    def record_event(self):
        self.pending.append(FakeEvent(self))
        self.cuda.most_in_flight = max(self.cuda.most_in_flight, self.in_flight)
        return self.pending[-1]

    def synchronize(self):
        for event in self.pending:
            event.left = 0
        self.known_done = self.cuda.clock

    @property
    def in_flight(self):
        return sum(event.left > 0 for event in self.pending)


class FakeGraph:
    def __init__(self, cuda):
        self.cuda, self.stream, self.recording, self.replays = cuda, None, None, 0
        cuda.graphs.append(self)

    def replay(self):
        if self.cuda.current is not self.stream:
            self.cuda.faults.append(f"a graph of {self.stream} was replayed on {self.cuda.current}")
        if self not in self.stream.graphs:
            self.cuda.faults.append("a released graph was replayed")
        self.replays += 1
        self.recording.replay()

    def reset(self):
        if self.stream.in_flight:
            self.cuda.faults.append(f"a graph was released while {self.stream} was at work")
        self.stream.graphs.remove(self)


class Recording(TorchDispatchMode):
    """Records operators while it is entered; what they changed is undone at the end."""

    def __enter__(self):
        self.operators, self._before = [], []
        return super().__enter__()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for tensor in self._written(operator, args):
            self._before.append((tensor, tensor.clone()))
        result = operator(*args, **kwargs)
        self.operators.append((operator, args, kwargs, result))
        return result

    def __exit__(self, *error):
        super().__exit__(*error)
        with torch.no_grad():
            for tensor, value in reversed(self._before):
                tensor.copy_(value)

    @torch.no_grad()
    def replay(self):
        for operator, args, kwargs, result in self.operators:
            again = operator(*args, **kwargs)
            inputs = {
                tensor.untyped_storage().data_ptr() for tensor in tree_leaves((args, kwargs)) if is_tensor(tensor)
            }
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                # Views and results in place are there already.
                if is_tensor(old) and old.numel() and old.untyped_storage().data_ptr() not in inputs:
                    old.copy_(new)

    @staticmethod
    def _written(operator, args):
        if operator.overloadpacket.__name__ == "native_batch_norm":  # whose schema does not tell
            return [tensor for tensor in args[3:5] if is_tensor(tensor)]
        declared = zip(operator._schema.arguments, args, strict=False)
        return [t for a, value in declared if a.alias_info and a.alias_info.is_write for t in tree_leaves(value)]


def is_tensor(value):
    return isinstance(value, torch.Tensor)


class Streams(TorchDispatchMode):
    """Notes, for each tensor's memory, the stream that wrote it last; a fault where another one uses it too early."""

    def __init__(self, cuda):
        super().__init__()
        self.cuda, self.written = cuda, {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        cuda, current = self.cuda, self.cuda.current
        cuda.clock += 1
        inputs = [memory_of(tensor) for tensor in tree_leaves((args, kwargs or {})) if is_tensor(tensor)]
        for memory in inputs:
            stream, when = self.written.get(memory, (current, 0))
            if stream is not current and max(stream.known_done, current.waited_for.get(stream, -1)) < when:
                cuda.faults.append(f"{operator} on {current} uses what {stream} has written")
        result = operator(*args, **(kwargs or {}))
        if operator.overloadpacket.__name__ == "_local_scalar_dense":
            current.known_done = cuda.clock  # the host has waited for the value
        new = [memory_of(tensor) for tensor in tree_leaves(result) if is_tensor(tensor)]
        changed = [memory_of(tensor) for tensor in Recording._written(operator, args)]
        for memory in changed + [memory for memory in new if memory not in inputs]:
            self.written[memory] = current, cuda.clock
        return result


def memory_of(tensor):
    """A reference that does not keep a tensor's memory, and is not another's when that is used again."""
    return StorageWeakRef(tensor.untyped_storage())


class FakeCuda:
    """Stands for `torch.cuda` in `resdepth.training.cuda`. `install` puts runs on the CPU on streams, captured or not.

    As a context manager it watches which stream uses what.
    """

    def __init__(self):
        self.faults, self.graphs, self.streams, self.waits = [], [], [], Counter()
        self.most_in_flight, self.capturing, self.clock = 0, None, 0
        self.default = self.current = FakeStream(self, "default")

    def install(self, monkeypatch, engine_name="graph"):
        monkeypatch.setattr(cuda, "torch", SimpleNamespace(cuda=self))
        monkeypatch.setattr(cuda, "has_streams", lambda device: True)
        monkeypatch.setattr(engine, "choose", lambda *_: engine_name)
        monkeypatch.setattr(engine, "is_captured", lambda *_: engine_name != "eager")
        return self

    def __enter__(self):
        self._streams = Streams(self)
        self._streams.__enter__()
        return self

    def __exit__(self, *error):
        self._streams.__exit__(*error)

    def Stream(self, device):  # noqa: N802
        self.streams.append(FakeStream(self, len(self.streams)))
        return self.streams[-1]

    def CUDAGraph(self):  # noqa: N802
        return FakeGraph(self)

    def default_stream(self, device):
        return self.default

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def graph(self, graph, *, stream, capture_error_mode):
        if self.capturing:
            self.faults.append("two captures at once")
        if capture_error_mode != "thread_local":
            self.faults.append("other threads would break the capture")
        if stream is self.default or stream is not self.current:
            self.faults.append(f"captured on {stream}, warmed up on {self.current}")
        self.capturing, graph.stream = graph, stream
        stream.graphs.append(graph)
        graph.recording = Recording()
        try:
            with graph.recording:
                yield
        except Exception:
            # As torch.cuda.graph: ending a failed capture raises another error, before the stream is set back.
            self.current = stream
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904
        finally:
            self.capturing = None
