from __future__ import annotations

import math

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from tests.conftest import smooth_image

IMAGE = smooth_image(4)
T0 = 0.2


def run_documents(events, *, i0=None, d_r=1 - T0):
    """Documents of a hand-made run; events are (stream, index, bucket) or longer with sigma, i0, time."""
    fields = {"pattern_index": "k", "bucket": "b", "sigma": "s", "i0": i0}
    words = {"schema": 1, "pattern_set": PatternSet(4, 16).to_dict(), "fields": fields}
    board = {"id": "hand", "sha256": "0" * 64, "d_r": d_r, "pixel_um": 1.0}
    yield "start", {"uid": "run", "cxgi": {**words, "board": board}}
    for stream in ("primary", "open", "dark", "incident", "baseline"):
        yield "descriptor", {"uid": stream, "name": stream}
    seen: dict[str, int] = {}
    for stream, k, bucket, *more in events:
        seen[stream] = seen.get(stream, 0) + 1
        sigma, beam, time = (*more, *(0.01, 1.0, float(sum(seen.values())))[len(more) :])
        data = {"k": k, "b": bucket, "s": sigma, "mon": beam}
        yield "event", {"descriptor": stream, "seq_num": seen[stream], "data": data, "time": time}
    yield "stop", {"exit_status": "success"}


def bucket(k: int, scale: float = 10.0) -> float:
    return scale * float((np.where(pattern(4, k) > 0, 1, T0) * IMAGE).mean())


def expected(scale: float = 1.0) -> np.ndarray:
    return scale * np.array([(pattern(4, k) * IMAGE).sum() for k in range(16)])


ALL = [("primary", k, bucket(k)) for k in range(16)]


def coefficients(events, **options):
    return Measurement.from_documents(run_documents(events, **options)).coefficient_grid().ravel()


def test_buckets_become_coefficients():
    np.testing.assert_allclose(coefficients(ALL), expected(10 / 16), atol=1e-12)


def test_incident_exposures_give_transmission():
    m = Measurement.from_documents(run_documents([*ALL, ("incident", -1, 10.0)]))
    assert m.scale == "transmission"
    np.testing.assert_allclose(m.coefficient_grid().ravel(), expected(), atol=1e-12)


@pytest.mark.parametrize("wrong", [(3.0,), (3.0, 0.01, 0.3), (math.nan,)])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_incident_exposure_unlike_the_others_does_not_change_the_scale(wrong, place):
    incident = [("incident", -1, 10.0), ("incident", -1, 10.0)]
    incident.insert(place, ("incident", -1, *wrong))
    m = Measurement.from_documents(run_documents([*incident, *ALL], i0="mon"))
    np.testing.assert_allclose(m.coefficient_grid().ravel(), expected(), rtol=1e-6)
    assert m.source["incident_left_out"] == 1


def test_two_incident_exposures_are_both_believed():
    incident = [("incident", -1, 10.0), ("incident", -1, 6.0)]
    assert Measurement.from_documents(run_documents([*incident, *ALL])).source["incident_left_out"] == 0


def test_dark_is_subtracted_everywhere():
    events = [(s, k, b + 0.3) for s, k, b in [*ALL, ("incident", -1, 10.0), ("open", -1, bucket(0))]]
    np.testing.assert_allclose(coefficients([*events, ("dark", -1, 0.2), ("dark", -1, 0.4)]), expected(), atol=1e-9)


def test_the_last_exposure_of_an_index_wins():
    wrong = [("primary", k, 99.0) for k in (3, 5)]
    np.testing.assert_allclose(coefficients([*wrong, *ALL]), expected(10 / 16), atol=1e-12)


