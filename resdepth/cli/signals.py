"""Clean exit on Ctrl-C, SIGTERM and SIGHUP, with the command that continues."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def exit_on_signals(*, continues: bool = True) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into one line on standard error and exit code 128 + the signal's number.

    `continues`: the same command continues the work, and the line says so.
    """
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
        words = shlex.join(["resdepth", *(word for word in sys.argv[1:] if word != "--restart")])
        print(
            f"resdepth: stopped; {f'to continue: {words}' if continues else 'finished work is kept'}", file=sys.stderr
        )
        raise typer.Exit(128 + received) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
