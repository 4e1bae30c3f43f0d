"""Ctrl-C and its kin: an end that loses nothing and says how to go on."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


class _Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP: like Ctrl-C, with an exit code of its own."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def exit_on_signals(*, continues: bool = True) -> Iterator[None]:
    """End cleanly on Ctrl-C, SIGTERM and SIGHUP: say how to go on, exit with 128 + the signal's number.

    `continues` says whether the same command takes up what it left.
    """

    def stop(number: int, _frame: object) -> None:
        raise _Stopped(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt as error:
        # What is to be continued is not to be started over again.
        words = shlex.join(["resdepth", *(word for word in sys.argv[1:] if word != "--restart")])
        print(
            f"resdepth: stopped; {f'to continue: {words}' if continues else 'what was done is kept'}", file=sys.stderr
        )
        raise typer.Exit(128 + (error.number if isinstance(error, _Stopped) else signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
