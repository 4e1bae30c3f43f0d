"""The schema: every key that can be set, its type, its default and its range. Standard library only.

Hydra composes YAML and the command line into these dataclasses; `__post_init__` checks the ranges, so that an instance
that exists is valid. Instances are values: derive another one with `dataclasses.replace`.
"""

import math
import re
from dataclasses import dataclass, field

from resdepth.config.checks import NAME, require, require_choice, require_number, require_option_name, require_path
from resdepth.variants import VARIANTS

SOURCES = ("digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "npz", "folder")
OWN_SOURCES = ("npz", "folder")
GROUPS = ("data", "model", "recipe", "experiment")
SHORTCUTS = ("A", "B", "C")
DOWNSAMPLES = ("stride", "max", "avg")
PRECISIONS = ("fp32", "tf32", "bf16")
ENGINES = ("auto", "eager", "graph", "compiled")
NORMALISATIONS = ("pixel_mean", "channel", "none")

# Results that came with the program: read where they are asked for by name, not beside a user's own.
PUBLISHED = "published"


_DEVICE = re.compile(r"auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?")
_RUNS = re.compile(r"auto|[1-9]|[12][0-9]|3[0-2]")
_MAX_DEPTH = 20_000


@dataclass(unsafe_hash=True)
class DataConfig:
    """Which images. `fingerprint` is filled in for a user's own data: a hash of their content."""

    name: str = ""
    source: str = "digits"
    path: str | None = None
    root: str = "~/.cache/resdepth"
    download: bool = True
    size: int | None = None
    limit: int | None = None
    validation: int = 0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        require_choice("data.source", self.source, SOURCES)
        require_option_name("data.name", self.name)
        if self.source in OWN_SOURCES:
            what = "the .npz file" if self.source == "npz" else "the folder that holds train/ and test/"
            require(bool(self.path), "data.path", self.path, f"data={self.source} needs data.path={what}")
        elif self.path is not None:
            require(False, "data.path", self.path, "only data=npz and data=folder read it; say which")
        require_path("data.path", self.path or ".")
        require_path("data.root", self.root)
        if self.size is not None:
            require(self.source == "folder", "data.size", self.size, "only data=folder is resized; leave it out")
            require_number("data.size", self.size, 4, 512)
        if self.limit is not None:
            require_number("data.limit", self.limit, 2, 10**9)
        require_number("data.validation", self.validation, 0, 10**9)


@dataclass
class ModelConfig:
    """The net but for its depth and variant. Defaults: He et al. 2015, section 4.2."""

    name: str = ""
    width: int = 16
    shortcut: str = "A"
    downsample: str = "stride"
    batch_norm: bool = True
    zero_init_residual: bool = False

    def __post_init__(self) -> None:
        require_option_name("model.name", self.name)
        require_number("model.width", self.width, 1, 4096)
        require_choice("model.shortcut", self.shortcut, SHORTCUTS)
        require_choice("model.downsample", self.downsample, DOWNSAMPLES)


@dataclass
class RecipeConfig:
    """How a net is trained: SGD with momentum and a step schedule. Defaults: He et al. 2015, section 4.2.

    Exactly one of `epochs` and `iterations` is the length. `milestones` are where the rate is multiplied by `gamma`:
    all fractions of the length (below 1) or all iterations. `warmup_lr` is the rate until an epoch ends with a training
    error below `warmup_error` percent, for at most `warmup_epochs` epochs, in nets of at least `warmup_depth` layers.
    """

    name: str = ""
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_bias: bool = True
    decay_bn: bool = True
    batch_size: int = 128
    epochs: int | None = None
    iterations: int | None = 64_000
    milestones: list[float] = field(default_factory=lambda: [0.5, 0.75])
    gamma: float = 0.1
    warmup_lr: float | None = 0.01
    warmup_error: float = 80.0
    warmup_epochs: int = 10
    warmup_depth: int = 110
    normalise: str = "pixel_mean"
    pad: int = 4
    flip: bool = True
    eval_every: int = 1
    eval_clean: bool = False

    def __post_init__(self) -> None:
        require_option_name("recipe.name", self.name)
        require_number("recipe.lr", self.lr, 0, 1000, open_low=True)
        require_number("recipe.momentum", self.momentum, 0, 0.9999)
        require_number("recipe.weight_decay", self.weight_decay, 0, 1)
        require_number("recipe.batch_size", self.batch_size, 2, 65536)
        require_number("recipe.gamma", self.gamma, 0, 1, open_low=True)
        require_number("recipe.pad", self.pad, 0, 64)
        require_number("recipe.eval_every", self.eval_every, 1, 10**6)
        require_choice("recipe.normalise", self.normalise, NORMALISATIONS)
        self._check_length()
        self._check_warmup()

    def _check_length(self) -> None:
        both = self.epochs is not None and self.iterations is not None
        require(not both, "recipe.iterations", self.iterations, f"recipe.epochs={self.epochs} is set too; null one")
        require(
            self.epochs is not None or self.iterations is not None, "recipe.epochs", None, "set it or recipe.iterations"
        )
        if self.epochs is not None:
            require_number("recipe.epochs", self.epochs, 1, 10**6)
        if self.iterations is not None:
            require_number("recipe.iterations", self.iterations, 1, 10**9)
        points = self.milestones
        fractions, positive = [p < 1 for p in points], all(math.isfinite(p) and p > 0 for p in points)
        whole = all(p == int(p) for p in points if math.isfinite(p) and p >= 1)
        require(
            positive and whole and points == sorted(set(points)) and (all(fractions) or not any(fractions)),
            "recipe.milestones",
            points,
            "needs a rising list, all fractions of the length between 0 and 1 or all whole iterations",
        )

    def _check_warmup(self) -> None:
        if self.warmup_lr is not None:
            require_number("recipe.warmup_lr", self.warmup_lr, 0, 1000, open_low=True)
        require_number("recipe.warmup_error", self.warmup_error, 0, 100, open_low=True)
        require_number("recipe.warmup_epochs", self.warmup_epochs, 0, 10**6)
        require_number("recipe.warmup_depth", self.warmup_depth, 1, 10**9)


@dataclass
class RunConfig:
    """One run: one net, one data set, one recipe, one seed."""

    depth: int = 20
    variant: str = "residual"
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    engine: str = "auto"
    runs_per_job: str = "auto"
    gradient_checkpointing: bool = False
    name: str = "runs"  # in configs/config.yaml: the data's name
    results: str = "results"
    checkpoint_seconds: float = 60.0
    keep_checkpoint: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)

    def __post_init__(self) -> None:
        require(self.variant in VARIANTS, "variant", self.variant, f"choose one of {', '.join(VARIANTS)}")
        self._check_depth()
        require_number("seed", self.seed, 0, 2**31 - 1)
        require(
            _DEVICE.fullmatch(self.device) is not None,
            "device",
            repr(self.device),
            "choose auto, cpu, cuda, cuda:N or mps",
        )
        require_choice("precision", self.precision, PRECISIONS)
        require_choice("engine", self.engine, ENGINES)
        whole = "needs auto or a whole number from 1 to 32"
        require(_RUNS.fullmatch(self.runs_per_job) is not None, "runs_per_job", self.runs_per_job, whole)
        require(
            NAME.fullmatch(self.name) is not None,
            "name",
            repr(self.name),
            "names a folder below the results: letters, digits, '.', '_' and '-', beginning with a letter or digit, "
            "at most 80",
        )
        require_path("results", self.results)
        require(self.name != PUBLISHED, "name", self.name, "is the folder of the results that came with the program")
        require_number("checkpoint_seconds", self.checkpoint_seconds, 0, 10**9)

    def _check_depth(self) -> None:
        below = max(8, self.depth - (self.depth - 2) % 6)
        nearest = "nearest is 8" if self.depth < 8 else f"nearest are {below} and {below + 6}"
        valid = self.depth >= 8 and (self.depth - 2) % 6 == 0
        require(valid, "depth", self.depth, f"a conv net has 6n+2 layers; {nearest}")
        require(self.depth <= _MAX_DEPTH, "depth", self.depth, f"no device holds that net; at most {_MAX_DEPTH}")

    @property
    def shortcut(self) -> str:
        """The shortcut's option as the CSV states it: A, B or C, and `none` for a variant without one."""
        return self.model.shortcut if VARIANTS[self.variant].has_shortcut else "none"
