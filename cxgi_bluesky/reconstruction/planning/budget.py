"""Plan a measurement: split a budget of time into patterns and seconds, and say what image to expect.

Noise of an exposure and budget give, for each number of patterns, the exposure time and the noise of the coefficients;
the shipped table (`table`) gives what the network makes of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from ...errors import ConfigError
from ...masks.board import MaskBoard, load_board
from ...masks.orders import SEEDED
from ...masks.pattern_set import PatternSet
from .table import LINE_WIDTHS_PX, Expected, Masks, PlanningTable, planning_table, table_facts, table_sizes

MaskKnowledge = Literal["perfect", "maps", "none", "reference"]
MASK_KNOWLEDGE: tuple[MaskKnowledge, ...] = get_args(MaskKnowledge)

OVERHEAD_S = 0.02  # docs/reference/exposure-overhead.md: motor records; the stage's travel comes on top
ORDER_SEED = 1
OPEN_EXPOSURES, OPEN_EVERY, INCIDENT_EXPOSURES, DARK_EXPOSURES = 4, 64, 4, 4  # defaults of `plans.mask_scan`
SHIPPED_CARD = Path(__file__).parents[1] / "ch_mwcnn" / "data" / "ch_mwcnn.json"
_DIGITS = 3  # of an exposure time
_LINE_GAIN = 0.1  # of the probability that a line shows, from which another scan is worth naming


class ExposureNoise(Protocol):
    """What is known of the detector: `simulation.base.Detector` is one."""

    def variance_pa2(self, current_pa: float, exposure_s: float) -> float:
        """Variance of the mean of an exposure (pA^2), inversely proportional to its time.

        Parameters
        ----------
        current_pa : float
            Mean current (pA).
        exposure_s : float
            Exposure time (s).
        """
        ...


@dataclass(frozen=True)
class PlannedScan:
    """One way to spend the budget.

    Attributes
    ----------
    strategy : str
        How the patterns are chosen: "fixed", the first of an order.
    patterns : PatternSet
    exposure_s : float
        Exposure time per pattern (s).
    time_s, open_s : float
        Whole scan with its overhead, and shutter open (s), exposures of the open tile included.
    noise_db : float
        -20 log10 of a coefficient's sigma as a share of the open beam and of the object's contrast.
    expected : Expected
    """

    strategy: str
    patterns: PatternSet
    exposure_s: float
    time_s: float
    open_s: float
    noise_db: float
    expected: Expected


@dataclass(frozen=True)
class MeasurementPlan:
    """What to measure within a budget.

    Attributes
    ----------
    board : MaskBoard
    masks : {"perfect", "maps", "none", "reference"}
        What is known of the masks.
    scans : tuple of PlannedScan
        All that fit into the budget, the best expected PSNR first.
    line_um : float, optional
        Width of the line that is to be resolved (um).
    max_open_s : float, optional
        Budget of open seconds, which the call passes on to the scan.
    notes : tuple of str
        Where the table ends, and what else to know.
    """

    board: MaskBoard
    masks: MaskKnowledge
    scans: tuple[PlannedScan, ...]
    line_um: float | None
    max_open_s: float | None
    notes: tuple[str, ...]

    @property
    def best(self) -> PlannedScan:
        """The scan with the best expected PSNR."""
        return self.scans[0]

    @property
    def for_line(self) -> PlannedScan | None:
        """Another scan that shows the line with a clearly higher probability (by 0.1), if there is one."""
        if self.line_um is None:
            return None
        found = max(self.scans, key=lambda scan: scan.expected.line or 0.0)
        gain = (found.expected.line or 0.0) - (self.best.expected.line or 0.0)
        return found if gain >= _LINE_GAIN else None

    def call(self, scan: PlannedScan) -> str:
        """The lines that run a scan in a session ``s``."""
        patterns = scan.patterns
        seed = "" if patterns.seed is None else f", {patterns.seed}"
        chosen = f's.pattern_set({patterns.count} / {patterns.size**2}, "{patterns.order}"{seed})'
        options = f"exposure_s={scan.exposure_s:g}"
        limit = "" if self.max_open_s is None else f", max_open_s={self.max_open_s:g}"
        if self.masks != "reference":
            return f"s.RE(s.scan(pattern_set={chosen}, {options}{limit}))"
        return (
            f"patterns = {chosen}\n(reference,) = s.RE(s.reference_scan(pattern_set=patterns, {options}))\n"
            f"s.RE(s.scan(pattern_set=patterns, {options}, reference_uid=reference{limit}))"
        )

    def arguments(self, scan: PlannedScan) -> dict[str, Any]:
        """The same as arguments of the plan `mask_scan`, as a queue of plans takes them."""
        limit = {} if self.max_open_s is None else {"max_open_s": self.max_open_s}
        return {"pattern_set": scan.patterns.to_dict(), "exposure_s": scan.exposure_s, **limit}

    def alternatives(self) -> tuple[PlannedScan, ...]:
        """The best order at each doubling of the patterns, the best scan of each order, and that for the line."""
        best = self.best
        counts = {best.patterns.count, *(c for c in self._counts() if _is_doubling(c, best.patterns.count))}
        orders = {scan.patterns.order for scan in self.scans}
        first = [next(s for s in self.scans if s.patterns.count == count) for count in sorted(counts)]
        other = [next(s for s in self.scans if s.patterns.order == order) for order in sorted(orders)]
        line = [] if self.for_line is None else [self.for_line]
        return tuple(dict.fromkeys([*first, *other, *line]))

    def _counts(self) -> set[int]:
        return {scan.patterns.count for scan in self.scans}


def _is_doubling(count: int, of: int) -> bool:
    return math.log2(count / of) % 1 == 0


# ---------------------------------------------------------------- exposures of a scan


def open_exposures(count: int) -> int:
    """Exposures of the open tile that b_0 is the mean of, in a scan of so many patterns; pattern 0 is one."""
    return 2 * OPEN_EXPOSURES + (count - 1) // OPEN_EVERY + 1


def _openings(count: int) -> int:
    return count - 1 + open_exposures(count) + INCIDENT_EXPOSURES


@dataclass(frozen=True)
class Budget:
    """What a scan may take: all its time, or the time with the shutter open; s."""

    seconds: float
    is_open: bool
    overhead_s: float

    def exposure_s(self, count: int) -> float:
        """Longest exposure time with three digits, 0 or less if there is none."""
        if self.is_open:
            exact = self.seconds / _openings(count)
        else:
            exact = self.seconds / (_openings(count) + DARK_EXPOSURES) - self.overhead_s
        if exact <= 0:
            return 0.0
        unit = 10.0 ** (math.floor(math.log10(exact)) + 1 - _DIGITS)
        return float(f"{math.floor(exact / unit * (1 + 1e-12)) * unit:.{_DIGITS}g}")

    def of_scan(self, count: int, exposure_s: float) -> float:
        """How much of the budget a scan takes (s).

        Parameters
        ----------
        count : int
            Patterns.
        exposure_s : float
            Exposure time per pattern (s).
        """
        return _openings(count) * exposure_s if self.is_open else time_of_scan(count, exposure_s, self.overhead_s)


def time_of_scan(count: int, exposure_s: float, overhead_s: float) -> float:
    """Time of a scan with its dark and open exposures (s).

    Parameters
    ----------
    count : int
        Patterns.
    exposure_s, overhead_s : float
        Of each exposure (s).
    """
    return (_openings(count) + DARK_EXPOSURES) * (exposure_s + overhead_s)


# ---------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Light:
    """How the noise of a coefficient depends on the exposure time.

    Attributes
    ----------
    board : MaskBoard
    current_pa : float
        Of the all-open tile, object out (pA).
    detector : ExposureNoise
    transmission, contrast : float
        Mean transmission of the object, and brightest less darkest.
    """

    board: MaskBoard
    current_pa: float
    detector: ExposureNoise
    transmission: float
    contrast: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.current_pa) and self.current_pa > 0):
            raise ConfigError(f"current {self.current_pa:g} pA: give that of the all-open tile, above 0")
        for name in ("transmission", "contrast"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name} {getattr(self, name):g} of the object is outside 0 < {name} <= 1")

    def noise_db(self, exposure_s: float) -> float:
        """-20 log10 of a coefficient's sigma as a share of the open beam and the contrast."""
        return self._noise_db_of_1_s() + 10 * math.log10(exposure_s)

    def exposure_s(self, noise_db: float) -> float:
        """Exposure time (s) that gives a noise."""
        return float(10 ** ((noise_db - self._noise_db_of_1_s()) / 10))

    def _noise_db_of_1_s(self) -> float:
        bucket_pa = self.current_pa * (1 + self.board.t0) / 2 * self.transmission
        sigma = 2 * math.sqrt(self.detector.variance_pa2(bucket_pa, 1.0)) / (1 - self.board.t0) / self.current_pa
        return -20 * math.log10(sigma / self.contrast)


