"""A wrong d_r or dark level is told from the data, a right one never doubted."""

from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.cli.program import main
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.error_model.common_mode import detect_modulation_error
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean

ORDERS = ("zig-zag", "cake-cutting")


def cas(size):
    return block_mean(render_object("CAS", size, 4), 4)


def disc(size):
    y, x = np.mgrid[:size, :size] / size - 0.45
    return np.where(x**2 + y**2 < 0.09, 0.9, 0.1)


def buckets(image, pattern_index, d_r, dark=0.0):
    """Buckets of binary masks whose metal lets 1 - d_r through; noise 1 % of what they vary by."""
    patterns, light = coefficients(image, pattern_index), image.sum()
    found = ((2 - d_r) * light + d_r * patterns) / 2
    found[pattern_index == 0] = light
    rng = np.random.default_rng(1)
    return found + rng.normal(0, 0.01 * d_r * patterns[1:].std(), len(found)) + dark * light


def measured(image, order, fraction, *, d_r, told, dark=0.0):
    chosen = np.array(PatternSet.from_fraction(len(image), fraction, order).pattern_index)
    return Measurement.from_buckets(len(image), chosen, buckets(image, chosen, d_r, dark), coding="binary", d_r=told)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fraction", [0.0625, 0.1875, 1.0])
@pytest.mark.parametrize("make", [cas, disc])
@pytest.mark.parametrize("d_r", [0.3, 0.83, 1.0])
def test_what_is_right_is_not_doubted(order, fraction, make, d_r):
    assert detect_modulation_error(measured(make(64), order, fraction, d_r=d_r, told=d_r)) is None


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("make", [cas, disc])
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"d_r": 0.75, "told": 1.0}, 0.125),  # half of the field is metal, which lets a quarter through
        ({"d_r": 1.0, "told": 0.75}, -0.125),
        ({"d_r": 0.9, "told": 0.9, "dark": 0.3}, None),
    ],
)
def test_what_is_wrong_is_told(order, make, wrong, expected):
    error = detect_modulation_error(measured(make(64), order, 0.1875, **wrong))
    assert error is not None
    if expected is not None:
        assert error == pytest.approx(expected, abs=0.05)


def test_the_command_says_what_to_give(tmp_path, capsys):
    chosen = np.array(PatternSet.from_fraction(32, 0.5, "zig-zag").pattern_index)
    file = tmp_path / "buckets.csv"
    rows = zip(chosen.tolist(), buckets(disc(32), chosen, 0.75).tolist(), strict=True)
    file.write_text("pattern_index,bucket\n" + "".join(f"{k},{b!r}\n" for k, b in rows), encoding="utf-8")
    words = ["reconstruct", str(file), "--size", "32", "--coding", "binary", "--out", str(tmp_path / "a.png")]
    assert main([*words, "--method", "tv"]) == 0
    assert "give the right --d-r and --dark" in capsys.readouterr().out
    assert main([*words, "--method", "tv", "--d-r", "0.75"]) == 0
    assert "CAUTION" not in capsys.readouterr().out
