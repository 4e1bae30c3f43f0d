"""The schema: every key that can be set, its type, its default and its range. Standard library only.

Hydra composes YAML files and the command line into these dataclasses; `__post_init__` checks the values, so that an
instance is always valid. Instances are values: derive another one with `dataclasses.replace`.

`resdepth show KEY` and README's table of keys (`resdepth show keys --markdown`) are generated from it.
"""

from dataclasses import dataclass, field

from resdepth.config.checks import (
    are_milestones,
    are_widths,
    choice,
    computed,
    file_name,
    flag,
    key,
    number,
    numbers,
    path_name,
    pattern,
    require,
    require_valid,
)
from resdepth.variants import VARIANTS

SOURCES = ("digits", "cifar10", "cifar100", "mnist", "fashion_mnist", "npz", "folder")
USER_SOURCES = ("npz", "folder")
# The groups of options, YAML files in configs/<group>/, with what choosing one means.
GROUPS = {
    "data": "the data set; selects the recipe of the same name",
    "model": "the kind of net",
    "recipe": "how the nets are trained",
    "experiment": "a named sweep",
}
SHORTCUTS = ("A", "B", "C")
DOWNSAMPLES = ("stride", "max", "avg")
ARCHITECTURES = ("conv", "dense")

# The folder of the results in the repository, which are read only where they are named.
PUBLISHED = "published"
_PLUGIN_HINT = "; --plugin FILE adds variants of your own"
_MAX_DEPTH = 20_000
_OPTIONS_NAME = "the option's name"


@dataclass(unsafe_hash=True)
class DataConfig:
    """The data set. A user's own data are filled in: `fingerprint`, a hash of the content, and `classes`."""

    name: str = file_name("", "name of the data in figures and CSV", stands_for="the option's, file's or folder's name")
    source: str = choice("digits", "the loader that reads the data", SOURCES, stands_for="set by the option")
    path: str | None = path_name(None, "npz: the file; folder: that of train/ and test/, or of the classes")
    root: str = path_name("~/.cache/resdepth", "folder of downloads")
    download: bool = flag(True, "whether to download what is missing")
    size: int | None = number(None, "folder: resize to size x size pixels", least=4, most=512)
    limit: int | None = number(None, "most images per split, balanced over the classes", least=2, most=10**9)
    validation: int = number(0, "training images to hold out; they replace the test set", least=0, most=10**9)
    fingerprint: str = computed("", "hash of your own data, part of a run's identity")
    classes: int | None = computed(None, "classes of your own data, for the chance level in figures")

    def __post_init__(self) -> None:
        if self.source in USER_SOURCES:
            what = "FILE.npz" if self.source == "npz" else "FOLDER, with a folder of images for each class"
            require(bool(self.path), "data.path", self.path, f"data={self.source} needs data.path={what}")
        else:
            remedy = "is used only with data=npz or data=folder; choose one of them, or leave it out"
            require(self.path is None, "data.path", self.path, remedy)
        require_valid(self, "data.")
        if self.source != "folder":
            require(self.size is None, "data.size", self.size, "only data=folder resizes images; leave it out")


