"""The plate is found over Channel Access by the plan of the soft devices."""

from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.board import Alignment
from tests.plans.test_align import fiducial_board, turned, worst_um

from .children import in_child


class Found:
    """What `worst_um` needs of a fit."""

    def __init__(self, board, alignment):
        from dataclasses import replace

        self.board, self.aligned_board = board, replace(board, alignment=alignment)


@pytest.mark.long
def test_a_plate_is_found_and_then_makes_the_right_picture(own_ioc, beamline_file, tmp_path):
    board = fiducial_board()
    board.to_yaml(tmp_path / "small.yaml")
    lies = turned(board, 0.3, -0.4, 0.6, 1.004, mirrored="in place")
    words = f"{lies.x0_mm},{lies.y0_mm},{lies.rotation_deg},{lies.scale},mirrored"
    ioc = own_ioc("--board", str(tmp_path / "small.yaml"), "--object", "gold", f"--true-alignment={words}")
    told = in_child("aligned", ioc, beamline_file(ioc.prefix, board="small.yaml", stage__in_position_um=2.5))
    found = Alignment(**told["alignment"])
    assert found.mirrored
    assert worst_um(Found(board, found), lies) < board.pixel_um / 4
    assert told["exposures"] == 2 + 27 + 5 * 20
    assert told["object"] == "in"
    truth = simulated_beamline(board, "gold").simulation.truth
    assert np.corrcoef(np.ravel(told["image"]), truth.ravel())[0, 1] > 0.95
    counted = ioc.end()
    assert counted["shutter"] == "Closed"
    assert counted["openings"] == 27 + 5 * 20 + 67