def test_a_repeated_sequence_number_replaces_a_reference_exposure():
    documents = list(run_documents([*ALL, ("open", -1, 50.0)]))
    again = {**documents[-2][1], "data": {**documents[-2][1]["data"], "b": bucket(0)}}
    exposures = Exposures.from_documents([*documents[:-1], ("event", again)])
    assert len(exposures.streams["open"]) == 1
    np.testing.assert_allclose(
        Measurement.from_exposures(exposures).coefficient_grid().ravel(), expected(10 / 16), atol=1e-12
    )


def test_event_pages_are_events():
    documents = list(run_documents(ALL))
    rows = [d for name, d in documents if name == "event"]
    page = {
        "descriptor": "primary",
        "seq_num": [d["seq_num"] for d in rows],
        "time": [d["time"] for d in rows],
        "data": {key: [d["data"][key] for d in rows] for key in rows[0]["data"]},
    }
    paged = [d for d in documents if d[0] != "event"] + [("event_page", page)]
    one, two = (Measurement.from_documents(d).coefficient for d in (documents, paged))
    np.testing.assert_array_equal(one, two)


def test_beam_intensity_is_divided_out():
    beam = 1 + 0.3 * np.sin(np.arange(16))
    events = [("primary", k, bucket(k) * beam[k], 0.01, beam[k]) for k in range(16)]
    np.testing.assert_allclose(coefficients(events, i0="mon"), expected(10 / 16) * beam.mean(), rtol=1e-9)


def test_unusable_exposures_are_left_out_and_listed():
    events = [*ALL[:5], ("primary", 5, float("nan")), ("primary", 6, None), *ALL[7:]]
    m = Measurement.from_documents(run_documents(events))
    assert m.source["left_out"] == [5, 6]
    assert len(m) == 14


def test_an_open_exposure_stands_in_for_pattern_0():
    np.testing.assert_allclose(coefficients([("open", -1, bucket(0)), *ALL[1:]]), expected(10 / 16), atol=1e-12)


def test_without_any_open_exposure_it_says_so():
    with pytest.raises(CxgiError, match="all-open bucket"):
        coefficients(ALL[1:])


def test_runs_that_are_no_mask_scan():
    with pytest.raises(CxgiError, match="count-run is no mask scan"):
        Exposures()("start", {"uid": "count-run"})
    with pytest.raises(CxgiError, match="schema 7"):
        Exposures()("start", {"uid": "a", "cxgi": {"schema": 7, "pattern_set": {}}})
    with pytest.raises(CxgiError, match="no start document"):
        Exposures().buckets()


def test_other_streams_are_ignored():
    np.testing.assert_allclose(coefficients([*ALL, ("baseline", 3, 77.0)]), expected(10 / 16), atol=1e-12)


def test_a_snapshot_does_not_change():
    documents = list(run_documents(ALL))
    exposures = Exposures.from_documents(documents[:10])
    copy, before = exposures.snapshot(), len(exposures)
    for name, document in documents[10:]:
        exposures(name, document)
    assert len(copy) == before < len(exposures)


def test_without_sigma_the_open_exposures_tell_it():
    rng = np.random.default_rng(0)
    opens = [("open", -1, bucket(0) + 0.02 * rng.normal(), None) for _ in range(400)]
    m = Measurement.from_documents(run_documents([*[(*e, None) for e in ALL], *opens]))
    assert m.sigma_origin == "estimated: open tile"
    np.testing.assert_allclose(m.sigma[1:], 2 * 0.02 / (1 - T0), rtol=0.1)


def test_without_sigma_and_open_exposures_the_coefficients_tell_it():
    m = Measurement.from_documents(run_documents([(*e, None) for e in ALL]))
    assert m.sigma_origin == "estimated: high sequency"


def test_a_single_missing_sigma_loses_no_exposure():
    events = [*ALL[:4], ("primary", 4, bucket(4), None), *ALL[5:]]
    m = Measurement.from_documents(run_documents(events))
    assert len(m) == 16
    np.testing.assert_allclose(m.coefficient_grid().ravel(), expected(10 / 16), atol=1e-12)
