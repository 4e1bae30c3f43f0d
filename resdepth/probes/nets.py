"""A net that a probe measures, and its images."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resdepth import device as devices
from resdepth.config.schema import DataConfig, RunConfig
from resdepth.data import sources
from resdepth.data.device_data import DeviceData, to_device
from resdepth.data.seeding import INITIALISATION, generator
from resdepth.errors import RecordError
from resdepth.models.net import Net, copy_tensors
from resdepth.results.checkpoint import load_weights
from resdepth.training.trainer import build_net


@dataclass(frozen=True)
class ProbedNet:
    """A net to measure: its configuration, the run's label, and the weights after `epoch`; none at initialisation."""

    config: RunConfig
    label: str
    epoch: int = 0
    weights: Path | None = None

    @property
    def key(self) -> tuple[str, int]:
        """The columns that tell it from the other nets of a CSV."""
        return self.label, self.epoch

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of `NetRow`."""
        c = self.config
        return {
            "run": self.label,
            "dataset": c.data.name,
            "model": c.model.name,
            "variant": c.variant,
            "depth": c.depth,
            "batch_norm": c.model.batch_norm,
            "zero_init_residual": c.model.zero_init_residual,
            "lr": c.recipe.lr,
            "seed": c.seed,
            "epoch": self.epoch,
        }

    def build(self, data: DeviceData) -> Net:
        """Return the net in float32 on the data's device. Raises RecordError for weights that do not fit."""
        net = build_net(self.config, data)
        if self.weights is not None:
            try:
                copy_tensors(net.state_dict(), load_weights(self.weights, self.config))
            except ValueError as error:
                raise RecordError(f"{self.weights}: does not fit the net ({error}); train its run again") from error
        return net.to(data.mean.device)


def load_data(config: RunConfig, *, as_pixels: bool = False) -> DeviceData:
    """Return a run's data on its device, as its recipe says or as pixels from 0 to 1; sets float32 arithmetic."""
    normalise, pad = ("none", 0) if as_pixels else (config.recipe.normalise, config.recipe.pad)
    return _device_data(config.data, config.device, normalise, pad)


@lru_cache(maxsize=1)
def _device_data(data: DataConfig, device_name: str, normalise: str, pad: int) -> DeviceData:
    device = devices.resolve(device_name)
    devices.set_precision("fp32", device)
    return to_device(sources.load(data), normalise, pad, device)


def sample(data: DeviceData, count: int) -> tuple[Tensor, Tensor]:
    """Return the same training images, normalised, for every net: images (N, C, H, W) float32 and labels (N,)."""
    index = torch.randperm(len(data.train), generator=generator(0, INITIALISATION))[:count].to(data.mean.device)
    return data.normalise(data.train.images[index]), data.train.labels[index]


def errors(logits: Tensor, labels: Tensor) -> float:
    """Return the error in percent."""
    return 100 * (logits.argmax(dim=1) != labels).float().mean().item()
