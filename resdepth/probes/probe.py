"""A probe from its nets to its CSV, figures and environment; a probe that was killed continues."""

import contextlib
import importlib
import json
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from resdepth import device as devices
from resdepth.config.keys import run_identity
from resdepth.data import sources
from resdepth.data.dataset import Dataset
from resdepth.errors import ConfigError, ResdepthError
from resdepth.host import cores
from resdepth.probes.nets import ProbedNet, load_data
from resdepth.probes.rows import PROBES, SETTINGS, NetRow, Probe
from resdepth.probes.selection import Selection
from resdepth.results import environment
from resdepth.results.files import rows
from resdepth.results.files.atomic import PART, atomic_write_text
from resdepth.results.files.lock import LOCK, RunLockedError, locked
from resdepth.results.run_directory import describe_differences, set_aside
from resdepth.sweep.plan import RunSpec
from resdepth.sweep.processes import Ended, call_in_processes

# What a probe leaves that is killed before its settings are written.
_LEFTOVERS = (LOCK, SETTINGS + PART)
_WRITE_SECONDS = 5.0  # between writes of the CSV: a kill costs that and one net
# The order of a CSV's rows, whatever the order in which the nets were measured.
_ORDER = ("model", "batch_norm", "variant", "depth", "seed", "run", "epoch")


