"""What is compared: every method as it comes, and variants worth a row of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import ORDERS
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.registry import METHODS
from cxgi_bluesky.reconstruction.result import Reconstruction

BASELINE = "inverse"  # the zero-filled inverse of the same coefficients


@dataclass(frozen=True)
class Spec:
    """A row of the tables: a name, a method of `reconstruct` and its options."""

    name: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, measurement: Measurement) -> Reconstruction:
        """Reconstruct with these options."""
        return reconstruct(measurement, method=self.method, **self.options)


# A method with other options than its own defaults: add a line, and it is in every table.
VARIANTS: tuple[Spec, ...] = (
    Spec("dgi", "correlation", {"form": "DGI"}),
    Spec("ngi", "correlation", {"form": "NGI"}),
    Spec("tv-isotropic", "tv", {"norm": "isotropic"}),
    Spec("tv-anisotropic", "tv", {"norm": "anisotropic"}),
)


def all_specs() -> tuple[Spec, ...]:
    """One spec a method, the baseline first, then the variants."""
    names = sorted(METHODS, key=lambda name: name != BASELINE)
    return (*(Spec(name, name) for name in names), *VARIANTS)


def chosen_specs(names: Sequence[str] | None = None, weights: str | None = None) -> tuple[Spec, ...]:
    """The specs of these names, the baseline always first; None means all.

    Parameters
    ----------
    names : sequence of str, optional
    weights : str, optional
        File of the network's weights; by default the shipped ones.

    Raises
    ------
    CxgiError
        For an unknown name.
    """
    known = {spec.name: spec for spec in all_specs()}
    for name in names or ():
        if name not in known:
            raise CxgiError(f"method {name!r} is unknown to the benchmark: choose from {', '.join(known)}")
    wanted = known if names is None else dict.fromkeys((BASELINE, *names))
    return tuple(_with_weights(known[name], weights) for name in wanted)


def _with_weights(spec: Spec, weights: str | None) -> Spec:
    if weights is None or spec.method != "ch-mwcnn":
        return spec
    return replace(spec, options={**spec.options, "weights": weights})


def chosen_orders(names: Sequence[str] | None = None) -> tuple[str, ...]:
    """These orders, each once; None means all.

    Raises
    ------
    CxgiError
        For an unknown order.
    """
    for name in names or ():
        if name not in ORDERS:
            raise CxgiError(f"order {name!r} is unknown: choose from {', '.join(ORDERS)}")
    return tuple(ORDERS if names is None else dict.fromkeys(names))
