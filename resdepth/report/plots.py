"""Writes the figures of `resdepth.report.figures` to files."""

from pathlib import Path

from resdepth.errors import ConfigError
from resdepth.report.figures.draw import METRICS, draw
from resdepth.report.style import save_figure
from resdepth.results.table import Track, experiment_folder, read_results, require_rows


def plot(
    root: Path, out: Path | None, formats: tuple[str, ...], metric: str, x: str, track: Track = iter
) -> tuple[list[Path], list[str]]:
    """Write the figures of every experiment below `root` to `figures/` in its folder, or all of them to `out`.

    Returns the files written, and a line for each file of results that could not be read. `track` wraps the runs'
    folders while they are read. Raises ConfigError if there is nothing to draw or a figure cannot be written.
    """
    table, problems = read_results(root, track)
    require_rows(table, root, problems)
    files: list[Path] = []
    for experiment, name, figure in draw(table, metric, x):
        folder = out or experiment_folder(root, experiment) / "figures"
        prefix = f"{experiment.replace('/', '-')}_" if out else ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files += save_figure(figure, folder / f"{prefix}{name}", formats)
        except OSError as error:
            raise ConfigError("--out", folder, f"cannot be written to ({error.strerror}); use --out FOLDER") from error
    if table[METRICS[metric][0]].isna().all():
        problems.append(f"{root}: no run measured {METRICS[metric][0]}; sweep with recipe.eval_clean=true")
    return files, problems
