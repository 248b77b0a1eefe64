"""A run that was stored before the block of its start document was typed gives the same numbers as then."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement

DATA = Path(__file__).parents[1] / "data"
NAME = "run-before-the-typed-metadata"


@pytest.fixture(scope="module")
def exposures():
    with gzip.open(DATA / f"{NAME}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return Exposures.from_documents(map(json.loads, lines))


def test_its_measurement_is_the_same(exposures):
    then, now = json.loads((DATA / f"{NAME}.json").read_text()), Measurement.from_exposures(exposures)
    assert now.scale == then["scale"]
    assert now.sigma_common == pytest.approx(then["sigma_common"], rel=1e-12)
    for name in ("pattern_index", "coefficient", "sigma"):
        np.testing.assert_allclose(getattr(now, name), then[name], rtol=1e-12)
    np.testing.assert_allclose(now.validation.value, then["validation"], rtol=1e-12)


def test_its_metadata_are_written_as_they_were(exposures):
    assert exposures.metadata.to_dict() == exposures.start["cxgi"]
    assert exposures.figures["openings"] == 33
