from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxgi_bluesky.analysis.board_alignment.fit import EdgeFit, Visit, fit_alignment
from cxgi_bluesky.analysis.board_alignment.run import write_aligned_board
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment
from tests.plans.test_align import fiducial_board

BOARD = fiducial_board()


def visits_of(board, lies, *, noise_um=0.0, sigma_um=1.0, seed=0, spoiled_um=0.0):
    """Edge fits of all fiducials of a board that lies so."""
    rng, really = np.random.default_rng(seed), replace(board, alignment=lies)
    visits = []
    for landmark in range(len(board.fiducials)):
        x, y = 1000 * np.array(really.place_mm(board.fiducials[landmark])) + noise_um * rng.normal(size=2)
        x += spoiled_um * (landmark == 1)
        visits.append(Visit(landmark, *(EdgeFit(float(c), sigma_um, 160.0, float("nan"), 10) for c in (x, y))))
    return visits


@settings(max_examples=50, deadline=None)
@given(
    x0=st.floats(-100, 100),
    y0=st.floats(-100, 100),
    rotation=st.floats(-179, 179),
    scale=st.floats(0.9, 1.1),
    mirrored=st.booleans(),
)
def test_any_alignment_is_found_from_exact_centres(x0, y0, rotation, scale, mirrored):
    lies = Alignment(x0, y0, rotation, scale, mirrored)
    fit = fit_alignment(BOARD, visits_of(BOARD, lies))
    for name, value in vars(lies).items():
        if name != "matrix":
            assert getattr(fit.alignment, name) == pytest.approx(value, abs=1e-7)
    assert np.abs(fit.residual_um).max() < 1e-3


def test_the_uncertainties_are_those_of_repeats():
    """Pulls of all numbers, and of the worst tile, have an rms of about 1."""
    lies = Alignment(1.0, -2.0, 0.5, 1.002, True)
    fits = [fit_alignment(BOARD, visits_of(BOARD, lies, noise_um=1.0, seed=seed)) for seed in range(200)]
    # Sigmas are enlarged where few centres happen to scatter more: compared with those that were not.
    plain = [fit for fit in fits if fit.noise_factor == 1]
    told = plain[0]
    pulls = {
        "x0_mm": told.x0_sigma_um / 1000,
        "y0_mm": told.y0_sigma_um / 1000,
        "rotation_deg": told.rotation_sigma_deg,
        "scale": told.scale_sigma,
    }
    for name, sigma in pulls.items():
        errors = np.array([getattr(fit.alignment, name) - getattr(lies, name) for fit in fits])
        assert np.sqrt(np.mean(errors**2)) / sigma == pytest.approx(1, abs=0.15), name


def test_centres_that_scatter_more_than_their_noise_enlarge_the_uncertainties():
    lies = Alignment(1.0, -2.0, 0.5)
    fit = fit_alignment(BOARD, visits_of(BOARD, lies, noise_um=5.0, sigma_um=1.0, seed=1))
    assert fit.noise_factor > 2


def test_a_centre_that_fits_no_plate_is_an_error():
    with pytest.raises(CxgiError, match="um from any alignment of board 'test8': is this the board"):
        fit_alignment(BOARD, visits_of(BOARD, Alignment(), spoiled_um=100.0))


# ---------------------------------------------------------------- the new file


def test_the_old_file_is_kept_and_the_new_one_says_where_it_came_from(tmp_path):
    lies = Alignment(1.0, -2.0, 0.5, 1.001, True)
    fit = fit_alignment(BOARD, visits_of(BOARD, lies), uid="abc")
    path = write_aligned_board(BOARD, fit, tmp_path / "new.yaml")
    assert path.read_text().startswith("# Alignment found by align_board, run abc.\n# tile 0 at x 1.0000, y -2.0000 mm")
    again = type(BOARD).from_yaml(path)
    assert again == fit.aligned_board == replace(BOARD, alignment=fit.alignment)
    before = path.read_bytes()
    with pytest.raises(CxgiError, match=r"new\.yaml exists"):
        write_aligned_board(BOARD, fit, path)
    assert path.read_bytes() == before


def test_files_that_cannot_be_written_are_named(tmp_path):
    fit = fit_alignment(BOARD, visits_of(BOARD, Alignment()))
    with pytest.raises(CxgiError, match="cannot be written"):
        write_aligned_board(BOARD, fit, tmp_path / "nowhere" / "new.yaml")
    with pytest.raises(CxgiError, match=r"call it \.yaml"):
        write_aligned_board(BOARD, fit, tmp_path / "new.json")
    with pytest.raises(CxgiError, match="as another file says it"):
        write_aligned_board(fiducial_board(d_r=0.5), fit, tmp_path / "new.yaml")
