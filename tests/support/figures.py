"""Runs with given curves, and what a figure shows of them."""

from dataclasses import replace

from matplotlib.text import Text

from resdepth.report.figures.draw import draw
from resdepth.results.metrics import read_rows, write_rows
from resdepth.results.table import load_results
from support.runs import write_run


def write_curve(results, variant, depth, errors, epochs=None, **keys):
    """A run with these training errors, an epoch each, of `epochs`; test errors are a point higher."""
    length = epochs or len(errors)
    folder = write_run(results, variant, depth, epochs=length, **keys)
    first = read_rows(folder / "metrics.csv")[0]
    rows = [
        replace(
            first,
            epoch=i,
            iteration=12 * i,
            train_error=e,
            test_error=min(e + 1, 100.0),
            train_loss=e / 40,
            test_loss=e / 30,
        )
        for i, e in enumerate(errors, 1)
    ]
    write_rows(folder / "metrics.csv", rows)
    # The names of directories do not hold what a test sets besides rate and shortcut.
    extra = "".join(f",{k}={keys[k]}" for k in ("width", "limit") if k in keys)
    return folder.rename(folder.with_name(f"{folder.name},recipe.epochs={length}{extra}"))


def write_finals(results, finals, epochs=4, **keys):
    """Runs whose training error falls from 90 % to the given one: {("plain", 20): 1.5, ...}."""
    for (variant, depth), final in finals.items():
        write_curve(results, variant, depth, [90 + (final - 90) * i / (epochs - 1) for i in range(epochs)], **keys)


def figures(results, *words):
    """The figures of a folder by their files' names."""
    return {name: figure for _, name, figure in draw(load_results(results), *words)}


def lines(panel):
    return {line.get_label(): line for line in panel.lines}


def texts(panel):
    """What is written in and beside a panel, without line breaks."""
    return [" ".join(text.get_text().split()) for text in panel.texts if text.get_text()]


def legend(figure):
    return [text.get_text() for found in figure.legends for text in found.get_texts()]


def labels(panel):
    """The texts right of a panel: the names of its lines."""
    return [text for text in panel.texts if text.get_text() and text.get_ha() == "left" and text.get_position()[0] > 1]


def boxes(panel, found):
    """Where texts are drawn, in pixels."""
    panel.figure.canvas.draw()
    return [Text.get_window_extent(text) for text in found]  # an annotation's own includes its arrow