def plan_measurement(
    board: MaskBoard | str | Path,
    *,
    current_pa: float,
    detector: ExposureNoise,
    time_s: float | None = None,
    open_s: float | None = None,
    masks: MaskKnowledge = "perfect",
    line_um: float | None = None,
    overhead_s: float = OVERHEAD_S,
    transmission: float = 0.5,
    contrast: float = 1.0,
) -> MeasurementPlan:
    """Choose patterns and exposure time within a budget, for the best image by `ch-mwcnn`.

    Parameters
    ----------
    board : MaskBoard, name or path
    current_pa : float
        Of the all-open tile, object out (pA).
    detector : ExposureNoise
        Its noise, such as `cxgi_bluesky.simulation.base.Detector()`.
    time_s : float, optional
        Budget: all the time of the scan, overhead included (s). Give this or `open_s`.
    open_s : float, optional
        Budget: time with the shutter open (s), exposures of the open tile included.
    masks : {"perfect", "maps", "none", "reference"}, optional
        What is known of the masks: as designed (the default), measured, etched and nothing known, or etched with a
        reference scan of the same exposure time.
    line_um : float, optional
        Width of the finest line that is to be resolved (um).
    overhead_s : float, optional
        Time of an exposure beyond the exposure itself (s); 0.02 by default, without the stage's travel.
    transmission, contrast : float, optional
        Of the object: its mean (0.5 by default), and the brightest less the darkest (1 by default).

    Raises
    ------
    CxgiError
        For an impossible value, a board of which the table knows nothing, a line finer than its pixels, or a budget
        that is too short for any scan of the table.
    """
    board = board if isinstance(board, MaskBoard) else load_board(board)
    table = _find_table(board, masks)
    budget = _check_budget(time_s, open_s, overhead_s)
    light = Light(board, current_pa, detector, transmission, contrast)
    line_px = None if line_um is None else _line_px(board, line_um)
    scans = sorted(_scans(board, table, budget, light, line_px), key=lambda scan: -scan.expected.psnr_db)
    if not scans:
        raise ConfigError(_too_short(table, budget, light))
    notes = tuple(_notes(masks, table, scans[0], line_px))
    return MeasurementPlan(board, masks, tuple(scans), line_um, open_s, notes)


