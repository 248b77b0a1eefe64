from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky import CxgiError, Measurement, residual_lines
from cxgi_bluesky.masks.orders import sequency_grid
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients, pattern
from cxgi_bluesky.measurement.coefficients import Coefficients
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.reconstruction.line_runs import MIN_LENGTH, line_runs
from tests.conftest import signed_measurement

SIZE = 32
PATTERNS = PatternSet(SIZE, 384)
ROWS, COLUMNS = np.indices((SIZE, SIZE)).astype(float)
PLATE = np.where(np.hypot(ROWS - 15.5, COLUMNS - 15.5) < 13, 0.1, 1.0)  # dark, on bright ground


def line_image(angle_deg: float, offset: float) -> np.ndarray:
    """A line one pixel wide through the plate; its normal is turned by the angle from the columns' axis."""
    angle = math.radians(angle_deg)
    distance = math.cos(angle) * (COLUMNS - 15.5) + math.sin(angle) * (ROWS - 15.5) - offset
    return np.clip(1 - np.abs(distance), 0, 1) * (PLATE < 0.5)


def scan(image: np.ndarray, sigma: float = 4.0, seed: int = 0) -> Measurement:
    return signed_measurement(image, PATTERNS, sigma=sigma, seed=seed)


@pytest.mark.parametrize("angle_deg", [-70, -45, -12, 0, 12, 44, 90])
@pytest.mark.parametrize("offset", [-4.0, 3.25])
def test_a_line_that_the_image_lacks_is_found_where_it_is(angle_deg, offset):
    (found,) = residual_lines(scan(PLATE + 0.8 * line_image(angle_deg, offset)), PLATE)
    assert found.kind == "bright line"
    assert abs((found.angle_deg - angle_deg + 90) % 180 - 90) <= 4
    angle = math.radians(angle_deg)
    for row, col in (found.ends[:2], found.ends[2:]):
        assert math.cos(angle) * (col - 15.5) + math.sin(angle) * (row - 15.5) == pytest.approx(offset, abs=1.5)
    assert found.brightness == pytest.approx(0.8, abs=0.3)
    assert found.chance < 1e-3


def test_a_dark_line_on_bright_ground_is_found():
    (found,) = residual_lines(scan(1.1 - PLATE - 0.8 * line_image(30, 1), sigma=3.0), 1.1 - PLATE)
    assert found.kind == "dark line"
    assert found.angle_deg == pytest.approx(30, abs=4)
    assert found.brightness < -0.4


@pytest.mark.parametrize(("kind", "sign", "row", "col"), [("bright point", 1, 12, 17), ("dark point", -1, 2, 3)])
def test_points_are_found(kind, sign, row, col):
    image = PLATE.copy()
    image[row, col] += sign * 0.9
    (found,) = residual_lines(scan(image, sigma=1.0), PLATE)
    assert (found.kind, found.ends, found.angle_deg) == (kind, (row, col, row, col), None)


def test_two_lines_are_found_one_after_the_other():
    found = residual_lines(scan(PLATE + 0.8 * line_image(10, -6) + 0.8 * line_image(80, 5)), PLATE)
    assert sorted(round(line.angle_deg, -1) for line in found) == [10, 80]
    assert found[0].z >= found[1].z


def test_a_line_that_the_image_shows_is_not_found():
    image = PLATE + 0.8 * line_image(12, -3)
    assert residual_lines(scan(image), image) == ()


@pytest.mark.parametrize("changes", ["constant", "edges", "scale", "levels"])
def test_what_the_masks_errors_have_in_common_is_no_line(changes):
    m, others = scan(PLATE), PATTERNS.pattern_index != 0
    u, v = (each[m.pattern_index] for each in sequency_grid(SIZE))
    error = {
        "constant": 100.0 * others,
        "edges": 3.0 * (u + v),
        "scale": 0.3 * coefficients(PLATE, m.pattern_index),
        "levels": 0.2 * coefficients(PLATE > 0.5, m.pattern_index),
    }[changes]
    assert residual_lines(replace(m, coefficient=m.coefficient + error), PLATE) == ()


def test_noise_alone_is_claimed_no_more_often_than_its_chance_says():
    chances = []
    for seed in range(60):
        found = residual_lines(scan(PLATE, seed=seed), PLATE, min_z=3.0)
        chances.append(min((line.chance for line in found), default=1.0))
    for bound in (0.05, 0.3):
        assert np.mean(np.array(chances) <= bound) <= bound + 2 * math.sqrt(bound * (1 - bound) / len(chances))


def test_behind_measured_masks_the_coefficients_are_predicted_with_them():
    m, line = scan(PLATE), 0.8 * line_image(12, -3)
    designed = np.array([pattern(SIZE, k) for k in m.pattern_index], dtype=np.float32)
    masks = designed * (1 - 0.3 * np.random.default_rng(0).random(designed.shape, dtype=np.float32))
    known = replace(m, masks=masks)
    known = replace(
        known, coefficient=known.predict(PLATE + line) + m.coefficient - coefficients(PLATE, m.pattern_index)
    )
    (found,) = residual_lines(known, PLATE)
    assert found.angle_deg == pytest.approx(12, abs=4)
    assert residual_lines(known, PLATE + line) == ()


