"""The columns of bench.csv, sweep.csv and busy.csv. Standard library only."""

from dataclasses import dataclass

from resdepth.results.files.rows import column

BASELINE = "usual loop"


@dataclass(frozen=True)
class StepCost:
    """A row of bench.csv."""

    device: str = column("the device's name")
    data: str = column("whose shape the images have; their pixels are random")
    variant: str = column("plain or residual")
    depth: int = column("layers")
    engine: str = column("eager, graph, compiled, or the usual loop beside them")
    precision: str = column("fp32, tf32 or bf16")
    gradient_checkpointing: bool = column("whether activations are computed again")
    at_once: int = column("runs side by side on the device")
    threads: int = column("threads of each on a CPU")
    batch: int = column("images of a minibatch")
    steps: int = column("steps timed")
    step_ms: float = column("milliseconds a step and run, the median: their number side by side already divides it")
    step_ms_low: float = column("its tenth percentile")
    step_ms_high: float = column("its ninetieth percentile")
    images_per_second: float = column("of all runs together")
    peak_memory_mib: float = column("MiB of the device at the peak, beyond what lay there before; all runs together")
    first_step_seconds: float = column("from nothing to the end of the first step: building, compiling, capturing")
    bytes_floor_ms: float = column("milliseconds a step at the measured copy bandwidth")
    operations_floor_ms: float = column("milliseconds a step at the measured matrix rate")
    note: str = column("what went wrong or was left out, where something was")
    options: str = column("memory_format and native_batch_norm, where they are not the program's choice", default="")

    @property
    def ratio_to_floor(self) -> float:
        """The step's time as a multiple of the larger floor."""
        return self.step_ms / max(self.bytes_floor_ms, self.operations_floor_ms)


@dataclass(frozen=True)
class SweepTime:
    """A row of sweep.csv: one way to train the runs of a sweep."""

    device: str = column("the device's name")
    sweep: str = column("the overrides")
    way: str = column("how the runs were trained")
    seconds: float = column("wall time, the program's start included where it is this program")
    ratio: float = column("to the plain loop's time")


@dataclass(frozen=True)
class BusyCost:
    """A row of busy.csv: a step on an idle machine and beside a process that keeps one core busy."""

    device: str = column("the device's name")
    data: str = column("whose shape the images have; their pixels are random")
    variant: str = column("plain or residual")
    depth: int = column("layers")
    threads: int = column("threads of the step")
    pinned: bool = column("whether each thread is pinned to a core, as this program does, or not, as torch does")
    steps: int = column("steps timed in each state of the machine")
    idle_ms: float = column("milliseconds a step on the idle machine, the median")
    busy_ms: float = column("milliseconds a step beside the busy process, the median")

    @property
    def ratio(self) -> float:
        """How many times as long a step takes beside the busy process."""
        return self.busy_ms / self.idle_ms


@dataclass(frozen=True)
class ScaleCost:
    """A row of scale.csv: a command of a sweep of many short runs, with stand-ins for Slurm and for training."""

    device: str = column("the name of the device, here of the processor")
    runs: int = column("of the sweep")
    step: str = column("what is done with them")
    command: str = column("what a user types for it; empty for what the jobs do")
    jobs: int = column("in the queue when it has ended")
    seconds: float = column("wall time, the program's start included")
    memory_mib: float = column("MiB of the process at the peak")
    files: int = column("of the results and of the launch when it has ended")
    operations: float = column("calls a run that concern these files (open, stat, rename, ...), by strace; NaN without")
