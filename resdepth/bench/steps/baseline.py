"""Two loops to compare with, measured in the same run.

`baseline_step_seconds` times the loop of most repositories: PIL images through a DataLoader with workers, the loss read
at every step. `plain_sweep_seconds` times the best that plain PyTorch does on a CPU: the data in memory, run after run.
"""

import itertools
import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from resdepth import device as devices
from resdepth.data import sources
from resdepth.data.dataset import Split
from resdepth.data.seeding import generator
from resdepth.host import cores
from resdepth.models.build import build
from resdepth.sweep.plan import RunSpec

_MAX_WORKERS = 4


class _Images(Dataset[tuple[torch.Tensor, int]]):
    """A split as PIL images with torchvision's transforms: crop, flip, to tensor, normalise."""

    def __init__(self, split: Split, pad: int, flip: bool) -> None:
        self._images = [transforms.functional.to_pil_image(image) for image in torch.from_numpy(split.images)]
        self._labels = split.labels.tolist()
        steps = [transforms.RandomCrop(split.images.shape[2:], padding=pad)] if pad else []
        steps += [transforms.RandomHorizontalFlip()] if flip else []
        self._transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(0.5, 0.25)])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(self._images[index]), self._labels[index]


def baseline_precision(device: torch.device) -> str:
    """Return the precision of a loop that does not set one: cuDNN's convolutions are tf32 by default."""
    return "tf32" if device.type == "cuda" else "fp32"


def baseline_step_seconds(
    spec: RunSpec, split: Split, device: torch.device, warm_up: int, steps: int, most_seconds: float
) -> list[float]:
    """Time each step of an eager loop: DataLoader with PIL transforms and workers, `.item()` at every step.

    Ends early, with a step at least, when the steps take longer than `most_seconds`.
    """
    devices.set_precision(baseline_precision(device), device)
    torch.backends.cudnn.deterministic = False
    net, optimiser = _net_and_optimiser(spec, device)
    loader = DataLoader(
        _Images(split, spec.config.recipe.pad, spec.config.recipe.flip),
        batch_size=spec.schedule.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=min(_MAX_WORKERS, cores()),
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )
    moments = [time.perf_counter()]
    for images, labels in itertools.chain.from_iterable(itertools.repeat(loader)):
        _step(net, optimiser, images.to(device, non_blocking=True), labels.to(device, non_blocking=True))
        moments.append(time.perf_counter())
        done = len(moments) - 1
        if done >= warm_up + steps or (done > warm_up and moments[-1] - moments[0] > most_seconds):
            break
    return np.diff(moments)[warm_up : warm_up + steps].tolist()


def plain_sweep_seconds(specs: Sequence[RunSpec], device: torch.device) -> float:
    """Time the training of all runs, one after the other on all cores, with a test at every epoch."""
    started = time.perf_counter()
    for spec in specs:
        data, schedule = sources.load(spec.config.data), spec.schedule
        (x, y), (x_test, y_test) = (
            (torch.from_numpy(s.images).to(device).float() / 255 - 0.5, torch.from_numpy(s.labels).to(device))
            for s in (data.train, data.test)
        )
        net, optimiser = _net_and_optimiser(spec, device)
        decay = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(schedule.milestones), spec.config.recipe.gamma)
        for epoch in range(1, schedule.epochs + 1):
            net.train()
            order = torch.randperm(len(x), device=device)
            for index in order.split(schedule.batch_size)[: schedule.steps_in(epoch)]:
                _step(net, optimiser, x[index], y[index])
                decay.step()
            net.eval()
            with torch.no_grad():
                for images, labels in zip(x_test.split(1000), y_test.split(1000), strict=True):
                    (net(images).argmax(dim=1) != labels).sum().item()
    return time.perf_counter() - started


def _net_and_optimiser(spec: RunSpec, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    config, shape, recipe = spec.config, spec.shape, spec.config.recipe
    net = build(config.depth, config.variant, config.model, shape.image, shape.classes, generator(config.seed, 0))
    # As nets usually are: images, maps and weights NCHW.
    net.to(device)
    return net, torch.optim.SGD(net.parameters(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    optimiser.zero_grad()
    logits = net(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    optimiser.step()
    return loss.item(), (logits.argmax(dim=1) != y).sum().item()
