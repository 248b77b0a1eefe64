"""Compare a scan over Channel Access with simulated devices; two simulated runs of different seeds set the scale."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from bluesky import RunEngine

from ...devices.simulated.beamline import simulated_beamline
from ...masks.board import MaskBoard
from ...measurement.documents import cxgi_block
from ...measurement.exposures import Exposures
from ...measurement.measurement import Measurement
from ...plans import mask_scan
from ...reconstruction.api import reconstruct
from ...reconstruction.registry import METHODS
from ...reconstruction.result import Reconstruction
from ...session.run_engine import WaitInSteps
from .._echo import Echo
from .run import DemoScan

if TYPE_CHECKING:
    from .command import DemoOptions

SAME = 1e-9  # relative: what units and text may change
WITHIN = 1.5  # times what two seeds differ by; a pair of runs does not show it more precisely
IDENTICAL, AGREES, DIFFERS = "the very buckets", "within the noise", "APART BY MORE THAN THE NOISE"


@dataclass(frozen=True)
class Agreement:
    """How far a run is from a simulated run of its seed.

    Attributes
    ----------
    patterns : int
        Buckets that were compared.
    identical : bool
        Whether all buckets are the same to 1e-9.
    chi2, chi2_of_seeds : float
        Mean square of the buckets' differences over their stored sigma squared: of the run and its simulated
        one, and of two simulated runs of other seeds. Detector noise alone gives 2; drift and stage errors add to it.
    images : dict of str to float
        By method, rms difference of the images, monitor left out on both sides, over that of two simulated runs of
        different seeds: 0 the same image, about 1 another noise.
    """

    patterns: int
    identical: bool
    chi2: float
    chi2_of_seeds: float
    images: dict[str, float]

    @property
    def verdict(self) -> str:
        """One of three words."""
        return DIFFERS if not self.good else IDENTICAL if self.identical else AGREES

    @property
    def good(self) -> bool:
        """Whether buckets and every image differ by no more than noise makes them."""
        return self.chi2 <= WITHIN * self.chi2_of_seeds and max(self.images.values()) <= WITHIN

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "patterns": self.patterns,
            "identical_buckets": self.identical,
            "chi2_per_bucket": self.chi2,
            "chi2_per_bucket_of_two_seeds": self.chi2_of_seeds,
            "images_over_those_of_two_seeds": self.images,
            "verdict": self.verdict,
        }

    def __str__(self) -> str:
        images = ", ".join(f"{name} {ratio:.2f}" for name, ratio in self.images.items())
        return "\n".join(
            [
                f"Beside soft devices of the same seed: {self.verdict}.",
                f"  buckets: chi2 {self.chi2:.2f} a bucket over {self.patterns} (soft runs of two seeds: "
                f"{self.chi2_of_seeds:.2f}; 0 is identical, 2 is detector noise alone)",
                f"  images: rms difference over that of two seeds: {images} (0 the same, about 1 other noise)",
            ]
        )


def compare_with_simulated(
    scanned: DemoScan, asked: DemoOptions, board: MaskBoard, *, incident: bool, echo: Echo
) -> Agreement:
    """Compare a scan with simulated devices of the same seed, and these with those of another one.

    Parameters
    ----------
    scanned : DemoScan
    asked : DemoOptions
        Its object and seed.
    board : MaskBoard
    incident : bool
        Whether the scan had an object stage, hence exposures with the object out.
    echo : callable
    """
    echo.note("The same scan on soft devices, with the same seed and with another ...")
    mine = Exposures.from_documents(_without_monitor(scanned.run.documents()))
    seeds = (asked.seed, asked.seed + 1)
    soft, other = (_run_simulated(board, asked.object_name, seed, scanned, incident) for seed in seeds)
    patterns, identical, chi2 = _compare(mine, soft)
    _, _, of_seeds = _compare(other, soft)
    images = [_images(exposures) for exposures in (mine, soft, other)]
    ratios = {name: _rms(images[0][name], images[1][name]) / _rms(images[2][name], images[1][name]) for name in METHODS}
    return Agreement(patterns, identical, chi2, of_seeds, ratios)


def _without_monitor(documents: Any) -> Any:
    """Drop the monitor from documents: simulated devices have none."""
    for name, document in documents:
        if name == "start":
            block = cxgi_block(document)
            document = {**document, "cxgi": {**block, "fields": {**block["fields"], "i0": None}}}
        yield name, document


def _run_simulated(board: MaskBoard, object_name: str, seed: int, scanned: DemoScan, incident: bool) -> Exposures:
    line = simulated_beamline(board, object_name, seed=seed)
    measured, engine = Exposures(), RunEngine({}, during_task=WaitInSteps())
    engine.subscribe(measured)
    devices = (line.stage, line.shutter, line.diode)
    stage = line.object_stage if incident else None
    patterns, exposure_s = scanned.pattern_set, scanned.exposure_s
    engine(mask_scan(*devices, board=board, pattern_set=patterns, exposure_s=exposure_s, object_stage=stage))
    return measured


def _compare(one: Exposures, other: Exposures) -> tuple[int, bool, float]:
    """Count the patterns in both; return whether all buckets are the same, and chi2 a bucket by the second's sigma."""
    rows = [
        (exposure.bucket, one.streams["primary"][pattern].bucket, exposure.sigma)
        for pattern, exposure in other.streams["primary"].items()
        if pattern in one.streams["primary"]
    ]
    ours, theirs, sigma = np.array(rows).T
    return len(rows), bool(np.allclose(ours, theirs, rtol=SAME, atol=0)), float(np.mean(((ours - theirs) / sigma) ** 2))


