"""The probes and the columns of their CSV files: a frozen dataclass for each. Standard library only."""

from dataclasses import dataclass

from resdepth.results.files.rows import column

SETTINGS = "probe.json"  # beside each CSV: the nets' configurations, the options, the commands


@dataclass(frozen=True)
class NetRow:
    """The columns that identify a net; every probe has them."""

    run: str = column("directory of the run, as a sweep would name it")
    dataset: str = column("the data option's name")
    model: str = column("the model option's name")
    variant: str = column("plain, residual, or another entry of the table of variants")
    depth: int = column("weighted layers", "layers")
    batch_norm: bool = column("whether the layers have batch norm")
    zero_init_residual: bool = column("whether the residual blocks started as the identity")
    lr: float = column("the recipe's learning rate")
    seed: int = column("seed of initialisation and order")
    epoch: int = column("epochs trained before it is measured; 0 at initialisation", "epochs")


@dataclass(frozen=True)
class GradientRow(NetRow):
    """One layer of one net, on a minibatch of 128 training images."""

    layer: int = column("weighted layer, from 1; 0 is the image", "layers")
    weight_gradient: float = column("Frobenius norm of the loss's gradient with respect to the layer's weights")
    activation: float = column("root mean square of the layer's output, after the nonlinearity and the join")
    activation_gradient: float = column("root mean square of the loss's gradient with respect to that output")
    correlation: float = column("mean cosine, over pairs of images, of the gradients of one direction of the logits")
    neighbour_correlation: float = column("the same of an image and the point a tenth of the way to another image")


@dataclass(frozen=True)
class IdentityRow(NetRow):
    """Blocks inserted at one place of a net."""

    place: int = column("blocks of the net before the inserted ones", "blocks")
    blocks: int = column("blocks inserted", "blocks")
    kind: str = column("zero: weights and batch norm's scale and shift zero; dirac: each layer an identity matrix")
    logit_change: float = column("largest absolute change of a logit")
    logit_scale: float = column("largest absolute logit before")
    error: float = column("error of 512 training images after the insertion, evaluation mode", "percent")
    error_before: float = column("the same before the insertion", "percent")


@dataclass(frozen=True)
class LearnIdentityRow(NetRow):
    """A stack of layers trained to reproduce its input."""

    layers: int = column("layers of the stack: the depth without the first layer and the classifier", "layers")
    epochs: int = column("epochs that the stack was trained", "epochs")
    error_before: float = column("squared error of the first minibatch, in percent of the squared input", "percent")
    error: float = column("the same over the last epoch's minibatches; an output of zero has 100", "percent")


@dataclass(frozen=True)
class GrowRow(NetRow):
    """An epoch of a trained net that goes on training, as it is or with blocks added."""

    added: int = column("layers added", "layers")
    further_epoch: int = column("epochs trained since; 0 is the training error before, evaluation mode", "epochs")
    train_loss: float = column("mean cross-entropy over the epoch's minibatches", "nats")
    train_error: float = column("error over the epoch's minibatches", "percent")


@dataclass(frozen=True)
class DecayRow(NetRow):
    """One block of a trained net, on 512 training images."""

    weight_decay: float = column("the recipe's weight decay")
    decay_bias: bool = column("whether biases decay")
    decay_bn: bool = column("whether batch norm's scale and shift decay")
    block: int = column("block, from 1", "blocks")
    branch_ratio: float = column("|F(x)| / |x|, the mean over 512 images; x is the shortcut's output")
    weight_norm: float = column("Frobenius norm of the weights of both layers")
    bias_norm: float = column("norm of the biases, or of batch norm's shifts")
    bn_scale: float = column("root mean square of batch norm's scales; nan without batch norm")
    error: float = column("the net's error of 512 training images, evaluation mode", "percent")


@dataclass(frozen=True)
class Probe:
    """A probe: its name and title, the lecture's claim, what is measured, where that is from, the columns of its CSV.

    With `needs_weights`, it measures trained nets alone, not nets at initialisation; with `takes_pixels`, it gets
    images from 0 to 1 without augmentation.
    """

    name: str
    title: str
    claim: str
    summary: str
    source: str
    row: type[NetRow]
    needs_weights: bool
    takes_pixels: bool = False

    @property
    def module(self) -> str:
        """The module that measures."""
        return f"resdepth.probes.measures.{self.name.replace('-', '_')}"


_PROBES = (
    Probe(
        "gradients",
        "Gradients and activations at every layer",
        "Shortcuts keep the gradient alive where depth makes it vanish or explode.",
        "Norms of gradients and activations at every layer, and the correlation of gradients between images.",
        "Glorot & Bengio 2010; Balduzzi et al. 2017; Yang et al. 2019",
        GradientRow,
        needs_weights=False,
    ),
    Probe(
        "identity",
        "Insert blocks that change nothing",
        "A residual block of zero weights is the identity; a plain one is not.",
        "Change of logits and error when blocks of zero weights, or identity layers, are inserted into a trained net.",
        "He et al. 2015, sections 1 and 3.1",
        IdentityRow,
        needs_weights=True,
    ),
    Probe(
        "learn-identity",
        "Train stacks to copy their input",
        "A plain stack can hardly learn the identity.",
        "Error of stacks of layers trained to reproduce their input.",
        "He et al. 2015, section 3.1; Hardt & Ma 2017",
        LearnIdentityRow,
        needs_weights=False,
        takes_pixels=True,
    ),
    Probe(
        "grow",
        "Add layers and go on training",
        "Added layers do not hurt a residual net, and then they help.",
        "Training error of trained nets that go on training, as they are and with identity blocks added.",
        "He et al. 2015, section 1; Chen et al. 2016 (Net2Net)",
        GrowRow,
        needs_weights=True,
    ),
    Probe(
        "decay",
        "Weight decay and the size of the branch",
        "Weight decay pulls a residual block to the identity.",
        "Size of the residual branch against the shortcut, and of weights, biases and batch norm's scale, per block.",
        "van Laarhoven 2017; De & Smith 2020",
        DecayRow,
        needs_weights=True,
    ),
)
PROBES: dict[str, Probe] = {probe.name: probe for probe in _PROBES}
