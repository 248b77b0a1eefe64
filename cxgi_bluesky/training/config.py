"""Everything that decides the outcome of a training, as read from a YAML file and kept in the model card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from .._files.yaml_file import read_yaml_file
from ..errors import ConfigError, CxgiError
from ..masks.transform import check_size
from ..reconstruction.ch_mwcnn.network import MAX_PASSES, MAX_WIDTH, NetworkConfig
from ..simulation.random_objects import FAMILIES
from .boards import BoardRanges

MAX_SEED = 10**13  # that of a batch is a million times larger, and torch takes 64 bits
MAX_RATE = 1.0
SNR_DB = (-100.0, 200.0)
MIN_SIZE = 8  # three wavelet levels
MAX_BOARD = 128  # the learned orders, which choose the tiles that are drawn, know no larger ones
MIN_PATTERNS = 8
_SPREADS = ("offset_rms", "offset_field")  # drawn evenly in their logarithm


def check_config(config: TrainingConfig) -> None:
    """Raise `CxgiError` for the first value that cannot be used."""
    _check_steps(config)
    _check_sizes(config)
    _check_objects(config)
    _check_sampling(config)
    _check_noise(config)
    _check_boards(config)
    _check_network(config)


def _refuse(key: str, value: Any, remedy: str) -> CxgiError:
    return ConfigError(f"{key} {value}: {remedy}")


def _check_steps(c: TrainingConfig) -> None:
    for key in ("steps", "batch", "check_every", "validation_objects"):
        _check_least(key, getattr(c, key), 1)
    for key in ("doubt_steps", "warm_up", "weight_decay"):
        _check_least(key, getattr(c, key), 0)
    _check_between("seed", c.seed, 0, MAX_SEED)
    if not 0 < c.learning_rate <= MAX_RATE:
        raise _refuse("learning_rate", c.learning_rate, f"give a positive number up to {MAX_RATE}, such as 0.001")
    if not 0 < c.last_learning_rate <= c.learning_rate:
        remedy = f"give a positive number, at most learning_rate ({c.learning_rate})"
        raise _refuse("last_learning_rate", c.last_learning_rate, remedy)
    if not 0 <= c.average < 1:
        raise _refuse("average", c.average, "give the share that stays at each step, 0 <= average < 1")


def _check_sizes(c: TrainingConfig) -> None:
    _check_shares("sizes", c.sizes)
    for size in c.sizes:
        check_size(size)
        if size < MIN_SIZE:
            raise _refuse("sizes", size, f"the network's three wavelet levels need at least {MIN_SIZE} pixels")
    if max(c.sizes) > max(c.objects.count, default=0):
        known = sorted(c.objects.count)
        raise ConfigError(f"size {max(c.sizes)} has no objects: objects.count has {known}, give it as many pixels")


def _check_objects(c: TrainingConfig) -> None:
    for size, count in c.objects.count.items():
        check_size(size)
        _check_least(f"objects.count[{size}]", count, 1)
    unknown = set(c.objects.families) - set(FAMILIES)
    if unknown:
        raise ConfigError(f"objects.families {sorted(unknown)} unknown: choose of {', '.join(FAMILIES)}")
    if c.objects.families:
        _check_shares("objects.families", c.objects.families)
    _check_share("objects.folder_share", c.objects.folder_share)


def _check_sampling(c: TrainingConfig) -> None:
    s = c.sampling
    low, high = s.fraction
    if not 0 < low <= high <= 1:
        raise ConfigError(f"sampling.fraction {s.fraction}: give two numbers, 0 < from <= to <= 1")
    if not 0 < s.usual <= 1:
        raise _refuse("sampling.usual", s.usual, "give a fraction, 0 < usual <= 1")
    for key in ("usual_share", "whole_share", "short_share"):
        _check_share(f"sampling.{key}", getattr(s, key))
    if s.usual_share + s.whole_share + s.short_share > 1:
        raise ConfigError(
            f"sampling.usual_share {s.usual_share} + whole_share {s.whole_share} + short_share {s.short_share} is more "
            "than 1: they are shares of all scans"
        )
    _check_least("sampling.shortest", s.shortest, MIN_PATTERNS)
    if s.shortest > min(c.sizes) ** 2:
        remedy = f"size {min(c.sizes)} has only {min(c.sizes) ** 2} patterns, give fewer"
        raise _refuse("sampling.shortest", s.shortest, remedy)


def _check_noise(c: TrainingConfig) -> None:
    low, high = c.noise.snr_db
    if low > high:
        raise _refuse("noise.snr_db", c.noise.snr_db, "give the lower bound first")
    if not SNR_DB[0] <= low <= high <= SNR_DB[1]:
        raise _refuse("noise.snr_db", c.noise.snr_db, f"give decibels between {SNR_DB[0]:g} and {SNR_DB[1]:g}")
    _check_between("noise.drift", c.noise.drift, 0, 1)  # relative
    _check_least("noise.sigma_error", c.noise.sigma_error, 0)


def _check_boards(c: TrainingConfig) -> None:
    b = c.boards
    for key in ("none", "reference"):
        _check_share(f"boards.{key}", getattr(b, key))
    if b.share > 1:
        raise ConfigError(
            f"boards.none {b.none} + reference {b.reference} is more than 1: they are shares of all steps, and the "
            "rest has perfect masks"
        )
    for size, count in b.count.items():
        check_size(size)
        _check_least(f"boards.count[{size}]", count, 0)
        if count and size > MAX_BOARD:
            raise _refuse(f"boards.count[{size}]", count, f"boards are drawn up to {MAX_BOARD} pixels a side")
        if count and not 2 * MIN_PATTERNS <= b.patterns.get(size, 0) <= size**2:
            found = b.patterns.get(size, "missing")
            raise _refuse(f"boards.patterns[{size}]", found, f"give {2 * MIN_PATTERNS} to {size**2} tiles")
    _check_between("boards.seed", b.seed, 100, MAX_SEED)  # the boards of the checks are those of seeds below
    for name, (low, high) in asdict(b.ranges).items():
        _check_range(name, low, high)


def _check_range(name: str, low: float, high: float) -> None:
    key, value = f"boards.ranges.{name}", (low, high)
    if low > high:
        raise _refuse(key, value, "give the lower bound first")
    if name == "d_r" and not 0 < low <= high <= 1:
        raise _refuse(key, value, "a modulation depth ratio lies above 0 and up to 1")
    if name in _SPREADS and low <= 0:
        raise _refuse(key, value, "it is drawn evenly in its logarithm: give numbers above 0, such as 0.001")
    if name != "offset" and low < 0:
        raise _refuse(key, value, "a size is not negative")


def _check_network(c: TrainingConfig) -> None:
    n = c.network
    for key in ("widths", "sigma_widths"):
        for width in getattr(n, key):
            _check_between(f"network.{key}", width, 1, MAX_WIDTH)
    _check_between("network.passes", n.passes, 1, MAX_PASSES)
    if n.wavelet == "haar":
        return
    from ..reconstruction.ch_mwcnn.layers import wavelet_matrix

    try:
        wavelet_matrix(MIN_SIZE, n.wavelet)
    except CxgiError as error:
        raise ConfigError(f"network.wavelet: {error}") from error


def _check_least(key: str, value: float, least: float) -> None:
    if not (math.isfinite(value) and value >= least):
        raise _refuse(key, value, f"give at least {least}")


def _check_between(key: str, value: float, least: float, most: float) -> None:
    _check_least(key, value, least)
    if value > most:
        raise _refuse(key, value, f"give at most {most}")


def _check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise _refuse(key, value, "give a share, 0 to 1")


def _check_shares(key: str, shares: Mapping[Any, float]) -> None:
    if not shares or min(shares.values()) < 0 or not math.fsum(shares.values()) > 0:
        raise _refuse(key, dict(shares), "give each a share of at least 0, and one more than that")


# ---------------------------------------------------------------- the configuration


Pair = tuple[float, float]
_WANTED = {
    str(int): "a whole number",
    str(float): "a number",
    str(bool): "true or false",
    str(str): "a word",
    str(Pair): "two numbers, such as [0.1, 0.5]",
    str(tuple[int, int, int]): "three whole numbers, such as [32, 48, 64]",
    str(str | None): "a path, or null",
    str(dict[int, int]): "sizes with whole numbers, such as {64: 24}",
    str(dict[int, float]): "sizes with shares, such as {64: 0.8, 32: 0.2}",
    str(dict[str, float]): "names with shares, such as {letters: 1}",
}


@dataclass(frozen=True)
class ObjectConfig:
    """Objects to train on.

    Attributes
    ----------
    count : dict
        Size to number of objects drawn of it; a size that is missing takes block averages of the next larger one.
    families : dict
        Family of `random_objects` to its share; empty: the shares given there.
    folder : str, optional
        Images of the user's own (.png, .npy, .tiff), cut at random places.
    folder_share : float
        How often an object comes from there.
    """

    count: dict[int, int] = field(default_factory=lambda: {64: 40000, 128: 4000, 256: 1000})
    families: dict[str, float] = field(default_factory=dict)
    folder: str | None = None
    folder_share: float = 0.3


@dataclass(frozen=True)
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
    """

    fraction: Pair = (0.03, 1.0)
    usual: float = 0.1875
    usual_share: float = 0.35
    whole_share: float = 0.1
    short_share: float = 0.1
    shortest: int = 24


