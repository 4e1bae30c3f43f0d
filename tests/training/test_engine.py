"""Engines: however a step is executed, it is the same step."""

import itertools
import shutil

import numpy as np
import pytest
import torch
from support.commands import forked_command
from support.runs import rows
from support.trainers import CPU, SHORT, evaluate, on_gpu, train_steps, training
from torch._dynamo import testing

from resdepth import device as devices
from resdepth.config.schema import DataConfig, RunConfig
from resdepth.data import sources
from resdepth.data.device_data import to_device
from resdepth.errors import ConfigError
from resdepth.models.net import Block
from resdepth.training import engine
from resdepth.training.trainer import Trainer


def gradients(t, dtype=None):
    """Of the first minibatch's loss, by name. `dtype` float64 is the reference."""
    if dtype:
        t.net.to(dtype)
    order = torch.arange(32)
    x = t.data.normalise(t.data.train.images[order]).to(dtype or torch.float32)
    torch.nn.functional.cross_entropy(t.net.train()(x), t.data.train.labels[order]).backward()
    return {name: p.grad.double() for name, p in t.net.named_parameters()}


def distance(one, other):
    """Of the whole gradients, relative to the other's length."""
    one, other = (torch.cat([part.flatten() for part in each.values()]) for each in (one, other))
    return float((one - other).norm() / other.norm())


def test_auto_is_eager_on_a_cpu_and_graph_on_cuda():
    assert engine.choose("auto", CPU) == "eager"
    assert engine.choose("auto", torch.device("cuda")) == "graph"
    assert [engine.is_captured(e, torch.device("cuda")) for e in ("eager", "graph", "compiled")] == [False, True, True]
    assert not engine.is_captured("compiled", CPU)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_maps_are_channels_last_but_in_float32_on_cuda_and_as_asked_for(precision):
    on_cuda = engine.choose_memory_format("auto", precision, torch.device("cuda"))
    assert on_cuda == (torch.contiguous_format if precision == "fp32" else torch.channels_last)
    assert engine.choose_memory_format("auto", precision, CPU) == torch.channels_last
    for device in (CPU, torch.device("cuda")):
        assert engine.choose_memory_format("contiguous", precision, device) == torch.contiguous_format
        assert engine.choose_memory_format("channels_last", precision, device) == torch.channels_last


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_all_maps_and_weights_of_a_net_have_its_memory_format(memory_format, channels, images, tmp_path):
    if channels == 1:
        images = {key: value[..., 0] if key.startswith("x") else value for key, value in images.items()}
    np.savez(tmp_path / "mine.npz", **images)
    data = DataConfig(name="mine", source="npz", path=str(tmp_path / "mine.npz"))
    config = RunConfig(depth=8, name="x", data=data, recipe=SHORT, memory_format=memory_format)
    t, maps = Trainer(config, to_device(sources.load(data), "none", SHORT.pad, CPU)), []
    assert (t.net.memory_format is torch.channels_last) == (memory_format == "channels_last")
    for module in t.net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, x, y: maps.extend((x[0], y, module.weight)))
    next(t.epochs())
    several = [tensor for tensor in maps if tensor.shape[1] > 1]  # of one channel, both formats are the same
    assert len(several) >= 3 * 6 * 3
    assert all(tensor.is_contiguous(memory_format=t.net.memory_format) for tensor in several)


def test_an_engine_the_device_lacks_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ConfigError, match="engine=graph: captures CUDA graphs; on cpu use engine=auto"):
        engine.choose("graph", CPU)
    done = forked_command("sweep", "engine=graph", "device=cpu", cwd=tmp_path)
    # One line of standard output may say what the sweep is.
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())


def test_a_precision_the_device_lacks_is_refused_and_the_check_sets_nothing():
    with pytest.raises(ConfigError, match="precision=tf32: needs a CUDA device; on cpu use fp32 or bf16"):
        devices.require_precision("tf32", CPU)
    before = torch.get_float32_matmul_precision()
    devices.require_precision("tf32", torch.device("cuda"))
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_gradient_checkpointing_changes_no_number(variant):
    usual, recomputed = training(variant), training(variant, gradient_checkpointing=True)
    assert rows(usual.epochs()) == rows(recomputed.epochs())
    for name, tensor in usual.net.state_dict().items():
        assert torch.equal(tensor, recomputed.net.state_dict()[name]), name


