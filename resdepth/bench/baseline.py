"""The loops that people write today, to be measured beside ours in the same run.

`baseline_step_seconds` is the one of most repositories: PIL images through a DataLoader with workers, the loss read at
every step. `plain_sweep_seconds` is the best that plain PyTorch does on a CPU: everything in memory, run after run.
"""

import statistics
import time
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from resdepth import device as devices
from resdepth.data import sources
from resdepth.data.dataset import Split
from resdepth.data.seeding import generator
from resdepth.host import cores
from resdepth.models.build import build
from resdepth.sweep.plan import PlannedRun

_MOST_WORKERS = 4


class _Images(TorchDataset[tuple[torch.Tensor, int]]):
    def __init__(self, split: Split, pad: int, flip: bool) -> None:
        images = split.images.transpose(0, 2, 3, 1)
        self._images = [Image.fromarray(i if i.shape[2] == 3 else i[:, :, 0]) for i in np.ascontiguousarray(images)]
        self._labels = split.labels.tolist()
        size = images.shape[1:3]
        steps = [transforms.RandomCrop(size, padding=pad)] if pad else []
        steps += [transforms.RandomHorizontalFlip()] if flip else []
        self._transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(0.5, 0.25)])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(self._images[index]), self._labels[index]


def precision_name(device: torch.device) -> str:
    """What a loop computes in that says nothing about precision."""
    return "tf32" if device.type == "cuda" else "fp32"


def baseline_step_seconds(run: PlannedRun, split: Split, device: torch.device, warm_up: int, steps: int) -> list[float]:
    """Seconds of each step: eager, DataLoader with PIL transforms and workers, `.item()` at every step."""
    devices.set_precision(precision_name(device), device)
    torch.backends.cudnn.deterministic = False
    net, optimiser = _net_and_optimiser(run, device)
    loader = DataLoader(
        _Images(split, run.config.recipe.pad, run.config.recipe.flip),
        batch_size=run.schedule.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=min(_MOST_WORKERS, cores()),
        pin_memory=device.type == "cuda",
        persistent_workers=True,
    )
    times: list[float] = []
    while len(times) < warm_up + steps:
        started = time.perf_counter()
        for images, labels in loader:
            _step(net, optimiser, images.to(device, non_blocking=True), labels.to(device, non_blocking=True))
            times.append(time.perf_counter() - started)
            started = time.perf_counter()
    devices.set_precision(run.config.precision, device)
    return times[warm_up : warm_up + steps]


def plain_sweep_seconds(runs: Sequence[PlannedRun], device: torch.device) -> float:
    """Seconds of training all runs one after the other, all cores for each, tested every epoch."""
    started = time.perf_counter()
    for run in runs:
        data, recipe = sources.load(run.config.data), run.config.recipe
        (x, y), (x_test, y_test) = (
            (torch.from_numpy(s.images).to(device).float() / 255 - 0.5, torch.from_numpy(s.labels).to(device))
            for s in (data.train, data.test)
        )
        net, optimiser = _net_and_optimiser(run, device)
        decay = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(run.schedule.milestones), recipe.gamma)
        for epoch in range(1, run.schedule.epochs + 1):
            net.train()
            order = torch.randperm(len(x), device=device)
            for index in order.split(run.schedule.batch_size)[: run.schedule.steps_in(epoch)]:
                _step(net, optimiser, x[index], y[index])
                decay.step()
            net.eval()
            with torch.no_grad():
                for images, labels in zip(x_test.split(1000), y_test.split(1000), strict=True):
                    (net(images).argmax(dim=1) != labels).sum().item()
    return time.perf_counter() - started


def _net_and_optimiser(run: PlannedRun, device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    config, shape, recipe = run.config, run.shape, run.config.recipe
    net = build(config.depth, config.variant, config.model, shape.channels, shape.classes, generator(config.seed, 0))
    net.to(device)
    optimiser = torch.optim.SGD(
        net.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    return net, optimiser


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
    optimiser.zero_grad()
    logits = net(x)
    loss = F.cross_entropy(logits, y)
    loss.backward()
    optimiser.step()
    return loss.item(), (logits.argmax(dim=1) != y).sum().item()


def median_and_spread(seconds: Sequence[float]) -> tuple[float, float, float]:
    """Median, and the tenth and ninetieth percentile."""
    if len(seconds) < 2:
        return seconds[0], seconds[0], seconds[0]
    tenths = statistics.quantiles(seconds, n=10, method="inclusive")
    return statistics.median(seconds), tenths[0], tenths[-1]
