"""Reference and dark scans of hand-made runs: what belongs together, and what is made of it."""

from __future__ import annotations

import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.reference import check_complete, dark_level
from tests.measurement.test_exposures import ALL, T0, bucket

OPEN = [("open", -1, bucket(0))]
PASSED = [("primary", k, 10.0 if k == 0 else 10.0 * (1 + T0) / 2) for k in range(16)]


def run(events, *, purpose="image", i0=None, field="b", **more) -> Exposures:
    """A hand-made run; events are (stream, index, bucket) or longer with I0."""
    words = {
        "schema": 1,
        "purpose": purpose,
        "pattern_set": PatternSet(4, 16).to_dict(),
        "board": {"id": "hand", "sha256": "0" * 64, "d_r": 1 - T0, "pixel_um": 1.0},
        "fields": {"pattern_index": "k", "bucket": field, "sigma": "s", "i0": i0},
        "exposure_s": 1.0,
        **more,
    }
    if purpose == "dark":
        del words["pattern_set"], words["board"]
    exposures = Exposures()
    exposures("start", {"uid": purpose, "cxgi": words})
    for stream in ("primary", "open", "dark", "incident", "metal"):
        exposures("descriptor", {"uid": stream, "name": stream})
    for number, (stream, k, value, *beam) in enumerate(events, 1):
        data = {"k": k, field: value, "s": 0.01, "mon": beam[0] if beam else 1.0}
        exposures("event", {"descriptor": stream, "seq_num": number, "data": data, "time": float(number)})
    return exposures


def reference(events=PASSED, **more) -> Exposures:
    return run(events, purpose="reference", **more)


def dark(events=(("dark", -1, 0.5),), **more) -> Exposures:
    return run(events, purpose="dark", **more)


def test_a_linked_dark_is_in_d_r_too():
    metal = run([*ALL, ("open", -1, 10.5), ("metal", -1, 10 * T0 + 0.5)])
    assert metal.estimate_d_r(dark=0.5)[0] == pytest.approx(1 - T0)
    assert metal.buckets(dark=0.5).source["d_r_measured"][0] == pytest.approx(1 - T0)
    own = run([*ALL, ("open", -1, 10.5), ("metal", -1, 10 * T0 + 0.5), ("dark", -1, 0.5)])
    assert own.estimate_d_r(dark=3.0)[0] == pytest.approx(1 - T0)


@pytest.mark.parametrize("i0", [0.01, 1.0, 100.0])
def test_d_r_and_its_dark_do_not_depend_on_the_unit_of_i0(i0):
    tiles = [("open", -1, 10.5, i0), ("metal", -1, 10 * T0 + 0.5, i0), ("dark", -1, 0.5, i0)]
    measured, sigma = run([*((stream, k, value, i0) for stream, k, value, *_ in ALL), *tiles], i0="mon").estimate_d_r()
    assert measured == pytest.approx(1 - T0)
    assert sigma == pytest.approx(run([*ALL, *((*tile[:3], 1.0) for tile in tiles)], i0="mon").estimate_d_r()[1])


@pytest.mark.parametrize("events", [(), (("dark", -1, float("nan")),)])
def test_a_dark_run_without_a_reading_is_refused(events):
    with pytest.raises(CxgiError, match="dark run dark holds no reading"):
        Measurement.from_exposures(run(ALL), dark=dark(events))


@pytest.mark.parametrize("link", [reference, dark])
def test_another_detector_is_refused(link):
    other = link(field="other")
    with pytest.raises(CxgiError, match=r"another detector \(bucket 'other'; the image's is 'b'\)"):
        Measurement.from_exposures(run(ALL), **{link.__name__: other})
    other = link(bucket_unit="counts")
    with pytest.raises(CxgiError, match="buckets in counts, the image in pA"):
        Measurement.from_exposures(run(ALL, bucket_unit="pA"), **{link.__name__: other})


@pytest.mark.parametrize("link", [reference, dark])
def test_counts_of_another_exposure_time_are_refused(link):
    image = run(ALL, bucket_unit="counts")
    with pytest.raises(CxgiError, match=r"exposed for 2\.0 s, the image for 1\.0 s, and counts grow"):
        Measurement.from_exposures(image, **{link.__name__: link(bucket_unit="counts", exposure_s=2.0)})
    Measurement.from_exposures(image, **{link.__name__: link(bucket_unit="counts")})


@pytest.mark.parametrize("unit", [{}, {"bucket_unit": "pA"}])
def test_a_mean_current_may_be_of_another_exposure_time(unit):
    image = run(ALL, **unit)
    Measurement.from_exposures(image, reference=reference(exposure_s=2.0, **unit), dark=dark(exposure_s=3.0, **unit))
    assert image.bucket_unit == "pA"


def test_an_incomplete_reference_says_how_many_are_missing():
    with pytest.raises(CxgiError, match=r"lacks 2 of the 15 patterns of this image: complete it .*--reference none"):
        Measurement.from_exposures(run(ALL), reference=reference(PASSED[:14]))
    with pytest.raises(CxgiError, match="has none of the 15 patterns of this image"):
        Measurement.from_exposures(run(ALL), reference=reference(PASSED[:1]))
    few = run(ALL[:8])
    assert len(Measurement.from_exposures(few, reference=reference(PASSED[:14]))) == 8


def test_a_reference_without_light_says_so():
    with pytest.raises(CxgiError, match="shows no light"):
        Measurement.from_exposures(run(ALL), reference=reference([(s, k, 0.0) for s, k, _ in PASSED]))


def test_a_reference_is_complete_by_its_own_pattern_set():
    check_complete(reference())
    with pytest.raises(CxgiError, match="lacks 6 of its 16 patterns"):
        check_complete(reference(PASSED[:10]))
    with pytest.raises(CxgiError, match="none of its 16 patterns"):
        check_complete(reference([]))


def test_the_references_incident_intensity_is_for_the_images_source():
    twice = reference([(*e, 1.0) for e in PASSED], i0="mon")
    image = run([(s, k, 2 * b, 2.0) for s, k, b in ALL], i0="mon")
    expected = Measurement.from_exposures(run(ALL), reference=reference()).coefficient
    assert Measurement.from_exposures(image, reference=twice).coefficient == pytest.approx(expected)
    blind = reference(PASSED)  # without a monitor nothing tells that the source was weaker
    assert Measurement.from_exposures(image, reference=blind).coefficient == pytest.approx(2 * expected)


def test_a_reference_without_dark_takes_that_of_the_image():
    image = run([*[(s, k, b + 0.5) for s, k, b in ALL], ("dark", -1, 0.5)])
    shifted = reference([(s, k, b + 0.5) for s, k, b in PASSED])
    expected = Measurement.from_exposures(run(ALL), reference=reference()).coefficient
    assert Measurement.from_exposures(image, reference=shifted).coefficient == pytest.approx(expected)


def test_no_dark_scan_has_no_level():
    assert dark_level(run(ALL).start["cxgi"], None) is None
