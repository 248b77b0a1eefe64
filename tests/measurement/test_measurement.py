from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.measurement.coefficients import estimate_sigma
from cxgi_bluesky.measurement.measurement import Measurement
from tests.conftest import signed_measurement, smooth_image

SIZE = 8
IMAGE = smooth_image(SIZE)
INDEX = np.arange(SIZE * SIZE)


def masks(t0: float) -> np.ndarray:
    return np.array([np.where(pattern(SIZE, k) > 0, 1.0, t0) for k in INDEX])


def signed() -> np.ndarray:
    return np.array([(pattern(SIZE, k) * IMAGE).sum() for k in INDEX])


@pytest.mark.parametrize("d_r", [1.0, 0.83, 0.3])
def test_binary_coding_reduces_to_signed_coefficients(d_r):
    bucket = (masks(1 - d_r) * IMAGE).sum(axis=(1, 2)) + 0.4
    m = Measurement.from_buckets(SIZE, INDEX, bucket, coding="binary", d_r=d_r, dark=0.4)
    np.testing.assert_allclose(m.coefficient, signed(), atol=1e-10)


@pytest.mark.parametrize("d_r", [1.0, 0.83])
def test_complementary_coding_reduces_to_signed_coefficients(d_r):
    t0 = 1 - d_r
    bucket = (masks(t0) * IMAGE).sum(axis=(1, 2)) + 0.4
    complement = ((1 + t0 - masks(t0)) * IMAGE).sum(axis=(1, 2)) + 0.4
    m = Measurement.from_buckets(
        SIZE, INDEX, bucket, coding="complementary", bucket_complement=complement, d_r=d_r, sigma=np.full(64, 0.1)
    )
    np.testing.assert_allclose(m.coefficient, signed(), atol=1e-10)
    np.testing.assert_allclose(m.sigma, np.sqrt(2) * 0.1 / d_r)


def test_signed_coding_keeps_its_numbers():
    m = Measurement.from_buckets(SIZE, INDEX, signed(), coding="signed")
    np.testing.assert_array_equal(m.coefficient, signed())
    assert m.scale == "relative"


def test_binary_sigma_is_what_many_noisy_measurements_show():
    d_r, sigma = 0.8, 0.05
    bucket = (masks(1 - d_r) * IMAGE).sum(axis=(1, 2))
    rng = np.random.default_rng(3)
    many = np.array(
        [
            Measurement.from_buckets(
                SIZE, INDEX, bucket + sigma * rng.normal(size=64), coding="binary", d_r=d_r
            ).coefficient
            for _ in range(4000)
        ]
    )
    m = Measurement.from_buckets(SIZE, INDEX, bucket, coding="binary", d_r=d_r, sigma=np.full(64, sigma))
    total = np.sqrt(m.sigma[1:] ** 2 + m.sigma_common**2)
    np.testing.assert_allclose(many[:, 1:].std(axis=0), total, rtol=0.06)
    covariance = np.cov(many[:, 1], many[:, 2])[0, 1]
    np.testing.assert_allclose(covariance, m.sigma_common**2, rtol=0.15)


def test_incident_intensity_makes_a_transmission():
    d_r, open_pa = 0.83, 15.0
    bucket = open_pa * (masks(1 - d_r) * IMAGE).mean(axis=(1, 2))
    m = Measurement.from_buckets(SIZE, INDEX, bucket, coding="binary", d_r=d_r, incident=open_pa)
    assert m.scale == "transmission"
    np.testing.assert_allclose(m.coefficient, signed(), atol=1e-9)


def test_an_open_bucket_stands_in_for_pattern_0():
    bucket = (masks(0.0) * IMAGE).sum(axis=(1, 2))
    m = Measurement.from_buckets(SIZE, INDEX[1:], bucket[1:], coding="binary", open_bucket=(bucket[0], 0.0))
    np.testing.assert_allclose(m.coefficient_grid().ravel(), signed(), atol=1e-10)


def test_subset_takes_the_patterns_of_an_order():
    m = signed_measurement(IMAGE)
    chosen = PatternSet(SIZE, 20, "zig-zag")
    part = m.subset(chosen)
    np.testing.assert_array_equal(part.pattern_index, chosen.pattern_index)
    np.testing.assert_array_equal(part.coefficient, m.coefficient_grid().ravel()[chosen.pattern_index])


def test_too_few_patterns_for_the_fraction():
    m = signed_measurement(IMAGE, PatternSet(SIZE, 20))
    with pytest.raises(CxgiError, match=r"too few patterns: 40 .* 20 of them"):
        m.subset(PatternSet(SIZE, 40))


def test_subset_of_another_size():
    with pytest.raises(CxgiError, match="size 16"):
        signed_measurement(IMAGE).subset(PatternSet(16, 10))


def test_estimated_sigma_is_marked_and_near_the_truth():
    m = signed_measurement(smooth_image(64), sigma=2.0)
    sigma, origin = estimate_sigma(m.pattern_index, m.coefficient, 64)
    assert origin.startswith("estimated")
    np.testing.assert_allclose(sigma, 2.0, rtol=0.25)


def test_estimated_sigma_of_exact_data_is_small():
    m = signed_measurement(smooth_image(32))
    sigma, _ = estimate_sigma(m.pattern_index, m.coefficient, 32)
    assert 0 <= sigma[0] < 0.05 * np.sqrt(np.mean(m.coefficient[1:] ** 2))


