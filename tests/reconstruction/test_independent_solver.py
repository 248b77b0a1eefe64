"""TV/L2 and TVAL3 against pyproximal's primal-dual solver, which shares no line of code with ours."""

from __future__ import annotations

import numpy as np
import pylops
import pyproximal
import pytest

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import hadamard_matrix
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.conftest import signed_measurement, smooth_image

SIZE = 16
OBJECT = np.clip(smooth_image(SIZE) - 0.3, 0, None)  # much of it is 0: the sign constraint matters


@pytest.fixture(scope="module")
def measurement():
    return signed_measurement(OBJECT, PatternSet.from_fraction(SIZE, 0.3), sigma=0.3)


def sensing(measurement):
    """Orthonormal rows of the Hadamard matrix, and the coefficients that belong to them."""
    matrix = hadamard_matrix(SIZE * SIZE)[measurement.pattern_index] / SIZE
    return pylops.MatrixMult(matrix.astype(np.float64)), measurement.coefficient / SIZE


def solved(data_term, weight, norm, nonnegative, iterations):
    """min data_term(x) + weight * TV(x) (for x >= 0) by Chambolle and Pock."""
    down, along = (pylops.FirstDerivative((SIZE, SIZE), axis=a, kind="forward", edge=False) for a in (0, 1))
    if norm == "isotropic":
        operators, terms = [pylops.VStack([down, along])], [pyproximal.L21(ndim=2, sigma=weight)]
    else:
        operators, terms = [pylops.VStack([down, along])], [pyproximal.L1(sigma=weight)]
    if nonnegative:
        operators.append(pylops.Identity(SIZE * SIZE))
        terms.append(pyproximal.Box(lower=0))
    stacked = pylops.VStack(operators)
    g = pyproximal.VStack(terms, nn=[op.shape[0] for op in operators]) if len(terms) > 1 else terms[0]
    tau = 0.3
    image = pyproximal.optimization.primaldual.PrimalDual(
        data_term, g, stacked, x0=np.zeros(SIZE * SIZE), tau=tau, mu=1 / (9.01 * tau), niter=iterations
    )
    return image.reshape(SIZE, SIZE)


def relative(image, expected):
    return np.linalg.norm(image - expected) / np.linalg.norm(expected - expected.mean())


def variation(image, norm):
    down, along = np.zeros_like(image), np.zeros_like(image)
    down[:-1], along[:, :-1] = np.diff(image, axis=0), np.diff(image, axis=1)
    return np.sum(np.hypot(down, along) if norm == "isotropic" else np.abs(down) + np.abs(along))


@pytest.mark.parametrize(("norm", "nonnegative"), [("isotropic", True), ("isotropic", False), ("anisotropic", True)])
def test_tv(measurement, norm, nonnegative):
    operator, coefficient = sensing(measurement)
    weight = 0.005
    expected = solved(
        pyproximal.L2(Op=operator, b=coefficient, densesolver="factorize"), weight, norm, nonnegative, 1000
    )
    ours = reconstruct(
        measurement,
        method="tv",
        weight=weight,
        norm=norm,
        nonnegative=nonnegative,
        iterations=5000,
        tolerance=1e-7,
    ).image.astype(float)
    values = [
        0.5 * np.sum((operator @ x.ravel() - coefficient) ** 2) + weight * variation(x, norm) for x in (ours, expected)
    ]
    assert (ours.min() > -1e-4) == nonnegative
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    if norm == "isotropic":  # the anisotropic norm has many minima of the same value
        assert relative(ours, expected) < 1e-3


@pytest.mark.parametrize("norm", ["isotropic", "anisotropic"])
def test_tval3(norm):
    measurement = signed_measurement(OBJECT, PatternSet.from_fraction(SIZE, 0.3))
    operator, coefficient = sensing(measurement)
    expected = solved(pyproximal.AffineSet(operator, coefficient, niter=1), 0.1, norm, True, 3000)
    result = reconstruct(measurement, method="tval3", norm=norm, iterations=6000, tolerance=1e-8)
    ours = result.image.astype(float)
    np.testing.assert_allclose(operator @ ours.ravel(), coefficient, atol=1e-3)
    assert variation(ours, norm) == pytest.approx(variation(expected, norm), rel=1e-3)
    if norm == "isotropic":
        assert relative(ours, expected) < 1e-3
