"""The schema: every key that can be set, its type, its default and its range. Standard library only.

Hydra composes YAML files and the command line into these dataclasses; `__post_init__` checks the values, so that an
instance is always valid. Instances are values: derive another one with `dataclasses.replace`.
"""

from dataclasses import dataclass, field

from resdepth.config.checks import choice, file_name, number, path_name, pattern, require, require_valid
from resdepth.variants import VARIANTS

SOURCES = ("digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "npz", "folder")
USER_SOURCES = ("npz", "folder")
GROUPS = ("data", "model", "recipe", "experiment")
SHORTCUTS = ("A", "B", "C")
DOWNSAMPLES = ("stride", "max", "avg")
ARCHITECTURES = ("conv", "dense")

# The folder of the results in the repository, which are read only where they are named.
PUBLISHED = "published"
_MAX_DEPTH = 20_000


@dataclass(unsafe_hash=True)
class DataConfig:
    """The data set. A user's own data are filled in: `fingerprint`, a hash of the content, and `classes`."""

    name: str = file_name("", "use")
    source: str = choice("digits", SOURCES)
    path: str | None = path_name(None)
    root: str = path_name("~/.cache/resdepth")
    download: bool = True
    size: int | None = number(None, least=4, most=512)
    limit: int | None = number(None, least=2, most=10**9)
    validation: int = number(0, least=0, most=10**9)
    fingerprint: str = ""
    classes: int | None = None

    def __post_init__(self) -> None:
        if self.source in USER_SOURCES:
            what = "the .npz file" if self.source == "npz" else "the folder that holds train/ and test/"
            require(bool(self.path), "data.path", self.path, f"data={self.source} needs data.path={what}")
        else:
            remedy = "only data=npz and data=folder read it; choose one of them"
            require(self.path is None, "data.path", self.path, remedy)
        require_valid(self, "data.")
        if self.source != "folder":
            require(self.size is None, "data.size", self.size, "only data=folder is resized; leave it out")


@dataclass
class ModelConfig:
    """The net without its depth and variant. Defaults: He et al. 2015, section 4.2.

    `width` and `downsample` belong to conv nets, `widths`, the units of each stage, to dense nets.
    """

    name: str = file_name("", "use")
    architecture: str = choice("conv", ARCHITECTURES)
    width: int = number(16, least=1, most=4096)
    widths: list[int] = field(default_factory=lambda: [128, 256])
    shortcut: str = choice("A", SHORTCUTS)
    downsample: str = choice("stride", DOWNSAMPLES)
    batch_norm: bool = True
    zero_init_residual: bool = False

    def __post_init__(self) -> None:
        require_valid(self, "model.")
        is_list = isinstance(self.widths, list) and all(type(width) is int for width in self.widths)
        is_inside = is_list and 1 <= len(self.widths) <= 16 and all(1 <= width <= 65536 for width in self.widths)
        require(is_inside, "model.widths", self.widths, "needs a list of 1 to 16 whole numbers from 1 to 65,536")
        if self.architecture == "dense":
            remedy = "is for conv nets; for dense nets set model.widths=[128,256]"
            require(self.width == 16, "model.width", self.width, remedy)
            require(self.downsample == "stride", "model.downsample", self.downsample, "is for conv nets; leave it out")
        else:
            remedy = "is for dense nets; for conv nets set model.width=16, or use model=dense"
            require(self.widths == [128, 256], "model.widths", self.widths, remedy)

    @property
    def min_depth(self) -> int:
        """The least number of layers: a block of two layers in every stage, the first layer and the classifier."""
        return 2 + 2 * (3 if self.architecture == "conv" else len(self.widths))

    def require_depth(self, depth: int) -> None:
        """Raises ConfigError for a depth that the net cannot have, with the nearest that it can."""
        step, number = (6, "6n+2") if self.architecture == "conv" else (2, "an even number of")
        below = depth - (depth - 2) % step
        nearest = (
            f"nearest are {below} and {below + step}" if below >= self.min_depth else f"nearest is {self.min_depth}"
        )
        stages = f"with {len(self.widths)} stages " if self.architecture == "dense" and len(self.widths) > 1 else ""
        least = (
            f", {stages}at least {self.min_depth}" if depth < self.min_depth and self.architecture == "dense" else ""
        )
        remedy = f"a {self.architecture} net has {number} layers{least}; {nearest}"
        require(depth == below >= self.min_depth, "depth", depth, remedy)


@dataclass
class RecipeConfig:
    """How a net is trained: SGD with momentum and a step schedule. Defaults: He et al. 2015, section 4.2.

    Exactly one of `epochs` and `iterations` is the length. At each of the `milestones`, all fractions of the length
    (below 1) or all iterations, the rate is multiplied by `gamma`. `warmup_lr` is the rate until an epoch ends with a
    training error below `warmup_error` percent, for at most `warmup_epochs` epochs, in nets of at least `warmup_depth`
    layers.
    """

    name: str = file_name("", "use")
    lr: float = number(0.1, above=0, most=1000)
    momentum: float = number(0.9, least=0, most=0.9999)
    weight_decay: float = number(1e-4, least=0, most=1)
    decay_bias: bool = True
    decay_bn: bool = True
    batch_size: int = number(128, least=2, most=65536)
    epochs: int | None = number(None, least=1, most=10**6)
    iterations: int | None = number(64_000, least=1, most=10**9)
    milestones: list[float] = field(default_factory=lambda: [0.5, 0.75])
    gamma: float = number(0.1, above=0, most=1)
    warmup_lr: float | None = number(0.01, above=0, most=1000)
    warmup_error: float = number(80.0, above=0, most=100)
    warmup_epochs: int = number(10, least=0, most=10**6)
    warmup_depth: int = number(110, least=1, most=10**9)
    normalise: str = choice("pixel_mean", ("pixel_mean", "channel", "none"))
    pad: int = number(4, least=0, most=64)
    flip: bool = True
    eval_every: int = number(1, least=1, most=10**6)
    eval_clean: bool = False

    def __post_init__(self) -> None:
        require_valid(self, "recipe.")
        lengths = [length for length in (self.epochs, self.iterations) if length is not None]
        require(len(lengths) > 0, "recipe.epochs", None, "set it or recipe.iterations")
        remedy = f"recipe.epochs={self.epochs} is set too; set one of them to null"
        require(len(lengths) < 2, "recipe.iterations", self.iterations, remedy)
        points = self.milestones
        # An interpolation may put another value here than OmegaConf's list of numbers.
        is_list = isinstance(points, list) and all(isinstance(p, int | float) for p in points)
        is_rising = is_list and points == sorted(set(points))
        is_valid = is_rising and (all(0 < p < 1 for p in points) or all(p >= 1 and p % 1 == 0 for p in points))
        remedy = "needs a rising list, all fractions of the length between 0 and 1 or all whole iterations"
        require(is_valid, "recipe.milestones", points, remedy)


@dataclass
class RunConfig:
    """One run: one net, one data set, one recipe, one seed."""

    depth: int = 20
    variant: str = choice("residual", VARIANTS)
    seed: int = number(0, least=0, most=2**31 - 1)
    device: str = pattern("auto", "auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?", "choose auto, cpu, cuda, cuda:N or mps")
    precision: str = choice("fp32", ("fp32", "tf32", "bf16"))
    engine: str = choice("auto", ("auto", "eager", "graph", "compiled"))
    memory_format: str = choice("auto", ("auto", "channels_last", "contiguous"))
    native_batch_norm: bool = False
    runs_per_job: str = pattern("auto", "auto|[1-9]|[12][0-9]|3[0-2]", "needs auto or a whole number from 1 to 32")
    threads: str = pattern("auto", "auto|[1-9][0-9]{0,2}", "needs auto or a whole number from 1 to 999")
    gradient_checkpointing: bool = False
    name: str = file_name("runs", "names a folder below the results:")  # in configs/config.yaml: the data's name
    results: str = path_name("results")
    checkpoint_seconds: float = number(60.0, least=0, most=10**9)
    keep_checkpoint: bool = False
    keep_weights: str = choice("none", ("none", "last", "all"))
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)

    def __post_init__(self) -> None:
        self.model.require_depth(self.depth)
        require(self.depth <= _MAX_DEPTH, "depth", self.depth, f"no device holds that net; at most {_MAX_DEPTH}")
        require_valid(self)
        require(self.name != PUBLISHED, "name", self.name, "is the folder of the results that came with the program")

    @property
    def shortcut(self) -> str:
        """The shortcut's option as the CSV states it: A, B or C, and `none` for a variant without one."""
        return self.model.shortcut if VARIANTS[self.variant].has_shortcut else "none"