@dataclass(frozen=True)
class NoiseConfig:
    """Errors of the buckets.

    Attributes
    ----------
    snr_db : (float, float)
        20 log10 of rms(measured coefficients without k = 0) / sigma.
    drift : float
        Largest rms of what drift has left in the buckets, relative.
    sigma_error : float
        Rms error of log(sigma) as the network is told it, half the time; 0 else.
    """

    snr_db: Pair = (0.0, 45.0)
    drift: float = 0.003
    sigma_error: float = 0.25


@dataclass(frozen=True)
class BoardConfig:
    """Etched boards.

    Attributes
    ----------
    count : dict
        Size to number of boards.
    patterns : dict
        Size to how many tiles of a board are drawn.
    none, reference : float
        How often masks are etched ones of which nothing is known, or a reference scan; the rest of the steps, and
        sizes without boards, have perfect masks.
    ranges : BoardRanges
    seed : int
        Of the first board; each further one counts up.
    """

    count: dict[int, int] = field(default_factory=lambda: {32: 24, 64: 24})
    patterns: dict[int, int] = field(default_factory=lambda: {32: 1024, 64: 1536})
    none: float = 0.2
    reference: float = 0.13
    ranges: BoardRanges = field(default_factory=BoardRanges)
    seed: int = 1000

    @property
    def share(self) -> float:
        """Of the steps, how many have etched masks."""
        return self.none + self.reference