def _find_table(board: MaskBoard, masks: MaskKnowledge) -> PlanningTable:
    if masks not in MASK_KNOWLEDGE:
        raise ConfigError(f"masks {masks!r} are unknown: choose one of {', '.join(MASK_KNOWLEDGE)}")
    kind: Masks = "perfect" if masks == "maps" else masks
    if board.size not in table_sizes(kind):
        known = ", ".join(str(size) for size in table_sizes(kind))
        raise ConfigError(
            f"board {board.name!r} has {board.size} x {board.size} pixels, and the table knows masks {masks!r} of "
            f"{known}: measure a scan to see, or try masks 'perfect' for a bound"
        )
    return planning_table(board.size, kind)


def _check_budget(time_s: float | None, open_s: float | None, overhead_s: float) -> Budget:
    if (time_s is None) == (open_s is None):
        raise ConfigError("a budget is either time_s or open_s: give one of them")
    seconds = time_s if open_s is None else open_s
    assert seconds is not None
    if not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"budget {seconds:g} s: give seconds above 0")
    if not (math.isfinite(overhead_s) and overhead_s >= 0):
        raise ConfigError(f"overhead {overhead_s:g} s of an exposure: give seconds, 0 or more")
    return Budget(seconds, open_s is not None, overhead_s)