@dataclass
class ModelConfig:
    """The net without its depth and variant. Defaults: He et al. 2015, section 4.2."""

    name: str = file_name("", "name of the model in the CSV", stands_for=_OPTIONS_NAME)
    architecture: str = choice("conv", "what a layer is: a 3x3 convolution (conv), or a matrix (dense)", ARCHITECTURES)
    width: int = number(
        16, "conv: channels of the first stage; the next have 2 and 4 times as many", least=1, most=4096
    )
    widths: list[int] = numbers(
        [128, 256],
        "dense: units of each stage; the blocks are divided evenly among the stages",
        are_widths,
        "a list of 1 to 16 whole numbers from 1 to 65,536",
    )
    shortcut: str = choice(
        "A", "A zero-padding (dense: or truncation), B projection where shapes change, C everywhere", SHORTCUTS
    )
    downsample: str = choice("stride", "conv: stride, max or average pooling between the stages", DOWNSAMPLES)
    batch_norm: bool = flag(True, "batch norm after every layer; without it the layers have biases")
    zero_init_residual: bool = flag(False, "initialise every residual block as the identity")

    def __post_init__(self) -> None:
        require_valid(self, "model.")
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

    Exactly one of `epochs` and `iterations` is the length.
    """

    name: str = file_name("", "name of the recipe in titles", stands_for=_OPTIONS_NAME)
    lr: float = number(0.1, "learning rate", above=0, most=1000)
    momentum: float = number(0.9, "momentum of SGD", least=0, most=0.9999)
    weight_decay: float = number(1e-4, "L2 penalty of SGD", least=0, most=1)
    decay_bias: bool = flag(True, "whether weight decay applies to biases too")
    decay_bn: bool = flag(True, "whether weight decay applies to batch norm's scale and shift too")
    batch_size: int = number(
        128, "images per minibatch; the last of an epoch is filled up from the epoch's start", least=2, most=65536
    )
    epochs: int | None = number(None, "length in epochs; unsets `recipe.iterations`", least=1, most=10**6)
    iterations: int | None = number(64_000, "length in minibatches; unsets `recipe.epochs`", least=1, most=10**9)
    milestones: list[float] = numbers(
        [0.5, 0.75],
        "where the rate is multiplied by `recipe.gamma`: fractions of the length, or iterations",
        are_milestones,
        "an increasing list, all fractions of the length between 0 and 1 or all whole iterations",
    )
    gamma: float = number(0.1, "factor of the rate at each milestone", above=0, most=1)
    warmup_lr: float | None = number(
        0.01, "rate until an epoch ends with a training error below `recipe.warmup_error`", above=0, most=1000
    )
    warmup_error: float = number(80.0, "training error, percent, that ends the warm-up", above=0, most=100)
    warmup_epochs: int = number(10, "longest warm-up in epochs", least=0, most=10**6)
    warmup_depth: int = number(110, "depth from which nets warm up", least=1, most=10**9)
    normalise: str = choice(
        "pixel_mean",
        "subtract each pixel's mean, or each channel's and divide by its standard deviation; of the training split",
        ("pixel_mean", "channel", "none"),
    )
    pad: int = number(4, "padding, pixels, before a random crop drawn for each image", least=0, most=64)
    flip: bool = flag(True, "horizontal flip, drawn for each image")
    eval_every: int = number(1, "epochs between tests", least=1, most=10**6)
    eval_clean: bool = flag(False, "also measure the training set without augmentation")

    def __post_init__(self) -> None:
        require_valid(self, "recipe.")
        lengths = [length for length in (self.epochs, self.iterations) if length is not None]
        require(len(lengths) > 0, "recipe.epochs", None, "set recipe.epochs or recipe.iterations")
        remedy = f"recipe.epochs is {self.epochs}; set only one of recipe.epochs and recipe.iterations"
        require(len(lengths) < 2, "recipe.iterations", self.iterations, remedy)


@dataclass
class RunConfig:
    """One run: one net, one data set, one recipe, one seed. `plugin` is filled in, a SHA-256."""

    depth: int = key(20, "weighted layers", "6n+2 for a conv net, an even number for a dense net")
    variant: str = choice("residual", "how a block joins its output with its input", VARIANTS, hint=_PLUGIN_HINT)
    plugin: str = key("", "hash of the file of your own variant", "computed", stands_for="computed")
    seed: int = number(0, "seed of initialisation, order and augmentation", least=0, most=2**31 - 1)
    device: str = pattern(
        "auto",
        "where the nets are trained; auto is cuda, else cpu; cuda is every GPU of the machine, cuda:N one of them",
        "auto|cpu|mps|cuda(:(0|[1-9][0-9]{0,2}))?",
        "auto, cpu, cuda, cuda:N or mps",
    )
    precision: str = choice(
        "fp32",
        "arithmetic; tf32 needs CUDA; in bf16 layers and their outputs are bfloat16, all else is float32",
        ("fp32", "tf32", "bf16"),
    )
    engine: str = choice(
        "auto",
        "eager (kernel by kernel), graph (the step replayed as a CUDA graph), compiled (blocks by torch.compile, on a "
        "GPU once for all runs); auto is graph on CUDA, else eager",
        ("auto", "eager", "graph", "compiled"),
    )
    memory_format: str = choice(
        "auto",
        "layout of a net's maps; auto is contiguous for fp32 on CUDA, else channels_last",
        ("auto", "channels_last", "contiguous"),
    )
    native_batch_norm: bool = flag(False, "on CUDA, batch norm by PyTorch's own kernels instead of cuDNN's")
    runs_per_job: str = pattern(
        "auto",
        "runs at once; auto: on a CPU one per core, each in a process with one thread; on a GPU up to eight "
        "interleaved, as memory allows; on Slurm the runs of a job, auto: one, or up to 32 short ones",
        "auto|[1-9]|[12][0-9]|3[0-2]",
        "auto or a whole number from 1 to 32",
    )
    threads: str = pattern(
        "auto",
        "CPU threads of a run; auto: one where several runs train at once, else as many as torch takes, one per core",
        "auto|[1-9][0-9]{0,2}",
        "auto or a whole number from 1 to 999",
    )
    gradient_checkpointing: bool = flag(
        False, "recompute activations in the backward pass: less memory, more time, the same numbers"
    )
    # configs/config.yaml sets it to the data's name.
    name: str = file_name("runs", "folder of the experiment below `results`", stands_for="the data's name")
    results: str = path_name("results", "folder of all results")
    checkpoint_seconds: float = number(
        60.0, "longest time between checkpoints, seconds; shorter where they cost little", least=0, most=10**9
    )
    keep_checkpoint: bool = flag(False, "keep the last checkpoint of a finished run")
    keep_weights: str = choice(
        "none",
        "keep the net's weights after the last or every epoch, `weights/epoch-N.safetensors` in the run's directory",
        ("none", "last", "all"),
    )
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)

    def __post_init__(self) -> None:
        self.model.require_depth(self.depth)
        remedy = f"no device has the memory for that net; at most {_MAX_DEPTH:,}"
        require(self.depth <= _MAX_DEPTH, "depth", self.depth, remedy)
        require_valid(self)
        known = VARIANTS[self.variant].plugin
        remedy = f"was trained as defined by another file (SHA-256 {self.plugin[:8]}...) than is given with --plugin"
        require(self.plugin in ("", known), "variant", self.variant, f"{remedy}; name that one")
        self.plugin = known
        remedy = "is reserved for the results that come with the program; choose another name"
        require(self.name != PUBLISHED, "name", self.name, remedy)

    @property
    def thread_count(self) -> int | None:
        """The number of `threads`, None for auto."""
        return None if self.threads == "auto" else int(self.threads)

    @property
    def shortcut(self) -> str:
        """The shortcut's option as the CSV states it: A, B or C, and `none` for a variant without one."""
        return self.model.shortcut if VARIANTS[self.variant].has_shortcut else "none"