@dataclass(frozen=True)
class TrainingConfig:
    """A training; see the fields' own types for what stands in its parts.

    Attributes
    ----------
    steps, doubt_steps : int
        For the pictures, then for the uncertainty alone.
    batch : int
        Images of 64 x 64 per step; larger ones are fewer (at least one), smaller ones twice as many at most.
    learning_rate, last_learning_rate : float
        Highest and last; cosine decay in between, after a linear rise over `warm_up` steps, for each part.
    weight_decay : float
        Of AdamW.
    average : float
        Share that stays at each step in the moving average of the weights, which is what is kept.
    bfloat16 : bool
        Whether convolutions run in half precision; a processor without it is faster with false.
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
    CxgiError
        For a value that cannot be used (`config_rules`).
    """

    steps: int = 24000
    doubt_steps: int = 3000
    batch: int = 16
    learning_rate: float = 1e-3
    last_learning_rate: float = 1e-5
    warm_up: int = 300
    weight_decay: float = 1e-4
    average: float = 0.999
    bfloat16: bool = True
    sizes: dict[int, float] = field(default_factory=lambda: {64: 0.6, 32: 0.2, 128: 0.13, 256: 0.07})
    objects: ObjectConfig = field(default_factory=ObjectConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    boards: BoardConfig = field(default_factory=BoardConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    validation_objects: int = 60
    check_every: int = 500
    start: str | None = None
    cache: str | None = None
    seed: int = 20261122

    def __post_init__(self) -> None:
        check_config(self)

    @property
    def all_steps(self) -> int:
        """Of both parts."""
        return self.steps + self.doubt_steps

    def to_dict(self) -> dict[str, Any]:
        """Plain values as JSON gives them back, without the folders of this machine."""
        words = asdict(self)
        words.pop("cache"), words.pop("start")
        words["objects"]["folder"] = None if self.objects.folder is None else "the user's own images"
        plain: dict[str, Any] = json.loads(json.dumps(words))
        return plain


def differing(then: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ between two `TrainingConfig.to_dict`.

    A part that only one of them has counts as a whole.

    Parameters
    ----------
    then, now : mapping
        The two configurations.
    where : str, optional
        What stands before each key (default: nothing).

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


def read_config(path: str | Path) -> TrainingConfig:
    """Read a YAML file; what it does not say keeps its default.

    Raises
    ------
    CxgiError
        If it cannot be read, or names something unknown or of another type.
    """
    words = read_yaml_file(path, "training configuration")
    try:
        config: TrainingConfig = _built(TrainingConfig, {} if words is None else words, "")
    except CxgiError as error:
        raise ConfigError(f"training configuration {path}: {error}") from error
    return config


def _built(kind: Any, words: Any, where: str) -> Any:
    """A dataclass from a mapping; names and types are checked."""
    if not isinstance(words, dict):
        raise ConfigError(f"{where or 'the file'} is {words!r}: give names with values")
    hints, known = get_type_hints(kind), {f.name for f in fields(kind)}
    unknown = set(words) - known
    if unknown:
        raise ConfigError(f"{where}{sorted(map(str, unknown))[0]} is unknown: choose of {', '.join(sorted(known))}")
    return kind(**{name: _value(hints[name], value, f"{where}{name}") for name, value in words.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _built(hint, value, f"{where}.")
    expected = str(hint)
    if expected.startswith("dict[") and isinstance(value, dict):
        key, item = hint.__args__
        return {_value(key, k, f"{where} key"): _value(item, v, f"{where}[{k}]") for k, v in value.items()}
    if expected.startswith("tuple[") and isinstance(value, list) and len(value) == len(hint.__args__):
        return tuple(_value(h, v, where) for h, v in zip(hint.__args__, value, strict=True))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    if expected.endswith("| None") and (value is None or isinstance(value, str)):
        return value
    if hint is float and isinstance(value, str) and _exponent_in_yaml(value):
        raise ConfigError(f"{where} {value!r} is a word to YAML: write {_exponent_in_yaml(value)}")
    raise ConfigError(f"{where} {value!r}: give {_WANTED.get(expected, f'something like {expected}')}")


def _exponent_in_yaml(text: str) -> str:
    """A number such as 1e-3 as YAML wants it, with a point and a sign; "" if the text is no such number."""
    mantissa, _, exponent = text.lower().partition("e")
    try:
        number, signed = float(text), f"{float(mantissa)}e{int(exponent):+d}"
    except ValueError:
        return ""
    plain = repr(number)
    return signed if "e" in plain or not math.isfinite(number) else f"{plain} or {signed}"
