"""A plate mounted back to front: its masks are seen turned over, its images are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.board import Alignment
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, SimulationParameters
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.scans import record_tile_maps, scan_simulation
from tests.conftest import QUIET, small_board, small_scan


def simulation_of(*, mirrored, size=8, parameters=QUIET):
    board = small_board(size, alignment=Alignment(mirrored=mirrored))
    return BeamlineSimulation(board, render_object("gold", size, parameters.subpixels), parameters, seed=4)


def picture(simulation, method, *, maps=False, **options):
    measurement = scan_simulation(simulation, PatternSet(8, 48))
    if maps:
        measurement = measurement.with_tile_maps(record_tile_maps(simulation, PatternSet(8, 64)))
    return reconstruct(measurement, method=method, **options).image


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("method", ["inverse", "correlation", "tv"])
def test_the_picture_of_a_mirrored_plate_is_not_mirrored(method, maps):
    """Not the same to the last bit: other patterns are the ones left out on either side of the object."""
    simulation = simulation_of(mirrored=True)
    image = picture(simulation, method, maps=maps)
    likeness = [
        np.corrcoef(image.ravel(), truth.ravel())[0, 1] for truth in (simulation.truth, simulation.truth[:, ::-1])
    ]
    assert likeness[0] > 0.85
    assert likeness[0] > likeness[1] + 0.2


def test_all_patterns_give_the_truth_itself():
    for mirrored in (False, True):
        simulation = simulation_of(mirrored=mirrored)
        image = reconstruct(scan_simulation(simulation, PatternSet(8, 64)), method="inverse").image
        expected = simulation.truth * 15 / simulation.truth.size  # pA, as the scale is relative
        np.testing.assert_allclose(image, expected, atol=1e-4 * expected.max())


def test_a_run_says_that_its_plate_is_mirrored(RE, documents):
    for mirrored in (False, True):
        documents.clear()
        line = simulated_beamline(small_board(alignment=Alignment(mirrored=mirrored)), "gold", parameters=QUIET)
        RE(small_scan(line, object_stage=line.object_stage))
        (start,) = documents.of("start")
        assert start["cxgi"]["board"].get("mirrored", False) == mirrored
        measurement = Measurement.from_exposures(Exposures.from_documents(documents))
        assert measurement.mirrored == mirrored
        image = reconstruct(measurement, method="inverse").image
        np.testing.assert_allclose(image, line.simulation.truth, atol=2e-3)


def test_what_is_judged_and_uncertain_is_turned_back_too():
    """A mirrored plate that measures the object turned over is a plain plate that measures the object."""
    plain = scan_simulation(
        simulation_of(mirrored=False, size=16, parameters=SimulationParameters()), PatternSet(16, 192)
    )
    mirrored = replace(plain, mirrored=True)
    one, other = (reconstruct_and_check(m, method="tv", details=True) for m in (plain, mirrored))
    np.testing.assert_array_equal(other.image, one.image[:, ::-1])
    np.testing.assert_array_equal(other.uncertainty, one.uncertainty[:, ::-1])
    assert other.quality["held_out"] == one.quality["held_out"]
    assert other.quality["data_misfit"] == one.quality["data_misfit"]
    assert other.quality["unmeasured_share"] == pytest.approx(one.quality["unmeasured_share"], rel=1e-4)
    np.testing.assert_allclose(other.unmeasured, one.unmeasured[:, ::-1], atol=1e-12)
