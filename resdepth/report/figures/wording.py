"""Titles of figures in plain words, and the details in small type below them."""

from resdepth.report.comparison import seeds_per_net
from resdepth.report.figures.grid import Settings


def title_of(settings: Settings, what: str, at: str = "") -> str:
    """Return a title such as "Training error on digits, mean of 3 seeds"; it says where runs have not ended."""
    rows = settings.whole.rows
    on = " and ".join(sorted(rows.dataset.astype(str).unique()))
    seeds = seeds_per_net(settings.comparisons)
    count = ", one seed" if seeds == "1" else f", mean of {seeds} seeds"
    words = {"running": "still running", "stopped": "stopped"}
    unfinished = ", ".join(said for state, said in words.items() if state in set(rows.state))
    return f"{what[0].upper()}{what[1:]} on {on}{at}{count}" + (f" ({unfinished})" if unfinished else "")


def details_of(settings: Settings) -> str:
    """Return nets, recipe, rate, length, other differences from the defaults and precision, where they are the same."""
    if len(settings.comparisons) == 1:
        return settings.comparisons[0].details()
    varying = {key for c in settings.comparisons for key in c.keys if key not in settings.shared}
    return settings.whole.details(frozenset(varying))