class ProbeFile:
    """A probe's CSV: the rows of the nets measured, with the nets' configurations and the options beside them."""

    def __init__(self, folder: Path, probe: Probe, options: dict[str, Any]) -> None:
        self.path, self._probe, self._options = folder / f"{probe.name}.csv", probe, options
        self._settings = folder / SETTINGS
        self._nets: dict[str, dict[str, Any]] = {}
        self._rows: dict[tuple[str, int], list[NetRow]] = {}
        self._commands: list[str] = []
        self._diverged: list[str] = []
        self._written = time.monotonic()
        if self._settings.exists():
            self._read()

    def __contains__(self, net: ProbedNet) -> bool:
        return net.key in self._rows

    def register(self, selection: Selection, command: str) -> list[ProbedNet]:
        """Note the nets' configurations and return those that are to be measured.

        Raises ConfigError where the file holds others of the same label.
        """
        nets = selection.nets
        self._diverged = list(dict.fromkeys([*self._diverged, *selection.diverged]))
        for net in nets:
            difference = describe_differences(self._nets.get(net.label, run_identity(net.config)), net.config)
            if difference:
                self._refuse(f"holds another net called {net.label} ({difference})")
            self._nets[net.label] = run_identity(net.config)
        pending = [net for net in nets if net not in self]
        if pending:
            self._commands = list(dict.fromkeys([*self._commands, command])) if self._rows else [command]
        return pending

    def add(self, net: ProbedNet, found: list[NetRow]) -> None:
        """Add the rows of one net; the file is written every few seconds."""
        self._rows[net.key] = found
        if time.monotonic() - self._written > _WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the settings and all rows, each file atomically."""
        labels = {label for label, _ in self._rows}
        nets = {label: keys for label, keys in self._nets.items() if label in labels}
        shared = {k: v for k, v in next(iter(nets.values()), {}).items() if all(n.get(k) == v for n in nets.values())}
        content = {
            "probe": self._probe.name,
            "commands": self._commands,
            "options": self._options,
            "diverged": self._diverged,
            "all_nets": shared,
            "nets": {label: {k: v for k, v in keys.items() if k not in shared} for label, keys in nets.items()},
        }
        # First: rows whose net is not in the settings could not be continued.
        atomic_write_text(self._settings, json.dumps(content, indent=1) + "\n")
        ordered = sorted((row for part in self._rows.values() for row in part), key=_place)
        if ordered:
            rows.write(self.path, ordered)
        self._written = time.monotonic()

    def _read(self) -> None:
        try:
            there = json.loads(self._settings.read_text(encoding="utf-8"))
            self._nets = {label: {**there["all_nets"], **keys} for label, keys in there["nets"].items()}
            name, options = there["probe"], dict(there["options"])
            self._commands, self._diverged = ([str(word) for word in there[key]] for key in ("commands", "diverged"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._refuse("holds a damaged probe.json")
        if name != self._probe.name:
            self._refuse(f"holds the probe {name}")
        if options != self._options:
            words = ", ".join(f"{key}={value}" for key, value in options.items())
            self._refuse(f"was measured with other options ({words})")
        if self.path.exists():
            for row in rows.read(self.path, self._probe.row):
                if row.run not in self._nets:
                    self._refuse(f"holds rows of a net that {SETTINGS} does not name ({row.run})")
                self._rows.setdefault((row.run, row.epoch), []).append(row)

    def _refuse(self, problem: str) -> None:
        raise ConfigError("--out", self.path.parent, f"{problem}; choose another --out, or start over with --restart")


def _place(row: NetRow) -> tuple[Any, ...]:
    # The row's own columns keep their order: sorting is stable.
    return tuple(getattr(row, name) for name in _ORDER)


def measure(
    probe: Probe, selection: Selection, options: dict[str, Any], command: str,
    on_net: Callable[[ProbedNet], None] = lambda _: None, *, restart: bool = False,
) -> tuple[Path, list[str]]:  # fmt: skip
    """Measure the nets that the probe's CSV does not hold yet; return the CSV and a line for each net that failed.

    `on_net` is called after each net. With `restart`, an earlier measurement is kept in .aside.
    """
    folder, failures = selection.folder, list[str]()
    # Also where nothing is left to measure.
    for name in {net.config.device for net in selection.nets}:
        devices.resolve(name)
    known = None if restart else ProbeFile(folder, probe, options)
    if known is None or any(net not in known for net in selection.nets):
        _require_data(selection.nets)
    try:
        _make_folder(folder, restart=restart)
        with locked(folder):
            file = ProbeFile(folder, probe, options)
            pending = file.register(selection, command)
            # First of all files: it says that the folder is a probe's.
            file.write()
            if pending:
                with _threads(pending):
                    device = devices.resolve(pending[0].config.device)
                    environment.write(folder, device, is_continued=file.path.exists())
            try:
                with contextlib.closing(_results(probe, pending, options)) as results:
                    for net, found in results:
                        if isinstance(found, str):
                            failures.append(f"{net.label}: failed: {found}")
                        else:
                            file.add(net, found)
                        on_net(net)
            finally:
                file.write()
    except RunLockedError as error:
        raise ConfigError("--out", folder, "another process writes to it; wait, or choose another --out") from error
    return file.path, failures


def _results(
    probe: Probe, nets: Sequence[ProbedNet], options: dict[str, Any]
) -> Generator[tuple[ProbedNet, list[NetRow] | str], None, None]:
    """Yield each net with its rows or with what went wrong: on a CPU one run per core, each in a process."""
    batches: dict[str, list[ProbedNet]] = {}
    for net in sorted(nets, key=lambda net: -net.config.depth):
        batches.setdefault(net.label, []).append(net)
    is_on_cpu = bool(nets) and devices.resolve(nets[0].config.device).type == "cpu"
    if not (is_on_cpu and cores() > 1 and len(batches) > 1):
        for net in nets:
            with _threads(nets):
                found = _rows_of(probe, net, options)
            yield net, found
        return
    waiting = [list(batch) for batch in batches.values()]
    tasks = ((probe.name, batch, options, sources.load(batch[0].config.data)) for batch in batches.values())
    with contextlib.closing(call_in_processes(_measure_batch, tasks, cores())) as messages:
        for number, message in messages:
            if isinstance(message, Ended):
                yield from ((net, f"its process {message.how}; run the same command again") for net in waiting[number])
            else:
                yield waiting[number].pop(0), message


def _threads(nets: Sequence[ProbedNet]) -> AbstractContextManager[None]:
    """Return a context with one thread on a CPU: the numbers do not depend on how many nets are left to measure."""
    return devices.threads(1 if devices.resolve(nets[0].config.device).type == "cpu" else None, pinned=False)


def _measure_batch(
    name: str, nets: Sequence[ProbedNet], options: dict[str, Any], data: Dataset, connection: Connection
) -> None:
    """Measure the nets of one run and send the rows of each; what a process does."""
    sources.preload(nets[0].config.data, data)
    with contextlib.suppress(OSError):  # the program has ended
        for net in nets:
            connection.send(_rows_of(PROBES[name], net, options))


def _rows_of(probe: Probe, net: ProbedNet, options: dict[str, Any]) -> list[NetRow] | str:
    """Return the rows of one net, or one line on what went wrong."""
    try:
        data = load_data(net.config, as_pixels=probe.takes_pixels)
        return list(importlib.import_module(probe.module).measure(net, data, **options))
    except ResdepthError as error:
        return str(error)
    except Exception as error:  # torch raises many kinds
        last = traceback.extract_tb(error.__traceback__)[-1]
        line = (str(error).strip().splitlines() or [""])[0]
        return f"{type(error).__name__}: {line} ({Path(last.filename).name}, line {last.lineno})"


def _require_data(nets: Sequence[ProbedNet]) -> None:
    """Check device and data. Raises ConfigError, also where data are not those that the nets were trained on."""
    for config in {repr((net.config.device, net.config.data)): net.config for net in nets}.values():
        device = devices.resolve(config.device)
        sources.load(config.data)
        for net in nets:
            if net.config.data == config.data:
                RunSpec(net.config, sources.shape(config.data)).require_memory(
                    devices.memory_bytes(device), "this device has"
                )
        if sources.fingerprint(config.data) != config.data.fingerprint:
            remedy = "holds other images than the nets were trained on; name the same data with data.path="
            raise ConfigError("data.path", config.data.path, remedy)


def _make_folder(folder: Path, *, restart: bool) -> None:
    """Make the folder, or set an earlier measurement in it aside. Raises ConfigError."""
    try:
        if (folder / SETTINGS).is_file():
            if restart:
                with locked(folder):
                    pass
                set_aside(folder)
        elif folder.exists() and (not folder.is_dir() or any(f.name not in _LEFTOVERS for f in folder.iterdir())):
            raise ConfigError("--out", folder, "exists and is not a probe's folder; choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("--out", folder, f"cannot be written to ({error.strerror}); use --out FOLDER") from error
