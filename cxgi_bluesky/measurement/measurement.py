"""Measurement: the one small value from which every image is made, wherever it came from.

It holds signed coefficients s_k = sum_xy H_k * image with their sigma. The three codings
(binary, signed, complementary) are reduced to it here, whether the buckets come from the
documents of a run (live, from the catalog, from a journal), or from a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import MeasurementError, check_choice
from ..masks.pattern_set import PatternSet, check_index, coefficients
from ..masks.tile_maps import TileMaps
from ..masks.transform import check_size
from .bucket_files.csv_file import read_csv
from .bucket_files.read_write import read_buckets
from .bucket_files.table import BucketTable, naming
from .coefficients import (
    HIGH_SEQUENCY,
    Array,
    Coding,
    Coefficients,
    Scale,
    check_column,
    check_finite,
    check_t0,
    estimate_sigma,
    reduce_binary,
    reduce_complementary,
    scale_factor,
)
from .exposures import Exposures
from .normalization import describe_source
from .reference import calibrated_buckets, with_incident, with_reference

if TYPE_CHECKING:
    from .schema import BoardMetadata
    from .validation import ValidationDraws


@dataclass(frozen=True, eq=False)
class Measurement:
    """Signed Hadamard coefficients of one image, and how they are made.

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
        Patterns that were measured to validate images, none of them in `pattern_index`.
    draws : ValidationDraws, optional
        How the validation patterns were drawn, where that is known: from it follows how good an image is.
    pattern_error : float, optional
        Rms error of the +-1 patterns' mean over the field, as a reference scan has seen it before its correction.
    masks : ndarray, shape (M, n, n), optional
        The signed masks W_k as they are, where maps of the tiles were recorded: s_k = sum_xy W_k * image.
    mirrored : bool
        Whether the board was mounted back to front. The coefficients, and `masks`, are then of the object turned over
        along x, as the etched side sees it, and `reconstruct` turns its images back (`to_beam_view`).
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
    draws: ValidationDraws | None = None

    def __post_init__(self) -> None:
        check_size(self.size)
        index = check_index(self.pattern_index, self.size)
        if 0 not in index:
            raise MeasurementError("pattern_index 0 (all open) was not measured: no image has a mean without it")
        for name in ("coefficient", "sigma"):
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != index.shape:
                raise MeasurementError(
                    f"{name} has shape {values.shape}, pattern_index {index.shape}: give one per pattern"
                )
            check_finite(values, index, name)
            values.setflags(write=False)
            object.__setattr__(self, name, values)
        index.setflags(write=False)
        object.__setattr__(self, "pattern_index", index)
        if self.masks is not None and self.masks.shape != (len(index), self.size, self.size):
            raise MeasurementError(f"masks have shape {self.masks.shape}, not {(len(index), self.size, self.size)}")

    def __len__(self) -> int:
        return len(self.pattern_index)

    def __repr__(self) -> str:
        sigma = f"sigma {np.median(self.sigma):.3g} ({self.sigma_origin})"
        return (
            f"Measurement({len(self)} of {self.size**2} patterns ({self.fraction:.1%}) of {self.size} x {self.size}, "
            f"scale {self.scale}, {sigma}{describe_source(self.source)})"
        )

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
        """Whether sigma was made from the coefficients themselves, without any other source."""
        return self.sigma_origin == HIGH_SEQUENCY

    # ------------------------------------------------------------ views

    def to_beam_view(self, image: NDArray[Any]) -> NDArray[Any]:
        """Turn an image (..., n, n) from the board's view to the beam's, or back: over along x if mirrored."""
        return image[..., ::-1] if self.mirrored else image

    def _on_grid(self, values: ArrayLike, fill: float) -> Array:
        grid = np.full(self.size**2, fill)
        grid[self.pattern_index] = values
        return grid.reshape(self.size, self.size)

    def coefficient_grid(self) -> Array:
        """Coefficients at their indices (i, j), k = i * n + j; 0 where not measured; shape (n, n)."""
        return self._on_grid(self.coefficient, 0.0)

    def sampling_grid(self) -> NDArray[np.bool_]:
        """Grid that is True where a coefficient was measured, shape (n, n)."""
        return self._on_grid(1.0, 0.0) > 0

    def sigma_grid(self) -> Array:
        """Sigma at each index (i, j), infinite where not measured, shape (n, n)."""
        return self._on_grid(self.sigma, math.inf)

    def subset(self, pattern_set: PatternSet) -> Self:
        """Only the patterns of a set, in its order.

        Raises
        ------
        CxgiError
            If the size differs or a pattern of the set was not measured.
        """
        if pattern_set.size != self.size:
            raise MeasurementError(f"pattern set of size {pattern_set.size} for a measurement of size {self.size}")
        row = np.full(self.size**2, -1)
        row[self.pattern_index] = np.arange(len(self))
        rows = row[pattern_set.pattern_index]
        if (rows < 0).any():
            missing = pattern_set.pattern_index[rows < 0]
            raise MeasurementError(
                f"too few patterns: {pattern_set.count} of order {pattern_set.order} asked for, {len(missing)} of them "
                f"not measured (first: pattern_index {missing[0]}): ask for a smaller fraction or another order"
            )
        return self.rows(rows)

    def first(self, count: int) -> Self:
        """What had been measured after the first `count` patterns (k = 0 is always kept)."""
        rows = np.arange(len(self))
        return self.rows(rows[(rows < count) | (self.pattern_index == 0)])

    def rows(self, rows: NDArray[np.int64]) -> Self:
        """Take some of the patterns, by their rows here; a sigma estimated from all is estimated anew."""
        part = self.take(rows)
        if not self.sigma_is_guessed:
            return part
        sigma, origin = estimate_sigma(part.pattern_index, part.coefficient, part.size)
        return replace(part, sigma=sigma, sigma_origin=origin)

    def take(self, rows: NDArray[np.int64]) -> Self:
        """Take some of the patterns, by their rows here, their sigma as it is."""
        return replace(
            self,
            pattern_index=self.pattern_index[rows],
            coefficient=self.coefficient[rows],
            sigma=self.sigma[rows],
            masks=None if self.masks is None else self.masks[rows],
        )

    def with_tile_maps(self, maps: TileMaps) -> Self:
        """The same with its masks as they are (`TileMaps.to_signed_masks`): every image then predicts the buckets.

        Raises
        ------
        CxgiError
            If the maps are of another size or lack a pattern, or the measurement is not of binary coding.
        """
        if maps.size != self.size:
            raise MeasurementError(f"tile maps of size {maps.size} for a measurement of size {self.size}")
        if self.source.get("coding") != "binary":
            raise MeasurementError(
                f"tile maps for coding {self.source.get('coding')!r}: only binary buckets are of one mask"
            )
        masks = self.to_beam_view(
            maps.to_signed_masks(self.pattern_index, self.d_r)
        )  # maps are as the beam sees the tiles
        return replace(self, masks=masks, source={**self.source, "tile_maps_sha256": maps.sha256})

    def predict(self, image: ArrayLike) -> Array:
        """Predict the coefficients of an image, with the masks as they are where they are known; shape (M,).

        Of a mirrored measurement, the image as the board sees it (`to_beam_view`).
        """
        if self.masks is None:
            return coefficients(image, self.pattern_index)
        flat = np.asarray(image, dtype=np.float32).ravel()
        return (self.masks.reshape(len(self), -1) @ flat).astype(np.float64)

    # ------------------------------------------------------------ where it comes from

    @classmethod
    def from_buckets(
        cls,
        size: int,
        pattern_index: ArrayLike,
        bucket: ArrayLike,
        *,
        coding: Coding,
        sigma: ArrayLike | None = None,
        sigma_origin: str = "given",
        bucket_complement: ArrayLike | None = None,
        d_r: float = 1.0,
        dark: float = 0.0,
        open_bucket: tuple[float, float] | None = None,
        incident: float | None = None,
        validation: ArrayLike = (),
        source: Mapping[str, Any] | None = None,
    ) -> Self:
        """Reduce buckets to signed coefficients (the numbers' contract of the architecture).

        Parameters
        ----------
        size : int
            Pixels per side n.
        pattern_index, bucket, sigma, bucket_complement : array_like, shape (M,)
            One row per pattern; `sigma` is one standard deviation of the stored number(s).
        sigma_origin : str
            Where `sigma` came from; without `sigma` it is estimated and marked so.
        coding : {"binary", "signed", "complementary"}
            binary: b_k = sum of the 0/1 mask times the image (or its mean);
            signed: b_k = sum of H_k times the image; complementary: a mask and its negative.
        d_r : float
            Modulation depth ratio of the masks, T0 = 1 - d_r.
        dark : float
            Detector signal without beam, in the unit of the buckets (binary only).
        open_bucket : (float, float), optional
            All-open bucket b_0 (dark subtracted) and its sigma from exposures of their own (binary only).
        incident : float, optional
            All-open bucket with the object out (dark subtracted): gives the scale "transmission".
        validation : array_like of int
            Those of the pattern indices that no image is to be made from.
        source : mapping, optional
            Where the buckets came from, for the record.

        Raises
        ------
        CxgiError
            For values that are not finite, unknown or repeated indices, or a missing k = 0.
        """
        index = check_index(pattern_index, size)
        buckets = check_column(bucket, index, "bucket")
        given = None if sigma is None else check_column(sigma, index, "sigma")
        if given is not None and (given < 0).any():
            raise MeasurementError(f"sigma {given[given < 0][0]} is negative: give standard deviations")
        t0 = check_t0(d_r)
        if coding == "signed":
            reduced = Coefficients(index, buckets, given)
        elif coding == "complementary":
            if bucket_complement is None:
                raise MeasurementError("coding 'complementary' needs a bucket_complement for each bucket")
            complement = check_column(bucket_complement, index, "bucket_complement")
            reduced = reduce_complementary(index, buckets, complement, given, t0)
        else:
            check_choice("coding", coding, get_args(Coding), kind=MeasurementError)
            reduced = reduce_binary(index, buckets - dark, given, t0, open_bucket)
        factor, scale = scale_factor(incident, size)
        kept, held_back = reduced.rescale(factor).split(validation)
        values, origin = kept.sigma, sigma_origin
        if values is None:
            values, origin = estimate_sigma(kept.index, kept.value, size)
        return cls(
            size,
            kept.index,
            kept.value,
            values,
            kept.sigma_common,
            origin,
            scale,
            held_back,
            {"coding": coding, "d_r": d_r, "dark": dark, **(source or {})},
        )

    @classmethod
    def from_exposures(
        cls,
        exposures: Exposures,
        *,
        reference: Exposures | None = None,
        dark: Exposures | None = None,
        tile_maps: TileMaps | None = None,
    ) -> Self:
        """What a run has measured so far.

        Parameters
        ----------
        exposures : Exposures
            Of the image.
        reference : Exposures, optional
            Of a reference scan: its correction is applied (`reference.with_reference`).
        dark : Exposures, optional
            Of a dark scan with the same detector, for runs without dark readings of their own.
        tile_maps : TileMaps, optional
            Measured masks of the board (`with_tile_maps`). They hold more than a reference scan, which then gives
            no more than the incident intensity.

        Raises
        ------
        CxgiError
            Before the first usable exposure, when there is no all-open exposure at all, for a reference of
            another board, pattern set or detector, or one that lacks patterns, or a dark scan without a reading.
        """
        if exposures.metadata.basis != "hadamard":
            raise MeasurementError(
                f"run {exposures.start['uid']} was measured with {exposures.metadata.basis} patterns: "
                "SpeckleMeasurement.from_exposures takes them together with the recorded patterns"
            )
        if tile_maps is not None:
            _check_board_of(tile_maps, exposures.board)
        correct = with_reference if tile_maps is None else with_incident
        b = calibrated_buckets(exposures, reference=reference, dark=dark, correct=correct)
        board, size = exposures.board, exposures.pattern_set.size
        d_r = 1.0 if board.d_r is None else board.d_r
        made = cls.from_buckets(
            size,
            b.pattern_index,
            b.bucket,
            coding="binary",
            sigma=b.sigma if b.has_sigma else None,
            sigma_origin=b.sigma_origin,
            d_r=d_r,
            open_bucket=b.open_bucket,
            incident=b.incident,
            validation=b.validation,
            source=b.source,
        )
        validated = set() if made.validation is None else set(made.validation.index.tolist())
        if reference is not None and tile_maps is None:  # the others keep the errors of their masks
            validated &= reference.valid_patterns()
        draws = exposures.draws_made(made.pattern_index.tolist(), validated)
        made = replace(made, mirrored=board.mirrored, draws=draws)
        if "mask_error" in b.source:  # of a mean of (1 + T0) / 2, for patterns of +- (1 - T0) / 2
            made = replace(made, pattern_error=b.source["mask_error"] * (2 - d_r) / d_r)
        return made if tile_maps is None else made.with_tile_maps(tile_maps)

    @classmethod
    def from_documents(cls, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> Self:
        """From the documents of one mask scan, finished or not.

        Raises
        ------
        CxgiError
            If the run is no mask scan, or has too few exposures.
        """
        return cls.from_exposures(Exposures.from_documents(documents))

    @classmethod
    def from_run(cls, run: Any) -> Self:
        """From a run of the catalog: anything with a method ``documents()``."""
        return cls.from_documents(run.documents())

    @classmethod
    def from_table(
        cls,
        table: BucketTable,
        *,
        open_bucket: tuple[float, float] | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> Self:
        """Reduce a table of buckets that gives its size and coding (d_r is 1 and dark 0 where it does not give them).

        Parameters
        ----------
        table : BucketTable
            The buckets and what is known of them.
        open_bucket : (float, float), optional
            All-open bucket b_0 (dark subtracted) and its sigma (binary only); by default that of pattern_index 0.
        source : mapping, optional
            Where the table came from, beside what it gives itself.

        Raises
        ------
        CxgiError
            If size or coding is missing, or as `from_buckets` does.
        """
        if table.size is None or table.coding is None:
            remedies = {"size": "size=N (--size N)", "coding": "coding='signed' (--coding signed), or binary, ..."}
            missing = [name for name in remedies if getattr(table, name) is None]
            raise MeasurementError(
                f"the file does not say its {' and '.join(missing)}: give {', '.join(remedies[m] for m in missing)}"
            )
        notes = {"order": table.order, "order_seed": table.seed, "unit": table.unit, "file_source": table.source}
        return cls.from_buckets(
            table.size,
            table.pattern_index,
            table.bucket,
            coding=table.coding,
            sigma=table.sigma,
            bucket_complement=table.bucket_complement,
            d_r=1.0 if table.d_r is None else table.d_r,
            dark=0.0 if table.dark is None else table.dark,
            open_bucket=open_bucket,
            source={**{name: note for name, note in notes.items() if note is not None}, **(source or {})},
        )

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        size: int | None = None,
        coding: Coding | None = None,
        d_r: float | None = None,
        dark: float | None = None,
        open_bucket: tuple[float, float] | None = None,
    ) -> Self:
        """Read a file of buckets: CSV, NPZ or HDF5, by its suffix.

        Parameters
        ----------
        path : str or Path
            Ends with .csv, .npz, .h5 or .hdf5.
        size : int, optional
            Pixels per side n; needed where the file does not give it, and must agree with it where it does.
        coding : {"binary", "signed", "complementary"}, optional
            Likewise.
        d_r : float, optional
            Modulation depth ratio of the masks, in place of that of the file; 1 where neither gives it.
        dark : float, optional
            Signal without beam, in the unit of the buckets, in place of that of the file; 0 where neither gives it.
        open_bucket : (float, float), optional
            All-open bucket b_0 (dark subtracted) and its sigma (binary only); by default that of pattern_index 0.

        Raises
        ------
        CxgiError
            If the file cannot be read, is damaged, lacks a column, or contradicts itself or the
            caller; if an index is repeated or unknown, or a bucket is NaN. The message names the file.
        """
        table, attrs = read_buckets(path), {"size": size, "coding": coding, "d_r": d_r, "dark": dark}
        with naming(path):
            return cls.from_table(table.with_attrs(**attrs), open_bucket=open_bucket, source={"file": str(path)})

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        *,
        size: int,
        coding: Coding,
        d_r: float | None = None,
        dark: float | None = None,
        open_bucket: tuple[float, float] | None = None,
    ) -> Self:
        """Read ``pattern_index,bucket[,sigma][,bucket_complement]``, one row per pattern, whatever the suffix.

        Parameters
        ----------
        path : str or Path
            The CSV file.
        size : int
            Pixels per side n; must agree with the file where it gives it.
        coding : {"binary", "signed", "complementary"}
            Likewise.
        d_r : float, optional
            Modulation depth ratio of the masks, in place of that of the file; 1 where neither gives it.
        dark : float, optional
            Signal without beam, in the unit of the buckets, in place of that of the file; 0 where neither gives it.
        open_bucket : (float, float), optional
            All-open bucket b_0 (dark subtracted) and its sigma (binary only); by default that of pattern_index 0.

        Raises
        ------
        CxgiError
            As `from_file`; a cell that is no number is named with its line.
        """
        table, attrs = read_csv(Path(path)), {"size": size, "coding": coding, "d_r": d_r, "dark": dark}
        with naming(path):
            return cls.from_table(table.with_attrs(**attrs), open_bucket=open_bucket, source={"file": str(path)})


def _check_board_of(maps: TileMaps, board: BoardMetadata) -> None:
    """Raise `CxgiError` if the maps are known to be of another board than a run's."""
    if maps.board_sha256 not in (None, board.sha256):
        raise MeasurementError(
            f"the tile maps ({maps.source}) are of another board (sha256 {str(maps.board_sha256)[:12]}) than "
            f"{board.id!r} of this run (sha256 {board.sha256[:12]}): record maps of this board"
        )
