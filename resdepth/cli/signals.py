"""Clean exit on Ctrl-C, SIGTERM and SIGHUP, with the command that continues."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def exit_on_signals(*, continues: bool = True) -> Iterator[None]:
    """On Ctrl-C, SIGTERM, SIGHUP exit with 128 + the signal's number; if it `continues`, print the command for that."""
    received: int = signal.SIGINT

    def stop(number: int, _frame: object) -> None:
        nonlocal received
        received = number
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt:
        # With --restart the command would start over what it should continue.
        words = ["resdepth", *(word for word in sys.argv[1:] if word != "--restart")]
        remedy = f"to continue: {shlex.join(words)}" if continues else "finished work is kept"
        print(f"resdepth: stopped; {remedy}", file=sys.stderr)
        raise typer.Exit(128 + received) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