def kept_bytes(t):
    """What the forward pass keeps for the backward pass, each storage once; parameters are there anyway."""
    kept = {}
    own = {p.untyped_storage().data_ptr() for p in t.net.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        t.net.train()(t.data.normalise(t.data.train.images[:32])).sum()
    return sum(size for size, _ in kept.values())


def test_gradient_checkpointing_keeps_a_fraction_of_the_activations():
    usual = kept_bytes(training(depth=20))
    # What a block keeps is hidden from the outer hooks; its input is all that is handed to them.
    assert kept_bytes(training(depth=20, gradient_checkpointing=True)) < 0.4 * usual


@pytest.mark.slow
def test_blocks_are_compiled_once_by_shape_not_once_by_layer():
    torch._dynamo.reset()
    counted = []
    for depth in (8, 20):
        torch._dynamo.reset()
        t = training(depth=depth)
        counter = testing.CompileCounterWithBackend("aot_eager")
        compiled = torch.compile(Block.forward, dynamic=False, backend=counter)
        t.net.call_block = compiled
        train_steps(t, 2)
        counted.append(counter.frame_count)
    # Of each stage: 8 layers have one block, 20 have three, the last two alike; the first stage's are all alike.
    assert counted == [3, 5]


def test_more_compilations_than_the_limit_raise_instead_of_running_eagerly():
    engine._compiled.cache_clear()
    engine._compiled()
    assert torch.compiler.config.recompile_limit == 4096, "this torch ignores torch.compiler.config.recompile_limit"
    one_more = torch.compile(lambda a: a + 1, dynamic=False, backend="eager")
    with torch.compiler.config.patch(recompile_limit=1):
        one_more(torch.ones(2))
        with pytest.raises(Exception, match="recompile_limit"):
            one_more(torch.ones(3))


def test_compiled_blocks_have_the_eager_ones_gradients(monkeypatch):
    monkeypatch.setattr(engine, "_compiled", lambda: torch.compile(Block.forward, dynamic=False, backend="aot_eager"))
    reference = gradients(training(depth=14), torch.float64)
    assert distance(gradients(training(depth=14, engine="compiled")), reference) < 1e-5
    assert training(engine="compiled").net.call_block is not Block.__call__


def test_an_evaluation_never_calls_a_compiled_block():
    t = training()
    t.net.call_block = lambda *_: pytest.fail("a block was called as in training")
    assert evaluate(t.net, t.data, "test")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.parametrize(
    ("variant", "precision", "most"),
    # In bfloat16 the rounding of eager steps is 0.1 to 0.3; inductor rounds less often.
    [("plain", "float64", 1e-10), ("residual", "float64", 1e-10), ("residual", "bf16", 0.3)],
)
def test_blocks_compiled_by_inductor_have_the_eager_gradients_of_float64(variant, precision, most):
    torch._dynamo.reset()
    engine._compiled.cache_clear()
    reference = gradients(training(variant), torch.float64)
    if precision == "float64":
        compiled = gradients(training(variant, engine="compiled"), torch.float64)
    else:
        compiled = gradients(training(variant, engine="compiled", precision=precision))
        eager = distance(gradients(training(variant, precision=precision)), reference)
        assert distance(compiled, reference) < 1.5 * eager
    assert distance(compiled, reference) < most


@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_eager_gradients_are_those_of_float64_and_bf16s_are_near_them(variant):
    # At 8 layers no unit of a plain net lies so near zero that rounding switches it.
    reference = gradients(training(variant), torch.float64)
    assert distance(gradients(training(variant)), reference) < 1e-5
    assert 1e-5 < distance(gradients(training(variant, precision="bf16")), reference) < 0.3


def test_bf16_ends_at_the_errors_of_float32():
    final = {}
    for precision, seed in itertools.product(("fp32", "bf16"), (0, 1, 2)):
        *_, last = training(recipe=SHORT, precision=precision, seed=seed).epochs()
        final.setdefault(precision, []).append(last.train_loss)
    means = {precision: sum(each) / 3 for precision, each in final.items()}
    assert means["bf16"] == pytest.approx(means["fp32"], rel=0.1)


@pytest.mark.gpu
def test_compiled_on_a_gpu_has_the_gradients_of_float64():
    # In float32 rounding switches units near zero, at which the gradients of 14 layers differ by up to a hundredth.
    reference = gradients(on_gpu(depth=14, engine="eager"), torch.float64)
    assert distance(gradients(on_gpu(depth=14, engine="compiled"), torch.float64), reference) < 1e-8


@pytest.mark.gpu
def test_compiled_ends_at_the_errors_of_eager():
    final = {}
    for name, seed in itertools.product(("eager", "compiled"), (0, 1, 2)):
        *_, last = on_gpu(engine=name, seed=seed).epochs()
        final.setdefault(name, []).append(last.train_loss)
    assert sum(final["compiled"]) == pytest.approx(sum(final["eager"]), rel=0.1)
