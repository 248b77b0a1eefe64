"""The methods of reconstruction: what each one runs, needs and can tell. Their names stand here alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import check_choice
from ..measurement.measurement import Measurement
from .methods import linear, measured_masks
from .methods.tv import tv, tv_uncertainty
from .methods.tval3 import tval3

Result = tuple[NDArray[Any], dict[str, Any]]
Options = dict[str, Any]
Kind = Literal["noise", "error"]


def _no_warm_up(options: Options) -> None:
    """Nothing is to be read or compiled."""


def _no_uncertainty(options: Options) -> Kind | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way from a measurement to an image.

    Attributes
    ----------
    name : str
    run : callable
        Takes a `Measurement` and options; returns the image, shape (n, n), and the parameters.
    run_with_masks : callable
        The same for a measurement whose masks were measured.
    run_many : callable, optional
        Takes many measurements at once, with the same options.
    warm_up : callable
        Takes the options; reads weights and compiles loops, which is no part of the time reported.
    uncertainty : callable, optional
        Takes a measurement, the kind, a seed and the options; one standard deviation of each pixel.
    kinds : tuple of {"noise", "error"}
        Kinds of uncertainty that it knows.
    best_kind : callable
        Takes the options; the kind to be shown, None if there is none.
    is_covariance : bool
        Its image is a covariance, never a transmission.
    predicts_unmeasured : bool
        Its image says something of patterns that were not measured.
    """

    name: str
    run: Callable[..., Result]
    run_with_masks: Callable[..., Result]
    run_many: Callable[..., list[Result]] | None = None
    warm_up: Callable[[Options], None] = _no_warm_up
    uncertainty: Callable[[Measurement, Kind, int, Options], NDArray[np.float64]] | None = None
    kinds: tuple[Kind, ...] = ()
    best_kind: Callable[[Options], Kind | None] = _no_uncertainty
    is_covariance: bool = False
    predicts_unmeasured: bool = True


# ---------------------------------------------------------------- linear methods


INVERSE = Method(
    name="inverse",
    run=linear.inverse,
    run_with_masks=measured_masks.least_squares,
    uncertainty=lambda measurement, kind, seed, options: linear.inverse_noise(measurement),
    kinds=("noise",),
    best_kind=lambda options: "noise",
    predicts_unmeasured=False,
)
CORRELATION = Method(
    name="correlation",
    run=linear.correlation,
    run_with_masks=measured_masks.mask_correlation,
    uncertainty=lambda measurement, kind, seed, options: linear.correlation_noise(
        measurement, weighting=options.get("weighting", "equal"), form=options.get("form", "GI")
    ),
    kinds=("noise",),
    best_kind=lambda options: "noise",
    is_covariance=True,
    predicts_unmeasured=False,
)


# ---------------------------------------------------------------- TVAL3


def _tval3_with_masks(measurement: Measurement, **options: Any) -> Result:
    return tval3(measured_masks.without_mask_error(measurement), **options)


def _compile_tval3(options: Options) -> None:
    from .solvers.kernels import compile_augmented_lagrangian

    compile_augmented_lagrangian()


TVAL3 = Method(name="tval3", run=tval3, run_with_masks=_tval3_with_masks, warm_up=_compile_tval3)


# ---------------------------------------------------------------- total variation


def _compile_tv(options: Options) -> None:
    from .solvers.kernels import compile_primal_dual

    compile_primal_dual()


def _tv_uncertainty(measurement: Measurement, kind: Kind, seed: int, options: Options) -> NDArray[np.float64]:
    known = {name: options[name] for name in ("weight", "norm", "nonnegative") if name in options}
    return tv_uncertainty(measurement, of_error=kind == "error", seed=seed, **known)


TV = Method(
    name="tv",
    run=tv,
    run_with_masks=measured_masks.mask_tv,
    warm_up=_compile_tv,
    uncertainty=_tv_uncertainty,
    kinds=("noise", "error"),
    best_kind=lambda options: "error",
)


# ---------------------------------------------------------------- CH-MWCNN: torch is imported when it runs


def _network(measurement: Measurement, **options: Any) -> Result:
    from .ch_mwcnn.predict import ch_mwcnn

    return ch_mwcnn(measurement, **options)


def _network_of_many(measurements: Any, **options: Any) -> list[Result]:
    from .ch_mwcnn.predict import ch_mwcnn_many

    return ch_mwcnn_many(measurements, **options)


def _read_network(options: Options) -> None:
    from .ch_mwcnn.weights import load_network

    load_network(options.get("weights"))
    _compile_tv(options)


def _network_uncertainty(measurement: Measurement, kind: Kind, seed: int, options: Options) -> NDArray[np.float64]:
    from .ch_mwcnn.predict import ch_mwcnn_sigma

    return ch_mwcnn_sigma(measurement, weights=options.get("weights"))


def _kind_of_network(options: Options) -> Kind | None:
    from .ch_mwcnn.weights import load_network

    return "error" if load_network(options.get("weights")).has_sigma else None


CH_MWCNN = Method(
    name="ch-mwcnn",
    run=_network,
    run_with_masks=measured_masks.mask_network,
    run_many=_network_of_many,
    warm_up=_read_network,
    uncertainty=_network_uncertainty,
    kinds=("error",),
    best_kind=_kind_of_network,
)


# ---------------------------------------------------------------- all of them

METHODS: dict[str, Method] = {method.name: method for method in (INVERSE, CORRELATION, TVAL3, TV, CH_MWCNN)}


def find_method(name: str) -> Method:
    """The method of a name.

    Raises
    ------
    CxgiError
        If there is none.
    """
    check_choice("method", name, METHODS)
    return METHODS[name]


def default_live_method(size: int) -> str:
    """Name of the method by whose images a scan is steered: the network, "tv" for a size that it does not know.

    Parameters
    ----------
    size : int
        Pixels per side n.
    """
    from .ch_mwcnn.weights import load_network

    return CH_MWCNN.name if size in load_network(None).card["known"]["sizes"] else TV.name


def default_method(basis: str) -> str:
    """Name of the method that is used where none is given; `basis` is that of the patterns."""
    return CORRELATION.name if basis == "speckle" else TV.name
