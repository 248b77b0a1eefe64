"""Reference scan: what each tile passes without the object takes the mean error of its mask off its bucket.

    b_k - (r_k - rideal_k <r> / <rideal>) <b> / <r>,   rideal_k = T0 + (1 - T0) fill_k

with r_k the bucket of the same tile with the object out and fill_k = 1/2 for every pattern but k = 0. A mask
that lets too much through everywhere is mended by it; what remains is where on the mask the error lies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CxgiError
from .exposures import Exposures, RunBuckets
from .patterns import PatternSet

NO_REFERENCE = "not in the reference scan"


def check_reference(image: Mapping[str, Any], reference: Exposures) -> None:
    """Raise `CxgiError` unless the reference is one of the board and pattern set of an image.

    Parameters
    ----------
    image : mapping
        Block ``cxgi`` of the image's start document.
    reference : Exposures
    """
    ours, theirs = image, reference.start["cxgi"]
    uid = reference.start["uid"]
    if theirs.get("purpose") != "reference":
        raise CxgiError(f"run {uid} is no reference scan (purpose {theirs.get('purpose')!r}): make one of this board")
    if ours["board"]["sha256"] != theirs["board"]["sha256"]:
        raise CxgiError(
            f"reference {uid} is of another board ({_named(theirs['board'])}; the image's is {_named(ours['board'])}): "
            "make a reference scan of this board"
        )
    if ours["pattern_set"]["sha256"] != theirs["pattern_set"]["sha256"]:
        raise CxgiError(
            f"reference {uid} is of another pattern set ({_words(reference.pattern_set)}; the image's is "
            f"{_words(PatternSet.from_dict(ours['pattern_set']))}): make a reference scan of this pattern set"
        )


def _named(board: dict[str, str]) -> str:
    return f"{board['id']!r}, sha256 {board['sha256'][:12]}"


def _words(patterns: PatternSet) -> str:
    seed = "" if patterns.seed is None else f", seed {patterns.seed}"
    return f"{patterns.count} of {patterns.order}, size {patterns.size}{seed}"


def with_reference(image: RunBuckets, reference: RunBuckets) -> RunBuckets:
    """Buckets corrected by a reference scan.

    Their sigma grows by that of the reference. Patterns of the set that the reference lacks are left out;
    validation patterns, which it never has, stay as they are. Without exposures of the incident intensity in
    the image's run, the reference's open tile gives it, for the mean source intensity of the two scans.

    Parameters
    ----------
    image, reference : RunBuckets
        Calibrated buckets of both scans (`Exposures.buckets`).

    Raises
    ------
    CxgiError
        If the reference shows no light.
    """
    passed = np.full(image.size**2, np.nan)
    passed[reference.pattern_index] = reference.bucket
    passed_sigma = np.zeros(image.size**2)
    if reference.sigma is not None:
        passed_sigma[reference.pattern_index] = reference.sigma
    judges = np.isin(image.pattern_index, image.validation)
    known = np.isfinite(passed[image.pattern_index]) | judges | (image.pattern_index == 0)
    index, bucket = image.pattern_index[known], image.bucket[known]
    patterned = (index != 0) & ~judges[known]
    mean_r, mean_b = (float(v[patterned].mean()) if patterned.any() else 0.0 for v in (passed[index], bucket))
    if not mean_r > 0:
        raise CxgiError(
            f"the reference scan shows no light (mean bucket {mean_r:g}): was the shutter open, the dark right?"
        )
    ratio = mean_b / mean_r
    excess = np.where(patterned, passed[index] - mean_r, 0.0)
    sigma = None if image.sigma is None else image.sigma[known]
    if sigma is not None:
        sigma = np.where(patterned, np.hypot(sigma, ratio * passed_sigma[index]), sigma)
    missing = image.pattern_index[~known].tolist()
    opened = reference.open_bucket
    return replace(
        image,
        pattern_index=index,
        bucket=bucket - ratio * excess,
        sigma=sigma,
        incident=image.incident if image.incident is not None or opened is None else opened[0],
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


def _beyond(deviation: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """Rms of deviations without what their noise has in it."""
    return math.sqrt(max(0.0, float(np.mean(deviation**2) - np.mean(noise**2)))) if len(deviation) else 0.0
