"""What a run has measured, from its documents: the same way live, from the catalog and from a journal.

Every document goes through `Exposures`; the last exposure of an index wins, so that a rewound
or repeated exposure replaces the earlier one. Calibration happens when an image is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MeasurementError
from ..masks.pattern_set import ChosenSet, PatternSet, hadamard_set
from .documents import EventRows, cxgi_block, number
from .normalization import Buckets, Drift, calibrate, count_reasons, mean_bucket, mean_i0, subtract_dark
from .outliers import Exposure, agreeing, select_valid, valid_open, with_usual_intensity
from .validation import ValidationDraws

if TYPE_CHECKING:
    from .schema import BoardMetadata, RunMetadata

STREAMS = ("primary", "validation", "open", "dark", "incident", "metal")
_BY_PATTERN = ("primary", "validation")
BATCHES, WANTED = "batches", "batch_wanted"  # stream of a scan that chooses its patterns, and a data key of it
_WITHOUT_PATTERNS = ("dark", "metal")  # purposes of runs that expose no pattern
FIGURES = {  # what a run has cost the sample, by its data keys
    "exposure_open_s": "open_s",
    "exposure_openings": "openings",
    "exposure_repeats": "repeats",
    "exposure_moves_repeated": "moves_repeated",
}


class Exposures:
    """What a run has measured so far; feed it documents, make a `Measurement` of it.

    Storing an event costs microseconds. Raises `CxgiError` for a run that is not a mask scan.
    """

    def __init__(self) -> None:
        self.start: dict[str, Any] = {}
        self._metadata: RunMetadata | None = None
        self.uids: list[str] = []  # of the run, after those that it resumes
        self.figures_of: dict[str, dict[str, float]] = {}  # by uid: what each run has cost the sample
        self.streams: dict[str, dict[int, Exposure]] = {name: {} for name in STREAMS}
        self.wanted: set[int] = set()  # validation patterns that the rule of a scan has put into the image
        self._earlier: dict[tuple[str, int], list[Exposure]] = {}  # exposures that a repeat has replaced
        self._rows = EventRows()
        self._fields: dict[str, str] = {}

    @classmethod
    def from_documents(cls, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> Exposures:
        """Collect all documents of one run."""
        exposures = cls()
        for name, document in documents:
            exposures(name, document)
        return exposures

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of any kind."""
        if name == "start":
            self._begin(document)
        for row in self._rows(name, document):
            self._store(*row)

    def _begin(self, start: Mapping[str, Any]) -> None:
        from .schema import RunMetadata  # pydantic takes its time: `cxgi --help` does without

        block = cxgi_block(start)
        if "pattern_set" not in block and block.get("purpose") not in _WITHOUT_PATTERNS:
            raise MeasurementError(
                f"run {start.get('uid')} is no mask scan: its start document has no cxgi.pattern_set"
            )
        metadata = RunMetadata.from_start(start)
        if metadata.pattern_set is not None and metadata.board is None:
            raise MeasurementError(f"run {start.get('uid')} is malformed: cxgi.board of its start document is missing")
        self.streams, self.wanted = {name: {} for name in STREAMS}, set()
        self._earlier, self._rows = {}, EventRows()
        self.start, self.uids, self._metadata = dict(start), [start["uid"]], metadata
        self.figures_of = {start["uid"]: {}}
        self._fields = metadata.data_keys

    def _store(self, stream: str, seq_num: int, data: Mapping[str, Any], time: float) -> None:
        self.figures_of[self.start["uid"]] |= {name: number(data[key]) for key, name in FIGURES.items() if key in data}
        if stream == BATCHES:
            self.wanted.update(int(k) for k in str(data[WANTED]).split())
        if stream not in self.streams:
            return
        # A rewound plan repeats seq_num: by it, a repeated exposure of a reference tile replaces the earlier one.
        key = int(data[self._fields["pattern_index"]] if stream in _BY_PATTERN else seq_num)
        sigma, i0 = self._fields.get("sigma"), self._fields.get("i0")
        if stream in _BY_PATTERN and key in self.streams[stream]:
            self._earlier.setdefault((stream, key), []).append(self.streams[stream][key])
        self.streams[stream][key] = Exposure(
            number(data[self._fields["bucket"]]),
            number(data[sigma]) if sigma else math.nan,
            number(data[i0]) if i0 else 1.0,
            time,
        )

    def snapshot(self) -> Exposures:
        """A copy that later documents do not change (for another thread)."""
        copy = Exposures()
        copy.start, copy._metadata, copy._fields, copy.uids = self.start, self._metadata, self._fields, self.uids
        copy.figures_of = {uid: dict(figures) for uid, figures in self.figures_of.items()}
        copy.streams = {name: dict(stream) for name, stream in self.streams.items()}
        copy.wanted = set(self.wanted)
        copy._earlier = {key: list(repeats) for key, repeats in self._earlier.items()}
        return copy

    def continuing(self, earlier: Exposures) -> Exposures:
        """Merge with the earlier run that this one resumes; this run wins for patterns in both."""
        whole = earlier.snapshot()
        whole.start, whole._metadata, whole._fields = self.start, self._metadata, self._fields
        whole.uids = [*earlier.uids, *self.uids]
        for name, stream in self.streams.items():
            before = whole.streams[name]
            shift = 0 if name in _BY_PATTERN else max(before, default=0)
            for key, exposure in stream.items():
                if name in _BY_PATTERN and key in before:
                    whole._earlier.setdefault((name, key), []).append(before[key])
                before[key + shift] = exposure
        for pattern, repeats in self._earlier.items():
            whole._earlier.setdefault(pattern, []).extend(repeats)
        whole.figures_of |= self.figures_of
        whole.wanted |= self.wanted
        return whole

    # ------------------------------------------------------------ what was measured

    def __len__(self) -> int:
        return len(self.streams["primary"])

    @property
    def metadata(self) -> RunMetadata:
        """What the run records of itself.

        Raises
        ------
        CxgiError
            Before the start document.
        """
        if self._metadata is None:
            raise MeasurementError("no start document has been seen: feed the documents of a run from its beginning")
        return self._metadata

    @property
    def board(self) -> BoardMetadata:
        """The board on the stage; every run that exposes tiles has one."""
        assert self.metadata.board is not None
        return self.metadata.board

    @property
    def pattern_set(self) -> PatternSet | ChosenSet:
        """The set that the run was asked to measure."""
        return hadamard_set(self.metadata.pattern_set or {})

    @property
    def validation_draws(self) -> ValidationDraws | None:
        """All validation patterns of the run, as they were drawn; None for a run without such draws."""
        drawn = self.metadata.validation
        return None if drawn is None else ValidationDraws.from_dict(drawn)

    def draws_made(self, measured: Iterable[int], validated: Iterable[int]) -> ValidationDraws | None:
        """Validation draws that the scan has come to; None where they say nothing of some unmeasured pattern.

        The scan exposes them in the order in which they were drawn, but for those that it has measured already.

        Parameters
        ----------
        measured, validated : iterable of int
            Patterns with a valid exposure that images are made from, and validation patterns with one.
        """
        drawn = self.validation_draws
        if drawn is None or self.metadata.basis != "hadamard":
            return None
        known, valid = set(measured), {*measured, *validated}
        patterns = self.pattern_set
        start = patterns.pattern_index[: drawn.start_count].tolist()
        if drawn.start_count + drawn.candidates < patterns.size**2 or not known.issuperset(start):
            return None
        exposed = known.union(self.streams["validation"])
        made = next((row for row, k in enumerate(drawn.pattern_index.tolist()) if k not in exposed), len(drawn))
        rows = np.arange(len(drawn)) < made
        return drawn.where(rows & np.isin(drawn.pattern_index, list(valid)))

    @property
    def figures(self) -> dict[str, float]:
        """What its runs have cost the sample: ``open_s``, ``openings``, ``repeats``, ``moves_repeated``."""
        return {name: sum(of.get(name, 0) for of in self.figures_of.values()) for name in FIGURES.values()}

    def valid_patterns(self, stream: str = "primary") -> set[int]:
        """Patterns of a stream that have a valid exposure; the others are missing."""
        dark = self._dark_level(None)
        return set(self._select(stream, dark, self._tile_exposures("open", dark))[0])

    @property
    def reference_exposures(self) -> int:
        """Exposures of reference tiles (all open or all metal, object in or out)."""
        return sum(len(self.streams[name]) for name in ("open", "incident", "metal"))

    @property
    def dark(self) -> float | None:
        """Mean of the dark readings (in the bucket's unit), None without any that is a number."""
        readings = [e.bucket for e in self.streams["dark"].values() if math.isfinite(e.bucket)]
        return float(np.mean(readings)) if readings else None

    @property
    def bucket_unit(self) -> str:
        """Unit of the buckets: "pA", a mean over the exposure, or "counts", a sum over it."""
        return "pA" if self._metadata is None else self._metadata.bucket_unit or "pA"

    def estimate_d_r(self, *, dark: float | None = None) -> tuple[float, float] | None:
        """Estimate the modulation depth ratio 1 - metal / open, and its sigma; None without an all-metal exposure.

        The open tile is that of the stream ``incident`` where there is one, as the metal tile is then
        exposed with the object out too. The dark is the run's own, else the `dark` given.
        """
        zero = self._dark_level(dark)
        opened = self._incident_exposures(zero) or dict(enumerate(valid_open(self._tile_exposures("open", zero))))
        metals = self._tile_exposures("metal", zero)
        if not (metals and opened):
            return None
        metal, metal_sigma = mean_bucket(dict(enumerate(metals)))
        bright, bright_sigma = mean_bucket(opened)
        if not bright > 0:
            return None
        t0 = metal / bright
        return 1 - t0, math.hypot(metal_sigma, t0 * bright_sigma) / bright

    def buckets(self, *, dark: float | None = None) -> Buckets:
        """Calibrate what was measured so far.

        Dark (its own, else the `dark` given) is subtracted; buckets are divided by I0 / <I0> and by
        the slow drift of the open exposures; b_0 is the mean of the open exposures and pattern_index 0. Sigma is the
        detector's own, else from the scatter of the open exposures, else NaN. Exposures that cannot be
        trusted (`outliers`) are left out and listed in `source`.

        Raises
        ------
        CxgiError
            Before the start document.
        """
        if self.metadata.pattern_set is None:
            raise MeasurementError(
                f"run {self.start['uid']} is a {self.metadata.purpose} scan: it holds no patterns to make an image of"
            )
        dark = self._dark_level(dark)
        opens = self._tile_exposures("open", dark)
        (primary, reasons), (validation, _) = (self._select(name, dark, opens) for name in _BY_PATTERN)
        if self.streams["primary"] and not primary:
            raise MeasurementError(f"all {len(reasons)} exposures were left out: {count_reasons(reasons)}")
        good_opens = dict(enumerate(valid_open(opens)))
        incident = self._incident_exposures(dark)
        usual_i0 = mean_i0([*primary.values(), *validation.values(), *good_opens.values()])
        patterns = {**primary, **{k: exposure for k, exposure in validation.items() if k not in primary}}
        rows, opened, incidents = (
            Buckets.from_exposures(stream, usual_i0 or 1.0) for stream in (patterns, good_opens, incident)
        )
        of_image = [*primary, *self.wanted]
        drift = Drift.from_open(opened)
        return replace(
            calibrate(rows, opened, drift),
            incident=float(incidents.without_drift(drift).bucket.mean()) if len(incidents) else None,
            validation=rows.pattern_index[~np.isin(rows.pattern_index, of_image)],
            mean_i0=usual_i0 if usual_i0 is not None and "i0" in self._fields else math.nan,
            source={
                "raw_uids": list(self.uids),
                "left_out": sorted(reasons),
                "left_out_because": {
                    reason: sorted(k for k, why in reasons.items() if why == reason)
                    for reason in sorted(set(reasons.values()))
                },
                "open_left_out": len(self.streams["open"]) - len(good_opens),
                "incident_left_out": len(self.streams["incident"]) - len(incident),
                "dark_subtracted": dark,
                "drift_rms": drift.rms,
                "d_r_measured": self.estimate_d_r(dark=dark),
                "pixel_um": None if self.metadata.board is None else self.metadata.board.pixel_um,
            },
        )

    def _dark_level(self, given: float | None) -> float:
        own = self.dark
        return own if own is not None else given or 0.0

    def _tile_exposures(self, stream: str, dark: float) -> list[Exposure]:
        """Exposures of a reference tile of usual I0, dark subtracted."""
        tile, patterns = self.streams[stream].values(), self.streams["primary"].values()
        return [subtract_dark(exposure, dark) for exposure in with_usual_intensity(list(tile), list(patterns))]

    def _incident_exposures(self, dark: float) -> dict[int, Exposure]:
        """Open-tile exposures with the object out, of usual I0 and alike, dark subtracted."""
        return dict(enumerate(agreeing(self._tile_exposures("incident", dark))))

    def _select(self, stream: str, dark: float, opens: list[Exposure]) -> tuple[dict[int, Exposure], dict[int, str]]:
        """Choose the valid exposure of each pattern of a stream, dark subtracted; give the reason if there is none."""
        every = {
            k: [subtract_dark(exposure, dark) for exposure in (*self._earlier.get((stream, k), ()), last)]
            for k, last in self.streams[stream].items()
        }
        return select_valid(every, opens)
