"""The command `show`: what there is to choose from, and what it means. Needs no Hydra."""

import difflib
import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from resdepth.cli.commands import completion
from resdepth.cli.commands.options import ConfigDir
from resdepth.config import catalogue
from resdepth.config.keys import DERIVED_KEYS, EXECUTION_KEYS, Key, described_keys, written
from resdepth.config.schema import GROUPS
from resdepth.errors import ConfigError
from resdepth.variants import VARIANTS

_HINT = """
resdepth show NAME          what an experiment, data set, recipe or model sets: resdepth show digits
resdepth show KEY           a key's meaning, default and values: resdepth show recipe.lr
resdepth show keys          all keys"""


def show(
    names: Annotated[
        list[str] | None,
        Argument(
            metavar="[NAME|GROUP=NAME|KEY|keys]...",
            help="An experiment, data set, recipe, model or variant; a group of them; a key; or keys, for all of them.",
            autocompletion=completion.complete_name,
        ),
    ] = None,
    config_dir: ConfigDir = None,
    markdown: Annotated[bool, Option("--markdown", help="Print the keys as a table of Markdown.")] = False,
) -> None:
    """List experiments, data, recipes, models and variants; or explain one of them, or a key."""
    catalogue.user_folder(config_dir)
    if markdown:
        print(keys_as_markdown(config_dir))
        return
    # All of them are looked up before any is printed: an unknown name leaves standard output empty.
    parts = [_explain(name, config_dir) for name in names or ()] or [_overview(config_dir)]
    print("\n\n".join(parts))


def keys_as_markdown(config_dir: Path | None = None) -> str:
    """Return README's table of keys."""
    rows = [(f"`{key.name}`", key.default, key.values, key.meaning) for key in catalogue.explained_keys(config_dir)]
    head = ["| key | default | values | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(cells)} |" for cells in rows)])


def _overview(config_dir: Path | None) -> str:
    titles = {"experiment": "Experiments", "data": "Data", "recipe": "Recipes", "model": "Models"}
    parts = [f"{title} ({group}=NAME)\n{_columns(_described(group, config_dir))}" for group, title in titles.items()]
    return "\n\n".join([*parts, f"Variants (variant=NAME)\n{_columns(_variants())}"]) + f"\n{_HINT}"


def _described(group: str, config_dir: Path | None) -> list[tuple[str, str]]:
    return [(name, option.comment) for name, option in catalogue.options(group, config_dir).items()]


def _variants() -> list[tuple[str, str]]:
    return [(name, (inspect.getdoc(v.join) or "").partition("\n")[0]) for name, v in VARIANTS.items()]


def _explain(name: str, config_dir: Path | None) -> str:
    """Explain one name. Raises ConfigError where nothing is called that."""
    left, equals, right = name.lstrip("+~").partition("=")
    if left == "keys":
        return _columns([(k.name, f"{k.meaning}; default {k.default}") for k in catalogue.explained_keys(config_dir)])
    if equals and left in GROUPS:
        return _explain_option(left, right, config_dir)
    keys = {key.name: key for key in catalogue.explained_keys(config_dir)}
    group = left if left in GROUPS else left.removesuffix("s")
    if group in GROUPS:
        return f"{_explain_key(keys[group])}\n\n{_columns(_described(group, config_dir))}"
    found = [keys[left]] if left in keys else [key for key in keys.values() if key.name.rpartition(".")[2] == left]
    parts = [_explain_key(key) for key in found]
    if left in ("variant", "variants"):
        parts = [f"{_explain_key(keys['variant'])}\n\n{_columns(_variants())}"]
    parts += [_explain_option(g, left, config_dir) for g in GROUPS if left in catalogue.option_files(g, config_dir)]
    parts += [f"variant={variant}: {meaning}" for variant, meaning in _variants() if variant == left]
    if not parts:
        known = [*keys, *VARIANTS, *(option for g in GROUPS for option in catalogue.option_files(g, config_dir))]
        raise ConfigError("show", name, f"there is no such key or option{_nearest(left, known)}")
    return "\n\n".join(parts)


def _explain_key(key: Key) -> str:
    lines = [("default", key.default), ("values", key.values)]
    if key.name in described_keys():
        is_execution = key.name in EXECUTION_KEYS or key.name == "name"
        changes = "how a run is executed, not its numbers" if is_execution else "a run's numbers"
        lines.append(("changes", "nothing: it follows from the data" if key.name in DERIVED_KEYS else changes))
    return f"{key.name}: {key.meaning}\n{_columns(lines)}".replace("`", "")


def _explain_option(group: str, name: str, config_dir: Path | None) -> str:
    """Say what an option sets, and where; of an experiment also its axes."""
    chain = catalogue.lineage(group, name, config_dir)
    if not chain:
        known = list(catalogue.option_files(group, config_dir))
        raise ConfigError(group, name, f"choose one of {', '.join(known)}{_nearest(name, known)}")
    option = chain[-1]
    rows = {
        key: (key, written(value), "" if part is option else f"from {part.name}")
        for part in chain
        for key, value in part.values.items()
    }
    defaults = catalogue.default_sweep().axes if group == "experiment" else {}
    axes = {**{key: axis for key, axis in defaults.items() if key not in option.values}, **option.axes}
    lines = [f"{group}={name}: {option.comment}"]
    lines.append(
        f"  sets\n{_columns(rows.values(), 4)}" if rows else "  sets nothing: the defaults (resdepth show keys)"
    )
    if axes:
        lines.append(f"  sweeps over\n{_columns(axes.items(), 4)}")
    return "\n".join([*lines, f"  in {option.file}"])


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else "; resdepth show lists what there is"


def _columns(rows: Iterable[Sequence[str]], indent: int = 2) -> str:
    """Return rows of texts as columns; on a terminal, the last one is wrapped."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    left, lines = " " * (indent + sum(widths) + 2 * len(widths)), []
    room = shutil.get_terminal_size().columns - len(left) if sys.stdout.isatty() else 0
    for *cells, last in rows:
        head = " " * indent + "".join(f"{cell:<{width}}  " for cell, width in zip(cells, widths, strict=True))
        parts = textwrap.wrap(last, room) if room >= 20 else [last]
        lines.append(f"{head}{f'{chr(10)}{left}'.join(parts)}".rstrip())
    return "\n".join(lines)