def test_errors_that_grow_with_the_edges_of_a_pattern_count_where_they_are():
    line = 0.8 * line_image(12, -3)
    exact = signed_measurement(PLATE + line, PATTERNS)
    u, v = (each[exact.pattern_index] for each in sequency_grid(SIZE))
    error = 15 * (u + v) / SIZE * np.random.default_rng(0).normal(size=len(exact))
    m = replace(exact, coefficient=exact.coefficient + error, sigma=np.ones(len(exact)))
    (alike,) = (found for found in residual_lines(m, PLATE, min_z=2.0) if found.angle_deg == pytest.approx(12, abs=4))
    (weighted,) = residual_lines(replace(m, source={"coding": "binary"}), PLATE)
    assert weighted.z > alike.z + 1


def test_validation_patterns_are_not_looked_at():
    m = scan(PLATE + 0.8 * line_image(12, -3))
    beyond = Coefficients(np.array([1023]), np.array([1e6]), None)
    assert residual_lines(replace(m, validation=beyond), PLATE) == residual_lines(m, PLATE)


@pytest.mark.parametrize("unit", [1e-12, 1e30])
def test_the_unit_of_the_buckets_does_not_matter(unit):
    m = scan(PLATE + 0.8 * line_image(12, -3))
    (one,) = residual_lines(m, PLATE)
    (other,) = residual_lines(replace(m, coefficient=m.coefficient * unit, sigma=m.sigma * unit), PLATE * unit)
    assert other.ends == one.ends
    assert other.z == pytest.approx(one.z, rel=1e-4)
    assert other.brightness == pytest.approx(one.brightness * unit, rel=1e-4)


def test_of_a_mirrored_board_lines_lie_where_the_image_shows_them():
    m = scan(PLATE + 0.8 * line_image(30, -3))
    (plain,) = residual_lines(m, PLATE)
    (turned,) = residual_lines(replace(m, mirrored=True), PLATE[:, ::-1])
    assert turned.angle_deg == -plain.angle_deg
    assert turned.ends == pytest.approx([plain.ends[0], 31 - plain.ends[1], plain.ends[2], 31 - plain.ends[3]])
    assert turned.z == plain.z


@pytest.mark.parametrize("method", ["inverse", "correlation"])
def test_an_image_that_fits_its_data_leaves_nothing(method):
    m = scan(PLATE + 0.8 * line_image(12, -3))
    assert residual_lines(m, reconstruct(m, method=method).image) == ()


def test_a_line_brighter_than_light_can_be_is_not_claimed():
    assert residual_lines(scan(PLATE + 5 * line_image(12, -3), sigma=1.0), PLATE) == ()


def test_too_few_patterns_and_other_images_are_refused():
    m = scan(PLATE)
    with pytest.raises(CxgiError, match="63 patterns are too few"):
        residual_lines(m.first(63), PLATE)
    with pytest.raises(CxgiError, match="63 patterns are too few"):
        reconstruct_and_check(m.first(63), method="tv", residual=True)
    for image in (PLATE[:16, :16], np.full_like(PLATE, np.nan)):
        with pytest.raises(CxgiError, match="32 x 32"):
            residual_lines(m, image)
    with pytest.raises(CxgiError, match="flat"):
        residual_lines(m, np.ones_like(PLATE))


def test_what_was_lost_is_said_with_the_image_and_drawn_beside_it(tmp_path):
    m = scan(PLATE + 0.7 * line_image(12, -3), sigma=6.0)
    result = reconstruct_and_check(m, method="tv", weight=0.5, residual=True)  # so much that the line is lost
    assert json.loads(json.dumps(result.quality["residual_lines"])) == result.quality["residual_lines"]
    assert any("LEFT IN THE DATA, not in the image (1): bright line from row" in text for text in result.summary())
    plain = reconstruct(m, method="tv", weight=0.5)
    np.testing.assert_array_equal(result.image, plain.image)
    assert "LEFT" not in "".join(plain.summary())
    with pytest.raises(CxgiError, match="--residual"):
        plain.save_residual(tmp_path / "a.png")
    path = result.save_residual(tmp_path / "a.npy")
    assert path == tmp_path / "a-residual.png"


def test_nothing_found_is_said_too(tmp_path):
    result = reconstruct_and_check(scan(PLATE), method="tv", residual=True)
    assert result.quality["residual_lines"] == []
    assert any("nothing found that is left in the data" in text for text in result.summary())
    assert result.save_residual(tmp_path / "a.png").stat().st_size > 0


@pytest.mark.parametrize("size", [16, 32])
def test_runs_lie_on_one_ground_and_cover_it(size):
    bright = np.indices((size, size)).sum(axis=0) > size
    seen = np.zeros(size * size)
    for runs in line_runs(bright):
        weights = runs.weights.toarray()
        for dark in (False, True):
            assert not weights[runs.bright == dark][:, bright.ravel() != dark].any()
        assert (np.hypot(*(runs.ends[:, 2:] - runs.ends[:, :2]).T) >= MIN_LENGTH - 2).all()
        seen += weights.sum(axis=0)
    assert (seen > 0).mean() > 0.95
