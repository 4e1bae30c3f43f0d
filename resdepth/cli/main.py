"""Entry point."""

import os
import sys
from pathlib import Path

from resdepth.cli.commands import _warn, app
from resdepth.cli.stdout import TolerantStdout
from resdepth.errors import ResdepthError


def main() -> None:
    """The console script: errors as one line on stderr, exit code 2 for bad input."""
    # Python has none where it was started with a closed one.
    before = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    output = sys.stdout = TolerantStdout(before)
    try:
        code = app(standalone_mode=False) or 0
    except Exception as error:
        line, code = _said(error)
        _warn([line])
    finally:
        output.flush()
        output.detach()
        sys.stdout = before
    sys.exit(code or int(output.is_lost))


def _said(error: Exception) -> tuple[str, int]:
    """What went wrong in one line, and the exit code."""
    if isinstance(error, ResdepthError):
        return str(error), error.exit_code
    if hasattr(error, "format_message"):
        # Typer's own: an unknown command or option, a value that is none. They know how to say themselves.
        return _said_by_typer(error.format_message()), 2
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; mend that and say the same command again", 1
    if _TRACEBACK in os.environ:
        raise error
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line}; {_TRACEBACK}=1 before the command shows where, for a report", 1


# Set by who wants to see where an error came from that nobody foresaw.
_TRACEBACK = "RESDEPTH_TRACEBACK"


def _said_by_typer(message: str) -> str:
    line = " ".join(message.split())
    hint = "; overrides are written key=value, as in depth=20" if "No such option" in line else ""
    return f"{line.rstrip('.')}{hint}; resdepth --help shows what there is"
