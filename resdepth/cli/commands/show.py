"""`resdepth show`, and the shell's completion: what there is to choose from, and what it means. Needs no Hydra."""

import difflib
import inspect
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Option

from resdepth.config import catalogue
from resdepth.config.checks import require_choice
from resdepth.config.keys import DERIVED_KEYS, EXECUTION_KEYS, Key, described_keys, written
from resdepth.config.schema import GROUPS
from resdepth.errors import ConfigError
from resdepth.variants import VARIANTS

_HINT = """
resdepth show NAME          what an experiment, data set, recipe or model sets: resdepth show digits
resdepth show KEY           a key's meaning, default and values: resdepth show recipe.lr
resdepth show keys          all keys"""


def complete_override(context: Context, incomplete: str) -> list[str]:
    """Complete a key, or the value after `key=`. Where only one key is left, its values are offered with it."""
    config_dir = context.params.get("config_dir")
    key, equals, given = incomplete.partition("=")
    if equals:
        return [f"{key}={value}" for value in _complete_value(key, given, config_dir)]
    # In bash `=` ends a word: of `data=ci` only `ci` is to be completed.
    words, index = os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0"))
    if index >= 3 and words[index - 1] == "=":
        return _complete_value(words[index - 2], incomplete, config_dir)
    keys = [key for key in (*GROUPS, *described_keys()) if key.startswith(incomplete)]
    # A single candidate would end the word with a space.
    return [
        f"{key}={v}" for key in keys for v in ("", *(_complete_value(key, "", config_dir) if len(keys) == 1 else ()))
    ]


def _complete_value(key: str, given: str, config_dir: Path | None) -> list[str]:
    """Return the values of a key that complete `given`, of which only what follows the last comma is incomplete."""
    before = given[: given.rfind(",") + 1]
    if key in GROUPS:
        values = list(catalogue.option_files(key, config_dir))
    elif key in described_keys():
        # What is not a single word describes values: "from 0 to 64".
        values = [v for v in re.split(", | or ", described_keys()[key].values) if not set(v) & set(" :")]
        values = values or [v for v in (described_keys()[key].default,) if " " not in v and "path" not in key]
    else:
        values = []
    return [before + value for value in values if (before + value).startswith(given)]


def complete_name(context: Context, incomplete: str) -> list[str]:
    """Complete what `resdepth show` explains."""
    if "=" in incomplete or "=" in os.environ.get("COMP_WORDS", ""):
        return complete_override(context, incomplete)
    names = [*GROUPS, "keys", *described_keys(), *VARIANTS]
    names += [option for group in GROUPS for option in catalogue.option_files(group, context.params.get("config_dir"))]
    return sorted({name for name in names if name.startswith(incomplete)})


def complete_target(context: Context, incomplete: str) -> list[str]:
    """Complete what a probe measures: a folder, or an override."""
    return [*complete_folder(incomplete), *complete_override(context, incomplete)]


def complete_folder(incomplete: str) -> list[str]:
    """Complete a folder; where only one is left, the folders in it are offered with it."""
    found = _folders(incomplete)
    return found if len(found) != 1 else [*found, *_folders(f"{found[0]}/")]


def _folders(start: str) -> list[str]:
    head, _, last = start.rpartition("/")
    base = f"{head}/" if "/" in start else ""
    try:
        entries = sorted(Path(base or ".").expanduser().iterdir())
    except OSError:
        return []
    names = (entry.name for entry in entries if entry.is_dir())
    return [f"{base}{n}" for n in names if n.startswith(last) and (last.startswith(".") or not n.startswith("."))]


def show(
    names: Annotated[
        list[str] | None,
        Argument(
            metavar="[NAME|GROUP=NAME|KEY|keys]...",
            help="An experiment, data set, recipe, model or variant; a group of them; a key; or keys, for all of them.",
            autocompletion=complete_name,
        ),
    ] = None,
    config_dir: Annotated[Path | None, Option(help="Folder with your own YAML files: data/, recipe/, ...")] = None,
    markdown: Annotated[bool, Option("--markdown", help="Print the keys as a table of Markdown.")] = False,
) -> None:
    """List experiments, data, recipes, models and variants; or explain one of them, or a key."""
    catalogue.require_config_dir(config_dir)
    if markdown:
        print(keys_as_markdown(config_dir))
        return
    # All of them are looked up before any is printed: an unknown name leaves standard output empty.
    parts = [_explain(name, config_dir) for name in names or ()] or [_overview(config_dir)]
    print("\n\n".join(parts))


def composed(kind: str, overrides: Sequence[str], config_dir: Path | None, *, swept: bool) -> str:
    """Return the configuration of the first point: its values as YAML (job), or with where each comes from (origin)."""
    require_choice("--cfg", kind, ("job", "origin"))
    from resdepth.config.origin import composed_origins, composed_yaml

    compose = composed_yaml if kind == "job" else composed_origins
    return compose(overrides, config_dir, swept=swept)


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