def _line_px(board: MaskBoard, line_um: float) -> float:
    if not (math.isfinite(line_um) and line_um > 0):
        raise ConfigError(f"line of {line_um:g} um: give a width above 0")
    line_px = line_um / board.pixel_um
    if line_px < 1 - 1e-9:
        raise ConfigError(
            f"a line of {line_um:g} um is finer than a pixel of board {board.name!r}: it can resolve "
            f"{board.pixel_um:g} um, or take a board with finer pixels"
        )
    return line_px


def _scans(
    board: MaskBoard, table: PlanningTable, budget: Budget, light: Light, line_px: float | None
) -> Iterator[PlannedScan]:
    """All scans of the table that the board carries and the budget allows."""
    carried = set(board.pattern_index)
    for order in table.orders:
        for count in table.counts:
            patterns = PatternSet(board.size, count, order, ORDER_SEED if order in SEEDED else None)
            exposure_s = budget.exposure_s(count)
            if not exposure_s > 0 or not carried.issuperset(patterns.pattern_index.tolist()):
                continue
            noise_db = light.noise_db(exposure_s)
            if noise_db >= table.noise_db[0]:
                expected = table.expect(order, count, noise_db, line_px)
                times = time_of_scan(count, exposure_s, budget.overhead_s), _openings(count) * exposure_s
                yield PlannedScan("fixed", patterns, exposure_s, *times, noise_db, expected)


def _too_short(table: PlanningTable, budget: Budget, light: Light) -> str:
    count, exposure_s = table.counts[0], light.exposure_s(float(table.noise_db[0]))
    needed = budget.of_scan(count, exposure_s)
    kind = "with the shutter open" if budget.is_open else "in all"
    return (
        f"budget {budget.seconds:g} s is too short for any scan of the table: the smallest, {count} patterns of "
        f"{exposure_s:.2g} s, takes {needed * 1.01:.3g} s {kind}: give more time, or more current"
    )


def _notes(masks: MaskKnowledge, table: PlanningTable, best: PlannedScan, line_px: float | None) -> Iterator[str]:
    if best.noise_db > table.noise_db[-1]:
        yield (
            f"less noise ({best.noise_db:.0f} dB) than anywhere in the table ({table.noise_db[-1]:.0f} dB): expect no "
            "less than it says"
        )
    if masks == "maps":
        yield "with measured masks the numbers are those of perfect ones; in simulated scans they were 0.2 dB lower"
    if masks in ("none", "reference"):
        yield "the masks' errors are those of the simulated etching of the shipped boards"
    if masks == "reference":
        yield "the reference scan takes as long again, without the object: one serves all images with these patterns"
    if line_px is not None and line_px > LINE_WIDTHS_PX[-1]:
        yield f"a line of {line_px:.3g} pixels is taken for one of {LINE_WIDTHS_PX[-1]:g}"
    if table_facts()["weights_sha256"] != json.loads(SHIPPED_CARD.read_text(encoding="utf-8"))["sha256"]:
        yield "the table was made with other weights of the network: tools/planning_table.py renews it"
