"""Orders: rankings of all patterns, most important first.

A key decides every tie; u and v are the sequency of a pattern, its sign changes down the rows and
along the columns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, check_choice
from .transform import check_size, hadamard_matrix

Index = NDArray[np.int64]


def sequency(size: int) -> Index:
    """Sign changes along each row of ``hadamard(size)``, shape (size,)."""
    return np.count_nonzero(np.diff(hadamard_matrix(check_size(size)), axis=1), axis=1).astype(np.int64)


def sequency_grid(size: int) -> tuple[Index, Index]:
    """Sequencies (u, v) of every pattern_index, two arrays of shape (N,)."""
    s = sequency(size)
    return np.repeat(s, size), np.tile(s, size)


# ---------------------------------------------------------------- the orders


def _natural(size: int, seed: int | None) -> Index:
    """k itself."""
    return np.arange(size * size, dtype=np.int64)


def _zig_zag(size: int, seed: int | None) -> Index:
    """(u + v, abs(u - v), u)."""
    u, v = sequency_grid(size)
    return np.lexsort((u, np.abs(v - u), u + v))


def _cake_cutting(size: int, seed: int | None) -> Index:
    """((u + 1)(v + 1), u + v, u): the number of rectangles that the pattern is cut into."""
    u, v = sequency_grid(size)
    return np.lexsort((u, u + v, (u + 1) * (v + 1)))


def _russian_dolls(size: int, seed: int | None) -> Index:
    """By quarter-size level (all patterns of n/2 before those of n), then as cake-cutting."""
    u, v = sequency_grid(size)
    level = np.ceil(np.log2(np.maximum(u, v) + 1)).astype(np.int64)
    return np.lexsort((u, u + v, (u + 1) * (v + 1), level))


def _total_variation(size: int, seed: int | None) -> Index:
    """By the isotropic total variation of the pattern, then abs(u - v), then u.

    With n(u + v) unit edges, of which u v pairs meet in a corner, it is 2(n(u + v) - (2 - sqrt 2) u v).
    """
    u, v = sequency_grid(size)
    variation = size * (u + v) - (2 - np.sqrt(2)) * u * v
    return np.lexsort((u, np.abs(v - u), np.round(variation, 6)))


def _random(size: int, seed: int | None) -> Index:
    """Seeded, k = 0 first."""
    others = 1 + np.random.default_rng(seed).permutation(size * size - 1)
    return np.concatenate([[0], others]).astype(np.int64)


VARIABLE_DENSITY_KEPT = 64
VARIABLE_DENSITY_EXPONENT = 1.5


def _variable_density(size: int, seed: int | None) -> Index:
    """The 64 first of zig-zag, then a seeded draw without replacement, p ~ (rank in zig-zag)^-1.5."""
    ranked = _zig_zag(size, None)
    kept = min(VARIABLE_DENSITY_KEPT, len(ranked))
    rank = np.arange(kept, len(ranked)) + 1
    luck = np.random.default_rng(seed).gumbel(size=len(rank))  # the largest log p + Gumbel are such a draw
    drawn = np.argsort(VARIABLE_DENSITY_EXPONENT * np.log(rank) - luck, kind="stable")
    return np.concatenate([ranked[:kept], ranked[kept:][drawn]])


LEARNED_SIZE = 128
LEARNED_DENSITY_KEPT = 64


@lru_cache(maxsize=1)
def _load_power_table() -> NDArray[np.float64]:
    """log10 of the mean share of each sequency (u, v) in the power of random objects, shape (128, 128)."""
    with resources.files(__package__).joinpath("data", "learned_variance.npy").open("rb") as file:
        table: NDArray[np.float64] = np.load(file, allow_pickle=False).astype(np.float64)
    return table


def _log_share(size: int) -> NDArray[np.float64]:
    if size > LEARNED_SIZE:
        raise ConfigError(f"size {size}: the learned orders know sizes up to {LEARNED_SIZE}, choose another order")
    return _load_power_table()[sequency_grid(size)]


def power_share(size: int) -> NDArray[np.float64]:
    """Share of each pattern in the power of random objects, shape (N,): 0 for k = 0, which is always measured.

    Parameters
    ----------
    size : int
        Pixels per side n. Beyond 128 pixels, where nothing was learned, the share falls as
        ((u + 1)(v + 1))^-2 with the sequencies u, v, as it does for an object with edges.
    """
    if size > LEARNED_SIZE:
        u, v = sequency_grid(size)
        share = 1.0 / ((u + 1.0) * (v + 1.0)) ** 2
    else:
        share = 10.0 ** _log_share(size)
    share[0] = 0.0
    share /= share.sum()
    return share


def _rank_by_power(size: int, seed: int | None) -> Index:
    """By the mean power of the coefficient over random objects (drawn shapes, text, phantoms, photographs)."""
    u, v = sequency_grid(size)
    return np.lexsort((u, u + v, -_log_share(size)))


def _draw_by_power(size: int, seed: int | None) -> Index:
    """The 64 first of learned, then a seeded draw without replacement, p ~ that mean power."""
    ranked, share = _rank_by_power(size, None), _log_share(size)
    kept = min(LEARNED_DENSITY_KEPT, len(ranked))
    luck = np.random.default_rng(seed).gumbel(size=len(ranked) - kept)
    drawn = np.argsort(-(np.log(10) * share[ranked[kept:]] + luck), kind="stable")
    return np.concatenate([ranked[:kept], ranked[kept:][drawn]])


ORDERS: dict[str, Callable[[int, int | None], Index]] = {
    "natural": _natural,
    "zig-zag": _zig_zag,
    "cake-cutting": _cake_cutting,
    "russian-dolls": _russian_dolls,
    "total-variation": _total_variation,
    "random": _random,
    "variable-density": _variable_density,
    "learned": _rank_by_power,
    "learned-density": _draw_by_power,
}
DEFAULT_ORDER = "zig-zag"  # docs/decisions/0011: the fewest edges, the best images on masks with etching defects
SEEDED = ("random", "variable-density", "learned-density")


@lru_cache(maxsize=16)
def ranking(order: str, size: int, seed: int | None = None) -> Index:
    """All N pattern indices, most important first, shape (N,), read-only.

    Parameters
    ----------
    order : str
        One of `ORDERS`.
    size : int
        Pixels per side n, a power of two in 2..1024 (up to 128 for the learned orders); N = n * n.
    seed : int, optional
        For the orders in `SEEDED`, which need one.

    Raises
    ------
    CxgiError
        For an unknown order, or a seed that is missing (seeded orders) or not used (others).
    """
    check_size(size)
    check_choice("order", order, ORDERS)
    if (order in SEEDED) != (seed is not None):
        raise ConfigError(f"order {order!r} with seed {seed!r}: {', '.join(SEEDED)}, and only they, take a seed")
    indices = ORDERS[order](size, seed)
    indices.setflags(write=False)
    return indices
