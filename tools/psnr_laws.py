"""What images of random objects lack: fits the laws of `reconstruction.planning.quality`, BEYOND, WITHIN and TOGETHER.

Random objects of all families in turn, perfect masks, images of the network: of 768 patterns in fixed orders, and of
chosen patterns after each batch. Prints both laws; sigma, and the correlation, are of
what they err by for families that they were not fitted to.

    python -m tools.psnr_laws
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cxgi_bluesky.masks.orders import ranking
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct_many
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement
from cxgi_bluesky.reconstruction.planning.choose import batch_size, choose_batch, start_patterns
from cxgi_bluesky.reconstruction.planning.quality import Law, describe_image
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

Image = np.ndarray
SIZE, COUNT = 64, 768
ORDERS = ("zig-zag", "learned-density")
SNR_DB = (4.0, 8.0, 15.0, 22.0, 30.0)  # of the rms of the coefficients of the zig-zag scan
_SEED = 81
_TOGETHER = 16


class Scene:
    """An object, and what each pattern gives where it is measured, its noise in it."""

    def __init__(self, family: str, truth: Image, snr_db: float, rng: np.random.Generator) -> None:
        self.family, self.exact, self.rng = family, coefficients(truth, np.arange(SIZE**2)), rng
        rms = float(np.sqrt(np.mean(self.exact[ranking("zig-zag", SIZE)[1:COUNT]] ** 2)))
        self.sigma = rms * 10 ** (-snr_db / 20)
        self.value = self.exact + self.sigma * rng.normal(size=SIZE**2)

    def measure(self, index: Sequence[int]) -> PreparedMeasurement:
        """What these patterns give."""
        taken = np.asarray(index, dtype=np.int64)
        m = Measurement(SIZE, taken, self.value[taken], np.full(len(taken), self.sigma), scale="transmission")
        return PreparedMeasurement.from_measurement(m)


def scenes(objects: int, snr_db: float, seed: int) -> list[Scene]:
    """Draw objects, as many of each family."""
    rng, kinds = np.random.default_rng([_SEED, SIZE, seed]), list(FAMILIES)
    families = [kinds[i % len(kinds)] for i in range(objects)]
    return [Scene(one, random_object(rng, SIZE, {one: 1.0}).astype(float), snr_db, rng) for one in families]


def fixed(drawn: Sequence[Scene], order: str) -> Iterator[tuple[str, Image, Image]]:
    """Family, what is seen and what is lacking (`row`), of images of a fixed order."""
    patterns = PatternSet(SIZE, COUNT, order, None if order == "zig-zag" else 0)
    yield from rows(drawn, [patterns.pattern_index.tolist()] * len(drawn))


def chosen(drawn: Sequence[Scene]) -> Iterator[tuple[str, Image, Image]]:
    """The same of chosen patterns, after each batch."""
    taken = [start_patterns(SIZE).tolist() for _ in drawn]
    while len(taken[0]) <= COUNT:
        images: list[Image] = []
        yield from rows(drawn, taken, images)
        for scene, measured, image in zip(drawn, taken, images, strict=True):
            count = batch_size(SIZE)
            measured += choose_batch(image, measured=measured, count=count, rng=scene.rng).patterns


def rows(
    drawn: Sequence[Scene], taken: Sequence[Sequence[int]], images: list[Image] | None = None
) -> Iterator[tuple[str, Image, Image]]:
    """Family, log10 of what is seen, log10 of both sums of squared errors; the images are appended to a list."""
    for first in range(0, len(drawn), _TOGETHER):
        some = slice(first, first + _TOGETHER)
        measurements = [one.measure(index) for one, index in zip(drawn[some], taken[some], strict=True)]
        for scene, m, made in zip(drawn[some], measurements, reconstruct_many(measurements), strict=True):
            found = coefficients(made.image, np.arange(SIZE**2))
            unmeasured = np.ones(SIZE**2, dtype=bool)
            unmeasured[m.pattern_index] = False
            square = (found - scene.exact) ** 2
            seen = describe_image(m.without_common_error()[0], made.image, found**2, unmeasured)
            yield scene.family, np.log10(seen), np.log10([square[unmeasured].sum(), square[~unmeasured].sum()])
            if images is not None:
                images.append(made.image)


def fit(seen: Image, lacking: Image) -> Law:
    """Least squares for constant and weights."""
    columns = np.column_stack([np.ones(len(seen)), seen[:, 1:] - seen[:, :1]])
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
    parser.add_argument("--objects", type=int, default=135, help="for each fixed order and noise")
    parser.add_argument("--chosen", type=int, default=36, help="for each noise, of chosen patterns")
    options = parser.parse_args()
    found: list[tuple[Any, ...]] = []
    for i, snr_db in enumerate(SNR_DB):
        for j, order in enumerate(ORDERS):
            found += fixed(scenes(options.objects, snr_db, 10 * i + j), order)
        found += chosen(scenes(options.chosen, snr_db, 10 * i + 9))
    families, seen, lacking = (np.array(column) for column in zip(*found, strict=True))
    (beyond, first), (within, second) = (fit_law(families, seen, column) for column in lacking.T)
    print(f"BEYOND = {beyond}\nWITHIN = {within}")
    print(f"TOGETHER = {np.corrcoef(first, second)[0, 1]:.2f}  # {len(found)} images")


if __name__ == "__main__":
    main()
