"""Reference scan: what each tile passes without the object takes the mean error of its mask off its bucket.

    b_k - (r_k - rideal_k <r> / <rideal>) <b> / <r>,   rideal_k = T0 + (1 - T0) fill_k

with r_k the bucket of the same tile with the object out and fill_k = 1/2 for every pattern but k = 0. A mask
that lets too much through everywhere is mended by it; what remains is where on the mask the error lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MeasurementError
from ..masks.pattern_set import CHOSEN, ChosenSet, PatternSet, hadamard_set
from .exposures import Exposures
from .normalization import Buckets

if TYPE_CHECKING:
    from .schema import BoardMetadata, RunMetadata

NO_REFERENCE = "not in the reference scan"
MIN_COMMON = 0.95  # of the patterns, below which a correction would cost too much of the image


def check_reference(image: RunMetadata, reference: Exposures) -> None:
    """Raise `CxgiError` unless the reference is one of the board, pattern set and detector of an image.

    Parameters
    ----------
    image : RunMetadata
    reference : Exposures
    """
    theirs, uid = reference.metadata, reference.start["uid"]
    if image.basis != "hadamard":
        raise MeasurementError("a reference scan corrects Hadamard masks: leave reference_uid out for speckle patterns")
    if theirs.purpose != "reference":
        raise MeasurementError(f"run {uid} is no reference scan (purpose {theirs.purpose!r}): make one of this board")
    board, patterns = image.board, image.pattern_set or {}
    assert board is not None
    if board.sha256 != reference.board.sha256:
        raise MeasurementError(
            f"reference {uid} is of another board ({_name(reference.board)}; the image's is {_name(board)}): "
            "make a reference scan of this board"
        )
    chosen = patterns.get("order") == CHOSEN  # which patterns they are is known from the events alone
    if not chosen and patterns["sha256"] != (theirs.pattern_set or {})["sha256"]:
        raise MeasurementError(
            f"reference {uid} is of another pattern set ({_describe(reference.pattern_set)}; the image's is "
            f"{_describe(hadamard_set(patterns))}): make a reference scan of this pattern set"
        )
    _check_same_bucket(image, reference)


def check_complete(reference: Exposures) -> None:
    """Raise `CxgiError` for a reference scan that was cut short, before an image is measured for it."""
    measured = [k for k, exposure in reference.streams["primary"].items() if math.isfinite(exposure.bucket)]
    wanted = int(reference.start.get("num_points", reference.pattern_set.count))
    _check_common(len(measured), wanted, f"of its {wanted} patterns")


def dark_level(image: RunMetadata, dark: Exposures | None) -> float | None:
    """Mean reading of a dark scan, for an image of the same detector; None without a dark scan.

    Parameters
    ----------
    image : RunMetadata
    dark : Exposures, optional

    Raises
    ------
    CxgiError
        If the dark scan is of another detector or, where buckets are counts, another exposure time, or holds no
        reading.
    """
    if dark is None:
        return None
    _check_same_bucket(image, dark)
    if dark.dark is None:
        raise MeasurementError(
            f"dark run {dark.start['uid']} holds no reading: name another dark scan, or go on without (--dark-run none)"
        )
    return dark.dark


def calibrated_buckets(
    exposures: Exposures,
    *,
    reference: Exposures | None = None,
    dark: Exposures | None = None,
    correct: Callable[[Buckets, Buckets], Buckets] | None = None,
) -> Buckets:
    """Calibrated buckets of a run, with the runs that belong to it.

    Parameters
    ----------
    exposures : Exposures
        Of the image.
    reference : Exposures, optional
        Of a reference scan of the same board, pattern set and detector.
    dark : Exposures, optional
        Of a dark scan with the same detector, for runs without dark readings of their own.
    correct : callable, optional
        What is done with the buckets of image and reference (default: `with_reference`).

    Raises
    ------
    CxgiError
        As `check_reference`, `dark_level` and `Exposures.buckets`.
    """
    level = dark_level(exposures.metadata, dark)
    buckets = exposures.buckets(dark=level)
    if reference is None:
        return buckets
    check_reference(exposures.metadata, reference)
    passed = reference.buckets(dark=level if exposures.dark is None else exposures.dark)
    return (correct or with_reference)(buckets, passed)


def _check_same_bucket(image: RunMetadata, linked: Exposures) -> None:
    theirs, uid = linked.metadata, linked.start["uid"]
    kind = theirs.purpose
    our_field, their_field = image.fields["bucket"], theirs.fields["bucket"]
    if our_field != their_field:
        raise MeasurementError(
            f"{kind} run {uid} was measured with another detector (bucket {their_field!r}; the image's is "
            f"{our_field!r}): make a {kind} scan with this one"
        )
    units = image.bucket_unit, theirs.bucket_unit
    if None not in units and units[0] != units[1]:
        raise MeasurementError(
            f"{kind} run {uid} has buckets in {units[1]}, the image in {units[0]}: make a {kind} scan with this one"
        )
    if "counts" in units and image.exposure_s != theirs.exposure_s:
        raise MeasurementError(
            f"{kind} run {uid} was exposed for {theirs.exposure_s} s, the image for {image.exposure_s} s, and counts "
            f"grow with the time: make a {kind} scan of the same exposure_s"
        )


def _check_common(common: int, patterns: int, which: str) -> None:
    if patterns and not common:
        raise MeasurementError(
            f"the reference scan has none {which}: make another one, or go on without (--reference none)"
        )
    if common < MIN_COMMON * patterns:
        raise MeasurementError(
            f"the reference scan lacks {patterns - common} {which}: complete it (a new reference scan), or go on "
            "without (--reference none)"
        )


def _name(board: BoardMetadata) -> str:
    return f"{board.id!r}, sha256 {board.sha256[:12]}"


def _describe(patterns: PatternSet | ChosenSet) -> str:
    seed = "" if patterns.seed is None else f", seed {patterns.seed}"
    return f"{patterns.count} of {patterns.order}, size {patterns.size}{seed}"


def with_reference(image: Buckets, reference: Buckets) -> Buckets:
    """Buckets corrected by a reference scan.

    Their sigma grows by that of the reference. The few patterns of the set that the reference lacks (at most
    5 %) are left out; validation patterns that it lacks stay as they are. Without exposures of the incident
    intensity in the image's run, the reference gives it (`with_incident`).

    Parameters
    ----------
    image, reference : Buckets
        Calibrated buckets of both scans (`Exposures.buckets`).

    Raises
    ------
    CxgiError
        If the reference lacks more than 5 % of the image's patterns, or shows no light.
    """
    count = 1 + max(index.max(initial=0) for index in (image.pattern_index, reference.pattern_index))
    passed, passed_sigma = np.full(count, np.nan), np.zeros(count)
    passed[reference.pattern_index] = reference.bucket
    if reference.has_sigma:
        passed_sigma[reference.pattern_index] = reference.sigma
    validation = np.isin(image.pattern_index, image.validation)
    known = np.isfinite(passed[image.pattern_index]) | validation | (image.pattern_index == 0)
    index, bucket, sigma = image.pattern_index[known], image.bucket[known], image.sigma[known]
    patterned = (index != 0) & ~validation[known]
    patterns = int(((image.pattern_index != 0) & ~validation).sum())
    _check_common(int(patterned.sum()), patterns, f"of the {patterns} patterns of this image")
    mean_r, mean_b = (float(v[patterned].mean()) if patterned.any() else 0.0 for v in (passed[index], bucket))
    if not mean_r > 0:
        raise MeasurementError(
            f"the reference scan shows no light (mean bucket {mean_r:g}): was the shutter open, the dark right?"
        )
    ratio = mean_b / mean_r
    corrected = (index != 0) & np.isfinite(passed[index])
    excess = np.where(corrected, passed[index] - mean_r, 0.0)
    sigma = np.where(corrected, np.hypot(sigma, ratio * passed_sigma[index]), sigma)
    missing = image.pattern_index[~known].tolist()
    return replace(
        with_incident(image, reference),
        pattern_index=index,
        time=image.time[known],
        bucket=bucket - ratio * excess,
        sigma=sigma,
        source={
            **image.source,
            "reference_uids": reference.source["raw_uids"],
            "mask_error": _beyond(excess[patterned], passed_sigma[index][patterned]) / mean_r,
            "left_out": sorted([*image.source["left_out"], *missing]),
            "left_out_because": {
                **image.source["left_out_because"],
                **({NO_REFERENCE: sorted(missing)} if missing else {}),
            },
        },
    )


def with_incident(image: Buckets, reference: Buckets) -> Buckets:
    """Buckets with the incident intensity that the open tile of a reference scan gives, unless they have their own.

    It is scaled by the I0 of the two scans where both have a monitor; else the source is taken to be as bright in both.

    Parameters
    ----------
    image, reference : Buckets
        Calibrated buckets of both scans (`Exposures.buckets`).
    """
    if image.incident is not None or reference.open_bucket is None:
        return image
    brighter = image.mean_i0 / reference.mean_i0
    return replace(
        image,
        incident=reference.open_bucket[0] * (brighter if math.isfinite(brighter) else 1.0),
        source={**image.source, "reference_uids": reference.source["raw_uids"]},
    )


def _beyond(deviation: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """Rms of deviations without what their noise has in it."""
    return math.sqrt(max(0.0, float(np.mean(deviation**2) - np.mean(noise**2)))) if len(deviation) else 0.0
