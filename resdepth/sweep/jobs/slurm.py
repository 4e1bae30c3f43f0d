"""What is asked of Slurm itself: which jobs wait or run, how one ended. Submitting is left to submitit."""

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple

from resdepth.errors import ConfigError, RunError
from resdepth.report.comparison import count
from resdepth.sweep.plan import Launcher

_COMMANDS = ("sbatch", "srun", "squeue")
_SECONDS = 60.0  # a busy controller takes as long to answer
_DEFAULT_MAX_ARRAY = 1001  # Slurm's own default of MaxArraySize
# Reasons for which a job waits until somebody releases it.
_HELD = ("JobHeldUser", "JobHeldAdmin", "launch failed requeued held", "job requeued in held state")
# ... and those of jobs that ask for more than there is.
_NEVER = ("PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit", "BadConstraints")
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "CONFIGURING", "SPECIAL_EXIT")


class Job(NamedTuple):
    """A job in the queue: Slurm's word for its state, and why it waits."""

    state: str
    reason: str

    @property
    def is_waiting(self) -> bool:
        """Whether it does not run yet."""
        return self.state in _WAITING


def require_commands(launcher: Launcher) -> None:
    """Raises ConfigError where Slurm's commands are missing, or where several processes would train the same run."""
    missing = [command for command in _COMMANDS if shutil.which(command) is None]
    if missing:
        listed = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        remedy = f"Slurm's {listed} cannot be found here; use a login node of the cluster"
        raise ConfigError("hydra/launcher", launcher.name, remedy)
    limit, delay = launcher.settings.get("timeout_min"), launcher.settings.get("signal_delay_s")
    if isinstance(limit, int) and limit < 1:
        raise ConfigError("hydra.launcher.timeout_min", limit, "needs a number of minutes, at least 1")
    if isinstance(limit, int) and isinstance(delay, int) and delay >= 60 * limit:
        remedy = f"would end jobs of hydra.launcher.timeout_min={limit} as soon as they begin; set a shorter one"
        raise ConfigError("hydra.launcher.signal_delay_s", delay, remedy)
    for key in ("nodes", "tasks_per_node"):
        if (value := launcher.settings.get(key)) not in (None, 1):
            remedy = "a job is one process on one node; runs_per_job=N puts several runs into it"
            raise ConfigError(f"hydra.launcher.{key}", value, remedy)


def require_queue() -> dict[str, Job]:
    """Return this user's jobs that wait or run, by id (an array's as 12_0). Raises RunError if Slurm is silent."""
    words = ["squeue", f"--user={os.getuid()}", "--array", "--noheader", "--format=%i|%T|%r"]
    fields = (line.split("|") for line in _ask(words))
    return {field[0]: Job(*field[1:]) for field in fields if len(field) == 3}


def queue() -> dict[str, Job] | None:
    """Return what `require_queue` does; None where Slurm does not answer, which may pass."""
    try:
        return require_queue()
    except RunError:
        return None


def final_state(job: str) -> str:
    """Return Slurm's word for how a job ended, such as CANCELLED; empty where neither squeue nor sacct knows."""
    squeue = ["squeue", f"--jobs={job}", "--states=all", "--array", "--noheader", "--format=%T"]
    sacct = ["sacct", f"--jobs={job}", "--noheader", "--allocations", "--parsable2", "--format=State"]
    for words in (squeue, sacct):
        with suppress(RunError):
            if lines := _ask(words):
                return lines[-1].split()[0]
    return ""


def max_array_size() -> int:
    """Return how many jobs one array may have here."""
    value = settings().get("MaxArraySize", "")
    return max(1, int(value if value.isdigit() else _DEFAULT_MAX_ARRAY) - 1)


def cluster_name() -> str:
    """Return the name of this cluster: on another one the same number is another job. Empty where it is unknown."""
    return settings().get("ClusterName", "")


@cache
def settings() -> dict[str, str]:
    """Return Slurm's settings, asked for once."""
    try:
        pairs = [line.partition("=") for line in _ask(["scontrol", "show", "config"])]
    except RunError:
        return {}
    return {key.strip(): value.strip() for key, _, value in pairs}


def describe(jobs: Mapping[str, Job]) -> str:
    """Describe jobs in the queue: `2 jobs running, 6 waiting (Resources)`; one that is held, with its remedy."""
    waiting = [job for job in jobs.values() if job.is_waiting]
    parts = [(len(jobs) - len(waiting), "running"), (len(waiting), "waiting")]
    words = [f"{count(number, 'job')} {what}" for number, what in parts if number]
    reasons = dict.fromkeys(job.reason for job in waiting if job.reason not in ("None", ""))
    text = ", ".join(words) + (f" ({', '.join(reasons)})" if reasons else "")
    held = [name for name, job in jobs.items() if job.reason in _HELD]
    text += f"; held until: scontrol release {abbreviate(held)}" if held else ""
    never = [name for name, job in jobs.items() if job.reason in _NEVER]
    ask = "the cluster does not have what these ask for, so end them and set hydra.launcher.KEY: scancel"
    return text + (f"; {ask} {abbreviate(never)}" if never else "")


def abbreviate(jobs: Collection[str]) -> str:
    """Return the jobs as scancel and squeue take them, each array once: 12_0, 12_1, 15 -> 12 15."""
    return " ".join(dict.fromkeys(job.partition("_")[0] for job in jobs))


def _ask(words: Sequence[str]) -> list[str]:
    """Return the lines that a command prints. Raises RunError, with what it says, where it fails."""
    # A user's own settings would change what is listed.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SACCT_"))}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, env=clean, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(str(error)) from error
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise RunError(said[-1] if said else f"{words[0]} failed")
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
