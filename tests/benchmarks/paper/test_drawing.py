from __future__ import annotations

from functools import cache

import pytest
from PIL import Image

from benchmarks.paper import drawing
from tests.benchmarks.paper import synthetic


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Draw a figure alone; returns its folder."""

    @cache
    def draw(figure: str):
        folder, results = tmp_path_factory.mktemp(figure), synthetic.results(1)
        drawing.draw_figures(folder, results, synthetic.numbers(results, 1, (figure,)), (figure,))
        return folder

    return draw


@pytest.mark.parametrize("figure", ["fig2", "fig3", "fig4"])
def test_the_figure_that_was_asked_for_is_drawn(figure, drawn):
    folder = drawn(figure)
    assert [path.name for path in folder.iterdir()] == [f"{figure}.png"]
    with Image.open(folder / f"{figure}.png") as picture:
        assert min(picture.size) > 500
        low, high = picture.convert("L").getextrema()
    assert (low, high) == (0, 255)


def test_a_peer_has_a_column_of_its_own(drawn, tmp_path):
    results = synthetic.results(1)
    results |= synthetic.gold_scans(0, "PnP-BM3D")
    drawing.draw_figures(tmp_path, results, synthetic.numbers(results, 1, ("fig4",)), ("fig4",))
    widths = []
    for folder in (drawn("fig4"), tmp_path):
        with Image.open(folder / "fig4.png") as picture:
            widths.append(picture.width)
    assert widths[1] == pytest.approx(7 / 6 * widths[0], abs=2)


def test_every_curve_has_a_style():
    numbers = synthetic.numbers(synthetic.results(1), 1, ("fig2",))
    assert set(drawing.CURVE_STYLES) == set(numbers["fig2"]["curves"])
