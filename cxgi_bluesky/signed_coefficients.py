"""The value under `Measurement`: signed Hadamard coefficients with their sigma, and the views of them.

How they are made of buckets, runs and files is told in `measurement`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import CxgiError
from .masks.pattern_set import PatternSet, checked_index, coefficients
from .masks.tile_maps import TileMaps
from .masks.transform import check_size
from .reduction import HIGH_SEQUENCY, Array, Coefficients, Scale, check_finite, estimate_sigma


@dataclass(frozen=True, eq=False)
class SignedCoefficients:
    """Signed Hadamard coefficients of one image; `Measurement` adds where they come from.

    Attributes
    ----------
    size : int
        Pixels per side n.
    pattern_index : ndarray of int, shape (M,)
        Which patterns were measured, in the order of measurement, each once; k = 0 among them.
    coefficient : ndarray, shape (M,)
        s_k = sum over pixels of H_k * image.
    sigma : ndarray, shape (M,)
        One standard deviation of each coefficient, without `sigma_common`.
    sigma_common : float
        The share of sigma that all k > 0 have in common because the all-open bucket b_0 is
        subtracted from each (binary coding). In the image its error is a spot at pixel (0, 0), as
        sharp as the measured patterns allow.
    sigma_origin : str
        Where sigma came from; begins with "estimated" when the data did not bring it.
    scale : {"transmission", "relative"}
        Whether the image is a transmission or only proportional to one.
    validation : Coefficients, optional
        Patterns that were measured to judge pictures by, none of them in `pattern_index`.
    pattern_error : float, optional
        Rms error of the +-1 patterns' mean over the field, as a reference scan has seen it before its correction.
    masks : ndarray, shape (M, n, n), optional
        The signed masks W_k as they are, where maps of the tiles were recorded: s_k = sum_xy W_k * image.
    mirrored : bool
        Whether the plate was mounted back to front. The coefficients, and `masks`, are then of the object turned over
        along x, as the etched side sees it, and `reconstruct` turns its pictures back (`seen_by_beam`).
    source : dict
        Where the measurement came from (file, run uids, coding, what was left out).
    """

    size: int
    pattern_index: NDArray[np.int64]
    coefficient: Array
    sigma: Array
    sigma_common: float = 0.0
    sigma_origin: str = "given"
    scale: Scale = "relative"
    validation: Coefficients | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    pattern_error: float | None = None
    masks: NDArray[np.float32] | None = None
    mirrored: bool = False

    def __post_init__(self) -> None:
        check_size(self.size)
        index = checked_index(self.pattern_index, self.size)
        if 0 not in index:
            raise CxgiError("pattern_index 0 (all open) was not measured: no image has a mean without it")
        for name in ("coefficient", "sigma"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != index.shape:
                raise CxgiError(f"{name} has shape {values.shape}, pattern_index {index.shape}: give one per pattern")
            check_finite(values, index, name)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        index.setflags(write=False)
        object.__setattr__(self, "pattern_index", index)
        if self.masks is not None and self.masks.shape != (len(index), self.size, self.size):
            raise CxgiError(f"masks have shape {self.masks.shape}, not {(len(index), self.size, self.size)}")

    def __len__(self) -> int:
        return len(self.pattern_index)

    @property
    def fraction(self) -> float:
        """Sampling fraction M / N."""
        return len(self) / self.size**2

    @property
    def d_r(self) -> float:
        """Modulation depth ratio of the masks, 1 where nothing was said."""
        return float(self.source.get("d_r", 1.0))

    @property
    def sigma_is_guessed(self) -> bool:
        """Whether sigma was made from the coefficients themselves, as nothing else told it."""
        return self.sigma_origin == HIGH_SEQUENCY

    # ------------------------------------------------------------ views

    def seen_by_beam(self, image: NDArray[Any]) -> NDArray[Any]:
        """An image (..., n, n) from the plate's view into the beam's, or back: turned over along x if mirrored."""
        return image[..., ::-1] if self.mirrored else image

    def _on_grid(self, values: ArrayLike, fill: float) -> Array:
        grid = np.full(self.size**2, fill)
        grid[self.pattern_index] = values
        return grid.reshape(self.size, self.size)

    def coefficient_grid(self) -> Array:
        """Coefficients at their places (i, j), k = i * n + j; 0 where not measured; shape (n, n)."""
        return self._on_grid(self.coefficient, 0.0)

    def measured_grid(self) -> NDArray[np.bool_]:
        """True where a coefficient was measured, shape (n, n)."""
        return self._on_grid(1.0, 0.0) > 0

    def sigma_grid(self) -> Array:
        """Sigma at each place, infinite where not measured, shape (n, n)."""
        return self._on_grid(self.sigma, math.inf)

    def subset(self, pattern_set: PatternSet) -> Self:
        """Only the patterns of a set, in its order.

        Raises
        ------
        CxgiError
            If the size differs or a pattern of the set was not measured.
        """
        if pattern_set.size != self.size:
            raise CxgiError(f"pattern set of size {pattern_set.size} for a measurement of size {self.size}")
        row = np.full(self.size**2, -1)
        row[self.pattern_index] = np.arange(len(self))
        rows = row[pattern_set.pattern_index]
        if (rows < 0).any():
            missing = pattern_set.pattern_index[rows < 0]
            raise CxgiError(
                f"too few patterns: {pattern_set.count} of order {pattern_set.order} asked for, {len(missing)} of them "
                f"not measured (first: pattern_index {missing[0]}): ask for a smaller fraction or another order"
            )
        return self.rows(rows)

    def first(self, count: int) -> Self:
        """What had been measured after the first `count` patterns (k = 0 is always kept)."""
        rows = np.arange(len(self))
        return self.rows(rows[(rows < count) | (self.pattern_index == 0)])

    def rows(self, rows: NDArray[np.int64]) -> Self:
        """Some of the patterns, by their place here; a sigma estimated from all is estimated anew."""
        part = self.kept(rows)
        if not self.sigma_is_guessed:
            return part
        sigma, origin = estimate_sigma(part.pattern_index, part.coefficient, part.size)
        return replace(part, sigma=sigma, sigma_origin=origin)

    def kept(self, rows: NDArray[np.int64]) -> Self:
        """Some of the patterns, by their place here, their sigma as it is."""
        return replace(
            self,
            pattern_index=self.pattern_index[rows],
            coefficient=self.coefficient[rows],
            sigma=self.sigma[rows],
            masks=None if self.masks is None else self.masks[rows],
        )

    def with_tile_maps(self, maps: TileMaps) -> Self:
        """The same with its masks as they are (`TileMaps.signed`): every picture then predicts the buckets with them.

        Raises
        ------
        CxgiError
            If the maps are of another size or lack a pattern, or the measurement is not of binary coding.
        """
        if maps.size != self.size:
            raise CxgiError(f"tile maps of size {maps.size} for a measurement of size {self.size}")
        if self.source.get("coding") != "binary":
            raise CxgiError(f"tile maps for coding {self.source.get('coding')!r}: only binary buckets are of one mask")
        masks = self.seen_by_beam(maps.signed(self.pattern_index, self.d_r))  # maps are as the beam sees the tiles
        return replace(self, masks=masks, source={**self.source, "tile_maps_sha256": maps.sha256})

    def predicted(self, image: ArrayLike) -> Array:
        """Coefficients that an image would give, with the masks as they are where they are known; shape (M,).

        Of a mirrored measurement, the image as the plate sees it (`seen_by_beam`).
        """
        if self.masks is None:
            return coefficients(image, self.pattern_index)
        flat = np.asarray(image, dtype=np.float32).ravel()
        return (self.masks.reshape(len(self), -1) @ flat).astype(np.float64)
