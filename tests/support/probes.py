"""Small nets to probe, on 100 digits."""

from resdepth.config.schema import DataConfig, ModelConfig, RecipeConfig, RunConfig
from resdepth.probes.nets import ProbedNet, load_data

SHORT = RecipeConfig(epochs=2, iterations=None, lr=0.02, batch_size=32, pad=0, flip=False, warmup_lr=None)
ARCHITECTURES = {"conv": {"width": 4}, "dense": {"widths": [12, 16]}}


def probed(variant="residual", depth=8, architecture="conv", recipe=SHORT, **model):
    """A net at its initialisation, and its label."""
    config = ModelConfig(name=architecture, architecture=architecture, **{**ARCHITECTURES[architecture], **model})
    data = DataConfig(name="digits", limit=100)
    run = RunConfig(depth=depth, variant=variant, device="cpu", name="x", data=data, model=config, recipe=recipe)
    return ProbedNet(run, f"{variant}-{depth}-s0")


def data_of(net, **options):
    return load_data(net.config, **options)
