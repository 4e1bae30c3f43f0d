"""What all figures share: an open frame, and files of one resolution."""

import matplotlib
import matplotlib.pyplot as plt
import pytest

from resdepth.report.style import STYLE, save_figure


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_panel_has_an_axis_left_and_below_and_no_frame():
    with matplotlib.rc_context(STYLE):
        _, panel = plt.subplots()
    assert [side for side, spine in panel.spines.items() if spine.get_visible()] == ["left", "bottom"]


def test_a_png_has_150_pixels_an_inch(tmp_path):
    with matplotlib.rc_context(STYLE):
        figure, _ = plt.subplots(figsize=(4, 2))
    (file,) = save_figure(figure, tmp_path / "figure", ("png",))
    assert plt.imread(file).shape[:2] == (300, 600)
