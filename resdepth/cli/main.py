"""Entry point of the `resdepth` command."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from resdepth.cli.app import app
from resdepth.cli.stdout import TolerantStdout, warn
from resdepth.errors import TRACEBACK, ResdepthError

# What Typer says of an option's value that is not a number, and what is said here.
_NUMBER = re.compile(r"unable to parse string as an? (integer|number)")
_NUMBERS = {"integer": "whole number", "number": "number"}
# Options of Hydra's own command line that this program has no use for, and what to do instead.
_HYDRAS = {
    "--config-name": "the configuration is config.yaml; choose with experiment=NAME or GROUP=NAME (resdepth show)",
    "--config-path": "add YAML files of your own with --config-dir DIR",
    "--info": "--cfg origin prints every value and where it comes from; resdepth show lists the options",
    "--hydra-help": "resdepth sweep --help and resdepth show explain what can be set",
    "--resolve": "--cfg prints values with their interpolations resolved; leave it out",
    "--package": "--cfg prints the whole configuration; leave it out",
    "--run": "resdepth train makes one run",
    "--shell-completion": "use --install-completion",
}


def main() -> None:
    """Run the command: errors as one line on standard error, exit code 2 for bad input and 1 for a failure."""
    # sys.stdout is None where Python was started with it closed.
    before = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    output = sys.stdout = TolerantStdout(before)
    _complete_after_equals()
    try:
        code = app(prog_name="resdepth", standalone_mode=False) or 0
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # of Typer, which does not export it
            print(error.format_message())  # type: ignore[attr-defined]
            code = 2
        else:
            line, code = _describe_error(error)
            warn([line])
    finally:
        output.detach()  # flushes first
        sys.stdout = before
    sys.exit(code or int(output.is_lost))


def _describe_error(error: Exception) -> tuple[str, int]:
    """Return one line for the error, and the exit code."""
    if isinstance(error, ResdepthError):
        return str(error), error.exit_code
    if hasattr(error, "format_message"):  # of Typer: an unknown command or option, or a value of another type
        line = " ".join(error.format_message().split()).rstrip(".")
        if (number := _NUMBER.search(line)) is not None:
            return f"{_option_given(error.param.opts)}: needs a {_NUMBERS[number[1]]}", 2  # type: ignore[attr-defined]
        if (name := getattr(error, "option_name", "")) in _HYDRAS:
            return f"{name} is not an option of this command: {_HYDRAS[name]}", 2
        hint = "; overrides are written key=value, as in depth=20" if "No such option" in line else ""
        line = line.partition(" (Possible options")[0] if hint and _is_key(line) else line
        context = getattr(error, "ctx", None)
        # An option without its value has no context.
        words = [word for word in sys.argv[1:2] if not context and not word.startswith("-")]
        return f"{line}{hint}; see {context.command_path if context else ' '.join(['resdepth', *words])} --help", 2
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; fix that and run the same command again", 1
    if TRACEBACK in os.environ:
        raise error
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line}; to report an unexpected error, set {TRACEBACK}=1", 1


def _is_key(line: str) -> bool:
    """Whether the option that a line names is a key or a group, to which an option of a similar name is no help."""
    from resdepth.config.keys import known_keys
    from resdepth.config.schema import GROUPS

    name = re.search(r"--([\w.-]+)", line)
    return name is not None and name[1] in (*known_keys(), *GROUPS)


def _complete_after_equals() -> None:
    """Let the shell's completion begin after `=`: for `data=` bash names `=` as the word to complete, not the next."""
    words, index = os.environ.get("COMP_WORDS", "").split("\n"), os.environ.get("COMP_CWORD", "")
    if index.isdigit() and words[int(index) : int(index) + 1] == ["="]:
        os.environ["COMP_CWORD"] = str(int(index) + 1)


def _option_given(names: Sequence[str]) -> str:
    """Return the option of the command line with its value, as --every=x."""
    words = sys.argv[1:]
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name in names:
            return f"{name}={value if equals else following}"
    return names[0]
