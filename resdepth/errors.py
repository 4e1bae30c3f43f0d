"""What can go wrong in a way the user can mend: one line that names the field, the value and the remedy."""

from pathlib import Path


class ResdepthError(Exception):
    """Base of the errors that are shown as one line, without a traceback. `exit_code` is the command's."""

    exit_code = 1


class ConfigError(ResdepthError):
    """Bad input: nothing was trained or written. `field=value: remedy`."""

    exit_code = 2

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}={value}: {remedy}")
        self.field, self.value, self.remedy = field, value, remedy


def expanded(field: str, path: str) -> Path:
    """The path with `~` replaced by the home folder. Raises ConfigError where there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(field, path, "names a home folder that does not exist; write the path out") from error


class DataError(ConfigError):
    """A data set that is missing, broken or of the wrong form; found before the first run starts."""


class RecordError(ResdepthError):
    """A file of results that cannot be read. Names the file, what is wrong and the remedy."""

    exit_code = 2


class RunError(ResdepthError):
    """A run that failed while it trained. The sweep goes on with the others."""