def _images(exposures: Exposures) -> dict[str, Reconstruction]:
    measurement = Measurement.from_exposures(exposures)
    return {name: reconstruct(measurement, method=name) for name in METHODS}


def _rms(one: Reconstruction, other: Reconstruction) -> float:
    return float(np.sqrt(np.mean((one.image - other.image) ** 2)))


# ---------------------------------------------------------------- counts


LIT = ("primary", "validation", "open", "incident", "metal")


@dataclass(frozen=True)
class Count:
    """Openings, exposures, and seconds of exposures with the shutter open."""

    openings: int
    exposures: int
    open_s: float


@dataclass(frozen=True)
class Counts:
    """What the run reports to have done, and what the IOC counted."""

    run: Count
    ioc: Count
    shutter: str

    @classmethod
    def from_scan(cls, scanned: DemoScan, diode: Any, reported: dict[str, Any]) -> Counts:
        """Compare a scan, its diode and what the IOC reported at its end.

        Parameters
        ----------
        scanned : DemoScan
        diode : Diode
            One with `reading_s` (s), such as a Keithley, has several exposures of the IOC in one of the scan.
        reported : dict
            By the IOC: `openings`, `exposures`, `open_s` (s) and `shutter`.
        """
        lit = sum(len(scanned.exposures.streams[name]) for name in LIT)
        exposure_s = scanned.exposure_s
        readings = max(1, round(exposure_s / getattr(diode, "reading_s", exposure_s)))
        run = Count(scanned.openings, lit * readings, lit * exposure_s)
        return cls(run, Count(reported["openings"], reported["exposures"], reported["open_s"]), reported["shutter"])

    @property
    def equal(self) -> bool:
        """Whether run and IOC agree."""
        same = (self.run.openings, self.run.exposures) == (self.ioc.openings, self.ioc.exposures)
        return same and math.isclose(self.run.open_s, self.ioc.open_s, rel_tol=1e-6)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "equal": self.equal}

    def __str__(self) -> str:
        pairs = ", ".join(
            f"{word} {getattr(self.run, name):g} / {getattr(self.ioc, name):g}"
            for name, word in (("openings", "openings"), ("exposures", "exposures"), ("open_s", "seconds open"))
        )
        verdict = "equal" if self.equal else "NOT EQUAL"
        return f"Counted by the run / by the IOC itself: {pairs}: {verdict}. IOC ended, its shutter {self.shutter}."
