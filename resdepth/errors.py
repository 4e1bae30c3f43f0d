"""What can go wrong in a way the user can mend: one line that names the field, the value and the remedy."""

_LONGEST = 1000


def one_line(text: str) -> str:
    """The text as one printable line: what is not printable is escaped, a very long middle left out."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    # The field stands at the beginning, the remedy at the end.
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} [...] {line[-_LONGEST // 3 :]}"


class ResdepthError(Exception):
    """Base of the errors that are shown as one line, without a traceback. `exit_code` is the command's."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class ConfigError(ResdepthError):
    """Bad input: nothing was trained or written. `field=value: remedy`."""

    exit_code = 2

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}={value}: {remedy}")
        self.field, self.value, self.remedy = field, value, remedy


class DataError(ConfigError):
    """A data set that is missing, broken or of the wrong form; found before the first run starts."""


class RecordError(ResdepthError):
    """A file of results that cannot be read. Names the file, what is wrong and the remedy."""

    exit_code = 2


class RunError(ResdepthError):
    """A run that failed while it trained. The sweep goes on with the others."""
