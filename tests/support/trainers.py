"""One small net in training, on 100 digits."""

import torch

from resdepth import device as devices
from resdepth.config.schema import DataConfig, RecipeConfig, RunConfig
from resdepth.data import sources
from resdepth.data.device_data import to_device
from resdepth.training.cuda import Stream
from resdepth.training.evaluation import Evaluation
from resdepth.training.timing import begin_epoch
from resdepth.training.trainer import Trainer

CPU = torch.device("cpu")
SHORT = RecipeConfig(epochs=3, iterations=None, lr=0.02, batch_size=32, pad=1)


def training(variant="residual", recipe=SHORT, depth=8, device="cpu", **keys):
    data = DataConfig(name="digits", limit=100)
    config = RunConfig(depth=depth, variant=variant, device=device, name="x", data=data, recipe=recipe, **keys)
    return Trainer(config, to_device(sources.load(data), recipe.normalise, recipe.pad, torch.device(device)))


def evaluate(net, data, split, batch=1000):
    evaluation = Evaluation(net, data, split, Stream(data.mean.device), is_captured=False, batch=batch)
    evaluation.start()
    return evaluation.result()


def train_steps(t, steps):
    """Train on the first minibatches; return loss and error."""
    begin_epoch([t])
    for _ in range(steps):
        t.step()
    return t.step.epoch_metrics()


# What follows needs a CUDA device: `python -m pytest -m gpu` runs it.


def on_gpu(**keys):
    devices.set_precision(keys.get("precision", "fp32"), torch.device("cuda"))
    return training(device="cuda", **keys)
