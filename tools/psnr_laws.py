"""What images of random objects lack: fits the laws of `reconstruction.planning.quality`, LAWS and TOGETHER.

Random objects of all families in turn, perfect masks, 18.75 % of the patterns: in fixed orders, and chosen ones after
each batch. Prints both laws of a method; sigma, and the correlation, are of what they err by for families that they
were not fitted to.

    python -m tools.psnr_laws --method tv
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from cxgi_bluesky.masks.orders import ranking
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct_many
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement
from cxgi_bluesky.reconstruction.planning.choose import batch_size, choose_batch, start_patterns
from cxgi_bluesky.reconstruction.planning.quality import Law, describe_image, relative
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

Image = np.ndarray
Row = tuple[str, Image, Image]  # family, `describe_image`, log10 of both sums of squared errors
SHARE = 0.1875
OBJECTS = {64: 8, 32: 5, 128: 1}  # of each family, for each fixed order and noise; a third as many of chosen patterns
ORDERS = ("zig-zag", "learned-density")
SNR_DB = (4.0, 8.0, 15.0, 22.0, 30.0)  # of the rms of the coefficients of the zig-zag scan
_SEED = 81
_TOGETHER = 16


class Scene:
    """An object, and what each pattern gives where it is measured, its noise in it."""

    def __init__(self, family: str, truth: Image, snr_db: float, rng: np.random.Generator) -> None:
        self.family, self.size, self.rng = family, len(truth), rng
        self.count, self.exact = round(SHARE * truth.size), coefficients(truth, np.arange(truth.size))
        rms = float(np.sqrt(np.mean(self.exact[ranking("zig-zag", self.size)[1 : self.count]] ** 2)))
        self.sigma = rms * 10 ** (-snr_db / 20)
        self.value = self.exact + self.sigma * rng.normal(size=truth.size)

    def measure(self, index: Sequence[int]) -> PreparedMeasurement:
        """What these patterns give."""
        taken = np.asarray(index, dtype=np.int64)
        m = Measurement(self.size, taken, self.value[taken], np.full(len(taken), self.sigma), scale="transmission")
        return PreparedMeasurement.from_measurement(m)


def scenes(size: int, each: int, snr_db: float, seed: int) -> list[Scene]:
    """Draw objects, as many of each family."""
    rng = np.random.default_rng([_SEED, size, seed])
    families = each * list(FAMILIES)
    return [Scene(one, random_object(rng, size, {one: 1.0}).astype(float), snr_db, rng) for one in families]


def fixed(drawn: Sequence[Scene], order: str, method: str) -> Iterator[Row]:
    """Images of a fixed order."""
    index = PatternSet(drawn[0].size, drawn[0].count, order, None if order == "zig-zag" else 0).pattern_index.tolist()
    return (row for row, _ in images(drawn, [index] * len(drawn), method))


def chosen(drawn: Sequence[Scene], method: str) -> Iterator[Row]:
    """Images of chosen patterns, after each batch."""
    size = drawn[0].size
    taken = [start_patterns(size).tolist() for _ in drawn]
    while len(taken[0]) <= drawn[0].count:
        for i, (row, image) in enumerate(list(images(drawn, taken, method))):
            yield row
            count, rng = batch_size(size), drawn[i].rng
            taken[i] += choose_batch(image, measured=taken[i], count=count, rng=rng, rule="magnitude").patterns


def images(drawn: Sequence[Scene], taken: Sequence[Sequence[int]], method: str) -> Iterator[tuple[Row, Image]]:
    """What is seen and what is lacking, and the image."""
    measurements = [one.measure(index) for one, index in zip(drawn, taken, strict=True)]
    for first in range(0, len(drawn), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        made = reconstruct_many(measurements[some], method=method)
        for scene, m, one in zip(drawn[some], measurements[some], made, strict=True):
            found = coefficients(one.image, np.arange(scene.size**2))
            unmeasured = np.ones(len(found), dtype=bool)
            unmeasured[m.pattern_index] = False
            square = (found - scene.exact) ** 2
            seen = describe_image(m.without_common_error()[0], one.image, found**2, unmeasured)
            yield (scene.family, seen, np.log10([square[unmeasured].sum(), square[~unmeasured].sum()])), one.image


def fit(seen: Image, lacking: Image) -> Law:
    """Least squares for constant and weights."""
    columns = np.column_stack([np.ones(len(seen)), relative(seen)])
    found: Image = np.linalg.lstsq(columns, lacking - seen[:, 0], rcond=None)[0].round(3)
    return Law(float(found[0]), tuple(found[1:].tolist()), 0.0)


def fit_law(families: Image, seen: Image, lacking: Image) -> tuple[Law, Image]:
    """The law of all families, and what it errs by for each image when the family of that is left out."""
    errors = np.empty(len(lacking))
    for one in np.unique(families):
        left_out = families == one
        law = fit(seen[~left_out], lacking[~left_out])
        errors[left_out] = [lack - law(what) for what, lack in zip(seen[left_out], lacking[left_out], strict=True)]
    return replace(fit(seen, lacking), sigma=round(float(np.std(errors)), 2)), errors


def main() -> None:
    """Draw, measure, reconstruct, fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--method", default="ch-mwcnn", help="that makes the images")
    method = parser.parse_args().method
    found: list[Row] = []
    for size, each in OBJECTS.items():
        for i, snr_db in enumerate(SNR_DB):
            for j, order in enumerate(ORDERS):
                found += fixed(scenes(size, each, snr_db, 10 * i + j), order, method)
            found += chosen(scenes(size, max(1, each // 3), snr_db, 10 * i + 9), method)
    families, seen, lacking = (np.array(column) for column in zip(*found, strict=True))
    (beyond, first), (within, second) = (fit_law(families, seen, column) for column in lacking.T)
    print(f"{method}: {beyond}\n{within}")
    print(f"TOGETHER = {np.corrcoef(first, second)[0, 1]:.2f}  # {len(found)} images")


if __name__ == "__main__":
    main()
