"""Clean exit on Ctrl-C, SIGTERM and SIGHUP, with the command that continues."""

import atexit
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer


class GoesOn(KeyboardInterrupt):
    """A stop that leaves jobs behind, which go on elsewhere; its text says how to find and to end them."""


@contextmanager
def goes_on(text: str) -> Iterator[None]:
    """Where the program is stopped within the `with` block, have it print this text."""
    try:
        yield
    except KeyboardInterrupt:
        raise GoesOn(text) from None


@contextmanager
def exit_on_signals(*, continues: bool = True) -> Iterator[None]:
    """On Ctrl-C, SIGTERM, SIGHUP exit with 128 + the signal's number; if it `continues`, print the command for that."""
    received = 0

    def stop(number: int, _frame: object) -> None:
        nonlocal received
        received = number
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # A shell has jobs in the background ignore Ctrl-C, and nohup has them ignore SIGHUP.
    before = {n: signal.signal(n, stop) for n in numbers if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    except BaseException as error:
        # While torch is loaded, its C++ code may raise another error in the place of the interrupt.
        if not received and not isinstance(error, KeyboardInterrupt):
            raise
        # With --restart the command would start over what it should continue.
        again = shlex.join(["resdepth", *(word for word in sys.argv[1:] if word != "--restart")])
        line = f"stopped; {f'to continue: {again}' if continues else 'finished work is kept'}"
        if isinstance(error, GoesOn):
            line = f"stopped watching; {error}; to watch again: {again}"
        print(f"resdepth: {line}", file=sys.stderr)
        # After an interrupt within an `exec` of a text, as of named tuples, Python would end with SIGINT, though it was
        # caught here; the next `exec` makes it forget that.
        exec("")
        # Unloading torch takes seconds, in which a second signal would end the process with another exit code.
        atexit.register(_ignore, tuple(before))
        raise typer.Exit(128 + (received or signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(numbers: Iterable[int]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
