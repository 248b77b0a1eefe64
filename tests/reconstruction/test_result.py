from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.reconstruction.result import MARK, NOT_SCORED, PREDICTS_NOTHING
from tests.conftest import signed_measurement, smooth_image

FEW = PatternSet.from_fraction(32, 0.3)


def test_measured_and_unmeasured_part_make_the_picture():
    m = signed_measurement(smooth_image(32), FEW, sigma=0.5)
    result = reconstruct(m, method="tv")
    unmeasured = walsh_hadamard_2d(result.unmeasured).ravel()
    assert np.abs(unmeasured[m.pattern_index]).max() < 1e-9
    measured = walsh_hadamard_2d(result.image - result.unmeasured).ravel()
    assert np.abs(np.delete(measured, m.pattern_index)).max() < 1e-4
    share = np.mean(result.unmeasured**2) / result.image.var()
    assert result.unmeasured_share == pytest.approx(share)
    assert share > 1e-3


def test_the_inverse_adds_nothing_to_what_was_measured():
    result = reconstruct(signed_measurement(smooth_image(32), FEW), method="inverse")
    assert np.abs(result.unmeasured).max() < 1e-12


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tiff"])
def test_details_are_written_beside_the_picture(tmp_path, suffix):
    result = reconstruct_and_check(signed_measurement(smooth_image(32), FEW, sigma=0.5), method="tv", details=True)
    paths = result.save_details(tmp_path / f"leaf{suffix}")
    assert set(paths) == {"measured", "unmeasured", "uncertainty"}
    assert result.uncertainty_kind == "error"
    for name, path in paths.items():
        assert path == tmp_path / f"leaf-{name}{suffix}"
        assert path.stat().st_size > 0


def test_a_picture_without_details_writes_none(tmp_path):
    result = replace(reconstruct(signed_measurement(smooth_image(8)), method="inverse"), pattern_index=None)
    assert result.save_details(tmp_path / "leaf.png") == {}


def test_a_picture_that_its_data_do_not_support_is_marked(tmp_path):
    result = reconstruct(signed_measurement(smooth_image(32), FEW), method="inverse")
    doubtful = replace(result, quality={"held_out": {"supported": False}})
    trusted = replace(result, quality={"held_out": {"supported": True}})
    assert not doubtful.supported
    pictures = [np.asarray(Image.open(r.save(tmp_path / f"{i}.png"))) for i, r in enumerate((trusted, doubtful))]
    band = slice(0, 512 // 16)
    assert (pictures[1][band] == 0).mean() > 0.5
    assert (pictures[1][band] == 255).any()  # letters
    np.testing.assert_array_equal(pictures[0][64:], pictures[1][64:])
    np.testing.assert_array_equal(np.load(doubtful.save(tmp_path / "d.npy")), result.image)  # numbers stay numbers


def held_out(patterns: int, explained: float, supported: bool | None) -> dict:
    return {"patterns": patterns, "explained": explained, "supported": supported}


@pytest.mark.parametrize(
    ("quality", "mark"),
    [
        ({}, None),
        ({"held_out": held_out(64, 0.5, True)}, None),
        ({"held_out": held_out(64, 0.0, False)}, MARK),
        ({"held_out": None}, NOT_SCORED),
        ({"held_out": held_out(20, 0.5, None)}, NOT_SCORED),
        ({"held_out": held_out(20, -0.5, None)}, PREDICTS_NOTHING),
        ({"held_out": held_out(15, -0.5, None)}, NOT_SCORED),
    ],
)
def test_the_mark_says_what_the_data_say(quality, mark):
    result = reconstruct(signed_measurement(smooth_image(8)), method="inverse")
    assert replace(result, quality=quality).mark == mark


def test_every_mark_fits_over_the_picture_and_its_details(tmp_path):
    result = reconstruct(signed_measurement(smooth_image(32), FEW), method="inverse")
    for quality in ({"held_out": None}, {"held_out": held_out(64, 0.0, False)}, {"held_out": held_out(16, -1.0, None)}):
        doubtful = replace(result, quality=quality)
        for path in (doubtful.save(tmp_path / "a.png"), *doubtful.save_details(tmp_path / "a.png").values()):
            band = np.asarray(Image.open(path))[: 512 // 16]
            assert (band == 255).any()
            assert not band[:, :8].any()
            assert not band[:, -8:].any()


def test_an_uncertainty_that_is_not_finite_is_not_written(tmp_path):
    result = reconstruct(signed_measurement(smooth_image(32), FEW), method="inverse")
    broken = replace(result, uncertainty=np.full((32, 32), np.nan), uncertainty_kind="noise")
    assert set(broken.save_details(tmp_path / "a.png")) == {"measured", "unmeasured"}
    assert not (tmp_path / "a-uncertainty.png").exists()


def test_the_summary_reports_what_the_data_support_and_what_was_left_out():
    m = signed_measurement(smooth_image(32), FEW, sigma=0.5)
    source = {
        **m.source,
        "left_out_because": {"dim": [3, 5], "I0": [7]},
        "raw_uids": ["b1ce7276-8dc6", "2f1c6676-8dc6"],
    }
    result = reconstruct_and_check(replace(m, source=source), method="tv")
    made, verdict, *others = result.summary()
    assert made == f"tv: 307 patterns of 32 x 32, scale relative, {result.seconds * 1e3:.1f} ms"
    assert verdict.startswith("64 patterns held back: ")
    assert others[-3:] == [
        "of run b1ce7276, resumed as 2f1c6676",
        "left out, dim: pattern_index 3, 5",
        "left out, unusual reading of the intensity monitor (I0): pattern_index 7",
    ]


def test_ipython_shows_the_summary():
    pretty = pytest.importorskip("IPython.lib.pretty").pretty
    result = reconstruct(signed_measurement(smooth_image(8)), method="inverse")
    assert pretty(result) == "\n".join(result.summary())


@pytest.mark.parametrize(
    ("explained", "patterns", "text"),
    [
        (0.4, 20, "too few to tell whether"),
        (-0.4, 20, "WARNING: do not trust this image, it predicts nothing of the data (20 patterns held back: -40%"),
        (-0.4, 12, "too few to tell whether"),
    ],
)
def test_few_patterns_can_speak_against_an_image(explained, patterns, text):
    score = {"patterns": patterns, "explained": explained, "supported": None, "model_sigma": 0.0, "outside": None}
    result = reconstruct(signed_measurement(smooth_image(8)), method="inverse")
    assert text in replace(result, quality={"held_out": score}).summary()[1]