def test_estimated_sigma_where_only_a_coarse_pattern_is_of_size():
    m = signed_measurement(smooth_image(8), PatternSet(8, 9))
    coefficient = 1e-116 * np.arange(9.0)
    coefficient[[0, 4]] = 1.0
    sigma, _ = estimate_sigma(m.pattern_index, coefficient, 8)
    assert 0 <= sigma[0] < 1e-3


@pytest.mark.parametrize("unit", [1e-200, 1e-116, 1e120, 1e200])
def test_estimated_sigma_has_the_unit_of_the_coefficients(unit):
    m = signed_measurement(smooth_image(32), sigma=2.0)
    others = np.where(m.pattern_index == 0, 1.0, unit)
    sigma, _ = estimate_sigma(m.pattern_index, m.coefficient * others, 32)
    expected, _ = estimate_sigma(m.pattern_index, m.coefficient, 32)
    np.testing.assert_allclose(sigma, expected * unit, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern_index": [0, 1, 1]}, "pattern_index 1 is given 2 times"),
        ({"pattern_index": [0, 1, 64]}, "pattern_index 64 is outside 0..63"),
        ({"pattern_index": [0, 1, -3]}, "pattern_index -3 is outside"),
        ({"bucket": [1.0, float("nan"), 2.0]}, "bucket of pattern_index 1 is nan"),
        ({"bucket": [1.0, float("inf"), 2.0]}, "bucket of pattern_index 1 is inf"),
        ({"bucket": [1.0, 2.0]}, "2 values for 3 patterns"),
        ({"sigma": [1.0, -1.0, 2.0]}, "sigma -1.0 is negative"),
        ({"pattern_index": [3, 1, 2]}, "all open"),
        ({"size": 12}, "12 is not a power of two"),
        ({"coding": "ternary"}, "'ternary' is unknown"),
        ({"coding": "complementary"}, "bucket_complement"),
        ({"coding": "binary", "d_r": 0.0}, "d_r 0.0"),
        ({"coding": "binary", "pattern_index": [3, 1, 2]}, "all-open bucket"),
        ({"coding": "binary", "incident": 0.0}, "incident intensity 0.0"),
        ({"pattern_index": [], "bucket": []}, "no pattern was measured"),
    ],
)
def test_bad_input_names_the_value(changes, message):
    words = {"size": SIZE, "pattern_index": [0, 1, 2], "bucket": [3.0, 1.0, 2.0], "coding": "signed"} | changes
    size, index, bucket = words.pop("size"), words.pop("pattern_index"), words.pop("bucket")
    with pytest.raises(CxgiError, match=message):
        Measurement.from_buckets(size, index, bucket, **words)


# ---------------------------------------------------------------- files


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_with_sigma_and_comments(tmp_path):
    rows = "\n".join(f"{k},{signed()[k]:.17g},0.5" for k in INDEX)
    file = write(tmp_path / "a.csv", f"# a measurement\npattern_index,bucket,sigma\n{rows}\n\n")
    m = Measurement.from_csv(file, size=SIZE, coding="signed")
    np.testing.assert_array_equal(m.coefficient, signed())
    np.testing.assert_array_equal(m.sigma, 0.5)
    assert m.sigma_origin == "given"
    assert m.source["file"] == str(file)


def test_csv_complementary(tmp_path):
    rows = "\n".join(f"{k},{signed()[k] + 100},100" for k in INDEX)
    file = write(tmp_path / "a.csv", f"pattern_index,bucket,bucket_complement\n{rows}\n")
    np.testing.assert_allclose(Measurement.from_csv(file, size=SIZE, coding="complementary").coefficient, signed())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("pattern_index,current\n0,1\n", "lacks the column bucket"),
        ("k,b\n0,1\n", "lacks the column bucket, pattern_index"),
        ("pattern_index,bucket\n0,1\n1,x\n", "line 3: bucket 'x'"),
        ("# made\n\npattern_index,bucket\n# note\n0,1\n1,x\n", "line 6: bucket 'x'"),
        ("pattern_index,bucket\n0,1\n1\n", "line 3 has 1 cells, the header 2: the file was cut short, or"),
        ("pattern_index,bucket\n0,1\n1.5,2\n", "line 3: pattern_index 1.5 is no whole number"),
        ("pattern_index,bucket\n0,1\n1,nan\n", "bucket of pattern_index 1 is nan"),
        ("pattern_index,bucket\n0,1\n0,2\n", "pattern_index 0 is given 2 times"),
        ("pattern_index,bucket\n0,1\n64,2\n", "pattern_index 64 is outside 0..63"),
        ("pattern_index,bucket\n", "no pattern was measured"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, message):
    file = write(tmp_path / "bad.csv", text)
    with pytest.raises(CxgiError, match=message) as caught:
        Measurement.from_csv(file, size=SIZE, coding="signed")
    assert "bad.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(CxgiError, match="cannot be read"):
        Measurement.from_csv(tmp_path / "none.csv", size=SIZE, coding="signed")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01" * 20)
    with pytest.raises(CxgiError, match="cannot be read"):
        Measurement.from_csv(tmp_path / "b.csv", size=SIZE, coding="signed")


def test_a_measurement_is_shown_in_one_line():
    m = Measurement.from_buckets(4, np.arange(8), np.arange(8.0) + 1, coding="signed", sigma=np.full(8, 0.25))
    assert repr(m) == "Measurement(8 of 16 patterns (50.0%) of 4 x 4, scale relative, sigma 0.25 (given))"
    cut = replace(m, source={"raw_uids": ["abcdefgh1", "12345678a"], "left_out": [3, 4]})
    assert repr(cut).endswith("(given), run abcdefgh and 12345678, 2 left out)")
