"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from resdepth.cli.commands import completion

Overrides = Annotated[
    list[str] | None,
    Argument(metavar="[KEY=VALUE]...", help="Hydra overrides.", autocompletion=completion.complete_override),
]
ConfigDir = Annotated[Path | None, Option(help="Folder with your own YAML files: data/, recipe/, ...")]
Plugins = Annotated[
    list[Path] | None, Option("--plugin", help="Python file with variants of your own; can be given several times.")
]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Print only problems.")]
Formats = Annotated[str, Option("--format", help="png, svg, pdf, or several: png,svg.")]
