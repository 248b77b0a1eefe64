from __future__ import annotations

import pytest
from PIL import Image

from cxgi_bluesky.reproduction import drawing
from tests.reproduction import synthetic


@pytest.mark.parametrize("figure", ["fig2", "fig3", "fig4"])
def test_the_figure_that_was_asked_for_is_drawn(figure, tmp_path):
    results = synthetic.results(1)
    drawing.draw_figures(tmp_path, results, synthetic.numbers(results, 1, (figure,)), (figure,))
    assert [path.name for path in tmp_path.iterdir()] == [f"{figure}.png"]
    with Image.open(tmp_path / f"{figure}.png") as picture:
        assert min(picture.size) > 500
        low, high = picture.convert("L").getextrema()
    assert (low, high) == (0, 255)


def test_a_peer_has_a_column_of_its_own(tmp_path):
    results = synthetic.results(1)
    widths = []
    for peers in ((), ("PnP-BM3D",)):
        results["fig4", "objects", 0] = {"gold": synthetic.object_result("gold", 0, *peers)}
        drawing.draw_figures(tmp_path, results, synthetic.numbers(results, 1, ("fig4",)), ("fig4",))
        with Image.open(tmp_path / "fig4.png") as picture:
            widths.append(picture.width)
    assert widths[1] == pytest.approx(7 / 6 * widths[0], abs=2)


def test_every_curve_has_a_style():
    numbers = synthetic.numbers(synthetic.results(1), 1, ("fig2",))
    assert set(drawing.CURVE_STYLES) == set(numbers["fig2"]["curves"])
