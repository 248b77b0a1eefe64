"""Everything that decides the outcome of a training: read from a YAML file and stored in the model card."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .._files.yaml_file import name_first_error, read_yaml_file
from ..errors import ConfigError, CxgiError
from ..masks.transform import check_size
from ..reconstruction.ch_mwcnn.network import MAX_PASSES, MAX_WIDTH, NetworkConfig
from ..simulation.random_objects import FAMILIES

MAX_SEED = 10**13  # that of a batch is a million times larger, and torch takes 64 bits
MIN_SIZE = 8  # three wavelet levels
MAX_BOARD = 128  # the learned orders, which choose the tiles that are drawn, know no larger ones
MIN_PATTERNS = 8
WANTED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a word",
    tuple[float, float]: "two numbers, such as [0.1, 0.5]",
    tuple[int, int, int]: "three whole numbers, such as [32, 48, 64]",
    str | None: "a path, or null",
    dict[int, int]: "sizes with whole numbers, such as {64: 24}",
    dict[int, float]: "sizes with shares, such as {64: 0.8, 32: 0.2}",
    dict[str, float]: "names with shares, such as {letters: 1}",
}


def _rule(holds: Callable[[Any], bool], remedy: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"{value}: {remedy}")
        return value

    return AfterValidator(check)


_CONFIG = ConfigDict(extra="forbid")
_LIST = BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)
_SHARES = _rule(
    lambda v: not v or (min(v.values()) >= 0 and max(v.values()) > 0),
    "give each a share of at least 0, and one more than that",
)
Name = Annotated[str, Field(strict=True)]
Device = Annotated[Name, _rule(lambda v: v in ("auto", "cpu", "cuda"), "choose auto, cpu or cuda")]
Whole = Annotated[int, Field(strict=True)]
Positive = Annotated[Whole, Field(ge=1)]
NotNegative = Annotated[Whole, Field(ge=0)]
Width = Annotated[Whole, Field(ge=1, le=MAX_WIDTH)]
Widths = Annotated[tuple[Width, Width, Width], Field(strict=True), _LIST]
Size = Annotated[Whole, AfterValidator(check_size)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Share = Annotated[Number, _rule(lambda v: 0 <= v <= 1, "give a share, 0 to 1")]
Pair = Annotated[tuple[Number, Number], Field(strict=True), _LIST]
Fractions = Annotated[Pair, _rule(lambda v: 0 < v[0] <= v[1] <= 1, "give two numbers, 0 < from <= to <= 1")]
Range = Annotated[Pair, _rule(lambda v: v[0] <= v[1], "give the lower bound first")]
Decibels = Annotated[Range, _rule(lambda v: v[0] >= -100 and v[1] <= 200, "give decibels between -100 and 200")]
Extent = Annotated[Range, _rule(lambda v: v[0] >= 0, "a size is not negative")]
Spread = Annotated[
    Range, _rule(lambda v: v[0] > 0, "it is drawn evenly in its logarithm: give numbers above 0, such as 0.001")
]
Depth = Annotated[Range, _rule(lambda v: v[0] > 0 and v[1] <= 1, "a modulation depth ratio lies above 0 and up to 1")]
Retained = Annotated[Number, _rule(lambda v: 0 <= v < 1, "give the share that stays at each step, 0 <= average < 1")]
Rate = Annotated[Number, _rule(lambda v: 0 < v <= 1, "give a positive number up to 1.0, such as 0.001")]


def _check_families(families: dict[str, float]) -> dict[str, float]:
    unknown = set(families) - set(FAMILIES)
    if unknown:
        raise ConfigError(f"objects.families {sorted(unknown)} unknown: choose of {', '.join(FAMILIES)}")
    return families


@dataclass(frozen=True, config=_CONFIG)
class ObjectConfig:
    """Objects to train on.

    Attributes
    ----------
    count : dict
        Size to number of objects drawn of it; a size that is missing takes block averages of the next larger one.
    families : dict
        Family of `random_objects` to its share; empty: the shares given there.
    folder : str, optional
        Images of the user's own (.png, .npy, .tiff), cut at random positions.
    folder_share : float
        How often an object comes from there.
    """

    count: dict[Size, Positive] = field(default_factory=lambda: {64: 40000, 128: 4000, 256: 1000})
    families: Annotated[dict[Name, Number], AfterValidator(_check_families), _SHARES] = field(default_factory=dict)
    folder: Name | None = None
    folder_share: Share = 0.3

    @property
    def shares(self) -> dict[str, float]:
        """Share of each family, those of `random_objects` where none are given."""
        return dict(sorted((self.families or {name: share for name, (share, _) in FAMILIES.items()}).items()))


@dataclass(frozen=True, config=_CONFIG)
class SamplingConfig:
    """Which patterns are measured.

    Attributes
    ----------
    fraction : (float, float)
        Range of the sampling fraction, evenly in its logarithm.
    usual, usual_share : float
        One fraction, and how often it is taken.
    whole_share : float
        How often all patterns are measured.
    short_share, shortest : float, int
        How often a scan has only begun, and its fewest patterns.
    chosen_share : float
        How often most patterns are chosen by what the object holds, as an adaptive scan chooses them.
    """

    fraction: Fractions = (0.03, 1.0)
    usual: Annotated[Number, _rule(lambda v: 0 < v <= 1, "give a fraction, 0 < usual <= 1")] = 0.1875
    usual_share: Share = 0.35
    whole_share: Share = 0.1
    short_share: Share = 0.1
    shortest: Annotated[Whole, Field(ge=MIN_PATTERNS)] = 24
    chosen_share: Share = 0.15

    def __post_init__(self) -> None:
        if self.usual_share + self.whole_share + self.short_share > 1:
            raise ConfigError(
                f"sampling.usual_share {self.usual_share} + whole_share {self.whole_share} + short_share "
                f"{self.short_share} is more than 1: they are shares of all scans"
            )


@dataclass(frozen=True, config=_CONFIG)
class NoiseConfig:
    """Errors of the buckets.

    Attributes
    ----------
    snr_db : (float, float)
        20 log10 of rms(measured coefficients without k = 0) / sigma.
    drift : float
        Largest rms of what drift has left in the buckets, relative.
    sigma_error : float
        Rms error of log(sigma) as given to the network, half the time; 0 else.
    """

    snr_db: Decibels = (0.0, 60.0)
    drift: Annotated[Number, Field(ge=0, le=1)] = 0.003
    sigma_error: Annotated[Number, Field(ge=0)] = 0.25


@dataclass(frozen=True, config=_CONFIG)
class BoardRanges:
    """From which to which size each defect is drawn, in mask pixels; spreads evenly in their logarithm.

    The simulated copper and gold boards lie inside: corners 0.27 and 0.2, walls 0.1 and 0.2, over-etching 0.07 and 0
    with a spread of 0.023 and 0.08 from tile to tile and 0.033 and 0.08 over a tile, stage 0.033 and 0.05.
    """

    corner: Extent = (0.05, 0.35)
    side_wall: Extent = (0.1, 0.3)
    offset: Range = (-0.08, 0.12)
    offset_rms: Spread = (0.008, 0.1)
    offset_field: Spread = (0.01, 0.1)
    thickness_rms: Extent = (0.0, 0.04)
    stage_rms: Extent = (0.0, 0.08)
    d_r: Depth = (0.7, 0.97)


@dataclass(frozen=True, config=_CONFIG)
class BoardConfig:
    """Etched boards.

    Attributes
    ----------
    count : dict
        Size to number of boards.
    patterns : dict
        Size to how many tiles of a board are drawn.
    none, reference : float
        How often masks are etched and nothing is known of them, or a reference scan; the rest of the steps, and
        sizes without boards, have perfect masks.
    ranges : BoardRanges
    seed : int
        Of the first board; each further one counts up.
    """

    count: dict[Size, NotNegative] = field(default_factory=lambda: {32: 24, 64: 24})
    patterns: dict[Whole, Whole] = field(default_factory=lambda: {32: 1024, 64: 1536})
    none: Share = 0.2
    reference: Share = 0.13
    ranges: BoardRanges = field(default_factory=BoardRanges)
    seed: Annotated[Whole, Field(ge=100, le=MAX_SEED)] = 1000  # the boards of the checks are those of seeds below

    def __post_init__(self) -> None:
        if self.share > 1:
            raise ConfigError(
                f"boards.none {self.none} + reference {self.reference} is more than 1: they are shares of all steps, "
                "and the rest has perfect masks"
            )
        for size, count in self.count.items():
            if count and size > MAX_BOARD:
                raise ConfigError(f"boards.count[{size}] {count}: boards are drawn up to {MAX_BOARD} pixels a side")
            found = self.patterns.get(size, "missing")
            if count and (found == "missing" or not 2 * MIN_PATTERNS <= self.patterns[size] <= size**2):
                raise ConfigError(f"boards.patterns[{size}] {found}: give {2 * MIN_PATTERNS} to {size**2} tiles")

    @property
    def share(self) -> float:
        """Of the steps, how many have etched masks."""
        return self.none + self.reference


def _check_wavelet(name: str) -> str:
    from ..reconstruction.ch_mwcnn.layers import wavelet_matrix

    try:
        wavelet_matrix(MIN_SIZE, name)
    except CxgiError as error:
        raise ConfigError(f"network.wavelet: {error}") from error
    return name


class _Network(BaseModel):
    """`NetworkConfig` with its limits."""

    model_config = _CONFIG

    wavelet: Annotated[Name, AfterValidator(_check_wavelet)]
    widths: Widths
    passes: Annotated[Whole, Field(ge=1, le=MAX_PASSES)]
    sigma_widths: Widths
    repeats: Annotated[Whole, Field(ge=1, le=MAX_PASSES)]
    blocks: Annotated[Whole, Field(ge=0, le=MAX_PASSES)]
    memory: Annotated[bool, Field(strict=True)]


def _check_network(value: Any) -> Any:
    given = value.to_dict() if isinstance(value, NetworkConfig) else value
    if not isinstance(given, dict):
        return given
    return NetworkConfig(**_Network.model_validate(NetworkConfig().to_dict() | given).model_dump())


@dataclass(frozen=True, config=_CONFIG)
class TrainingConfig:
    """A training; see the types of the fields for its parts.

    Attributes
    ----------
    steps, uncertainty_steps : int
        For the images, then for the uncertainty alone.
    batch : int
        Images of 64 x 64 per step; larger ones are fewer (at least one), smaller ones twice as many at most.
    learning_rate, last_learning_rate : float
        Highest and last; a linear rise over `warm_up` steps, then the highest until it comes down, for each part.
    weight_decay : float
        Of AdamW.
    average : float
        Share that stays at each step in the moving average of the weights, which is what is stored.
    decay : float
        Share of the steps, at the end of each part, in which the learning rate comes down.
    bfloat16 : bool
        Whether convolutions run in half precision; a processor without it is faster with false.
    device : {"auto", "cpu", "cuda"}
        Where batches are simulated and the network is trained; "auto": on a graphics card where there is one.
    sizes : dict
        Size to its share of the steps.
    validation_objects, check_every : int
        Images of each check (of 64 x 64; fewer of larger ones), and steps from one check to the next.
    start : str, optional
        Weights to begin with.
    cache : str, optional
        Folder of drawn objects and boards; by default the user's cache folder.
    seed : int
        Of everything random.

    Raises
    ------
    pydantic.ValidationError
        For a value that cannot be used.
    """

    steps: Positive = 24000
    uncertainty_steps: NotNegative = 3000
    batch: Positive = 16
    learning_rate: Rate = 1e-3
    last_learning_rate: Number = 1e-5
    warm_up: NotNegative = 300
    weight_decay: Annotated[Number, Field(ge=0)] = 1e-4
    average: Annotated[
        Number, _rule(lambda v: 0 <= v < 1, "give the share that stays at each step, 0 <= average < 1")
    ] = 0.999
    decay: Share = 0.5
    bfloat16: Annotated[bool, Field(strict=True)] = True
    device: Device = "auto"
    sizes: Annotated[dict[Size, Number], Field(min_length=1), _SHARES] = field(
        default_factory=lambda: {64: 0.55, 32: 0.16, 16: 0.05, 128: 0.14, 256: 0.1}
    )
    objects: ObjectConfig = field(default_factory=ObjectConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    boards: BoardConfig = field(default_factory=BoardConfig)
    network: Annotated[NetworkConfig, BeforeValidator(_check_network)] = field(default_factory=NetworkConfig)
    validation_objects: Positive = 60
    check_every: Positive = 500
    start: Name | None = None
    cache: Name | None = None
    seed: Annotated[Whole, Field(ge=0, le=MAX_SEED)] = 20261122

    def __post_init__(self) -> None:
        if not 0 < self.last_learning_rate <= self.learning_rate:
            raise ConfigError(
                f"last_learning_rate {self.last_learning_rate}: give a positive number, at most learning_rate "
                f"({self.learning_rate})"
            )
        smallest, largest = min(self.sizes), max(self.sizes)
        if smallest < MIN_SIZE:
            raise ConfigError(f"sizes {smallest}: the network's three wavelet levels need at least {MIN_SIZE} pixels")
        if largest > max(self.objects.count, default=0):
            known = sorted(self.objects.count)
            raise ConfigError(f"size {largest} has no objects: objects.count has {known}, give it as many pixels")
        if self.sampling.shortest > smallest**2:
            raise ConfigError(
                f"sampling.shortest {self.sampling.shortest}: size {smallest} has only {smallest**2} patterns, "
                "give fewer"
            )

    @property
    def all_steps(self) -> int:
        """Of both parts."""
        return self.steps + self.uncertainty_steps

    def to_dict(self) -> dict[str, Any]:
        """Plain values as JSON gives them back, without the folders and the device of this machine."""
        values = asdict(self)
        for key in ("cache", "start", "device"):
            values.pop(key)
        values["objects"]["folder"] = None if self.objects.folder is None else "the user's own images"
        values["objects"]["families"] = self.objects.shares
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain


def differing(then: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the keys whose values differ between two `TrainingConfig.to_dict`.

    A part that only one of them has counts as a whole.

    Parameters
    ----------
    then, now : mapping
        The two configurations.
    where : str, optional
        Put before each key (default: nothing).

    Returns
    -------
    dict of str to (value, value)
        Key, such as ``noise.drift``, to both values.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys((*then, *now)):
        old, new = then.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and key not in ("sizes", "count", "patterns", "families"):
            found |= differing(old, new, f"{where}{key}.")
        elif old != new:
            found[f"{where}{key}"] = (old, new)
    return found


def rename_old_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keys of an earlier release, in a YAML file or a checkpoint, their names of today."""
    return {"uncertainty_steps" if key == "doubt_steps" else key: value for key, value in values.items()}


def read_config(path: str | Path) -> TrainingConfig:
    """Read a YAML file; missing keys keep their defaults.

    Raises
    ------
    CxgiError
        If it cannot be read, or names something unknown or of another type.
    """
    values = read_yaml_file(path, "training configuration")
    if isinstance(values, dict) and "doubt_steps" in values and "uncertainty_steps" not in values:
        warnings.warn("doubt_steps is now uncertainty_steps", FutureWarning, stacklevel=2)
        values = rename_old_keys(values)
    try:
        return TypeAdapter(TrainingConfig).validate_python({} if values is None else values)
    except ValidationError as error:
        reason = name_first_error(error, TrainingConfig, WANTED)
        raise ConfigError(f"training configuration {path}: {reason}") from error
