"""Errors that the user can fix, shown as one line that names the field, the value and the remedy."""

import os
import traceback

TRACEBACK = "RESDEPTH_TRACEBACK"  # environment variable: tell the tracebacks of unexpected errors too
_MAX_LENGTH = 1000


def one_line(text: str) -> str:
    """Return the text as one line: unprintable characters are escaped, the middle of a very long text is omitted."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    # The field is at the beginning, the remedy at the end.
    return line if len(line) <= _MAX_LENGTH else f"{line[: _MAX_LENGTH // 2]} [...] {line[-_MAX_LENGTH // 3 :]}"


def trace() -> None:
    """Write the traceback of the error being handled to standard error, if the user wants to see it."""
    if TRACEBACK in os.environ:
        traceback.print_exc()


class ResdepthError(Exception):
    """Base of the errors that are shown as one line, without a traceback. The command exits with `exit_code`."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class ConfigError(ResdepthError):
    """Invalid input; nothing was trained or written. The message is `field=value: remedy`, or `field: remedy`."""

    exit_code = 2

    def __init__(self, field: str, value: object, remedy: str) -> None:
        written = "" if value == "" else f"={'null' if value is None else value}"
        super().__init__(f"{field}{written}: {remedy}")
        self.field, self.value, self.remedy = field, value, remedy


class DataError(ConfigError):
    """A data set that is missing, damaged or of the wrong format, found before the first run starts."""


class RecordError(ResdepthError):
    """A results file that cannot be read. The message names the file, what is wrong and the remedy."""

    exit_code = 2


class RunError(ResdepthError):
    """A run that failed during training. The sweep continues with the other runs."""
