"""Simulated measurements of a batch of objects as the network gets them: patterns, boards, noise and drift."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..masks.orders import ranking, sequency_grid
from ..reconstruction.ch_mwcnn.inputs import MASK_UNCERTAINTY, NetworkInput, normalize
from ..reconstruction.ch_mwcnn.layers import orthonormal_hadamard, tables
from ..reconstruction.error_model.common_mode import MASK_LEVEL
from ..reconstruction.error_model.noise import error_shares
from .boards import DrawnBoard
from .config import MIN_PATTERNS, NoiseConfig, SamplingConfig

# ---------------------------------------------------------------- which patterns, in which order


_ORDERS = ("cake-cutting", "zig-zag", "russian-dolls")
_UNORDERED_SHARE = 0.05  # of the scans: natural order or plainly random
_JITTERED_SHARE = 0.5
_JITTER = (0.015, 0.3)  # of the key's range; zig-zag's and learned density lie at about 0.07 to 0.12
_KEPT = 1 / 64  # of all patterns, which variable density takes for certain half the time
_BEGINNING = (0.08, 0.6)  # of a scan that chooses patterns by its object, the share before it chooses
_CHOSEN_LATER = 0.75  # of the patterns after that; the others follow the order
_EXPECTATION_ERROR = (0.02, 1.0)  # in what is expected of a coefficient of that sequency
_EXPECTED_FALL = 8.0  # log of the expected coefficient from the coarsest pattern to the finest


class Selection(NamedTuple):
    """Patterns of a batch of scans.

    Attributes
    ----------
    measured : Tensor, shape (b, 1, n, n)
        1 or 0.
    rank : Tensor of int64, shape (b, 1, n, n)
        Position in the scan; beyond all measured ones where not measured.
    """

    measured: Tensor
    rank: Tensor


def random_fractions(generator: torch.Generator, batch: int, size: int, config: SamplingConfig) -> Tensor:
    """Sampling fractions, shape (batch,).

    Parameters
    ----------
    generator : torch.Generator
        Source of everything random; the fractions are on its device.
    batch : int
        Scans.
    size : int
        Pixels per side n: a fraction of 1 is n * n patterns.
    config : SamplingConfig
    """
    low, high = (math.log(f) for f in config.fraction)
    fraction = torch.exp(low + (high - low) * _rand(generator, batch))
    luck = _rand(generator, batch)
    fraction = torch.where(luck < config.usual_share, torch.full_like(fraction, config.usual), fraction)
    whole = (luck >= config.usual_share) & (luck < config.usual_share + config.whole_share)
    fraction = torch.where(whole, torch.ones_like(fraction), fraction)
    shortest = min(math.log(config.shortest / size**2), low)
    short = torch.exp(shortest + (low - shortest) * _rand(generator, batch))
    return torch.where(luck > 1 - config.short_share, short, fraction)


def _rand(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)


def _randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def random_selection(
    generator: torch.Generator,
    size: int,
    fraction: Tensor,
    available: Tensor | None = None,
    *,
    exact: Tensor | None = None,
    chosen_share: float = 0.0,
) -> Selection:
    """Random but sensible choices of patterns.

    Each scan ranks the patterns by a mixture of the keys of cake-cutting, zig-zag and russian dolls, half of them with
    jitter (variable density), so that the network meets no single order only. Some scans choose most of their later
    patterns by the object itself, as an adaptive scan does.

    Parameters
    ----------
    generator : torch.Generator
        Source of everything random; all tensors are on its device.
    size : int
    fraction : Tensor, shape (b,)
    available : Tensor of int64, shape (M,), optional
        Patterns that can be measured, k = 0 among them; by default all. k = 0 is always measured.
    exact : Tensor, shape (b, 1, n, n), optional
        Coefficients of the objects, needed where patterns are chosen by them.
    chosen_share : float, optional
        Share of the scans that do; 0 by default.
    """
    batch, keys = len(fraction), _keys(size, generator.device)
    if available is not None:
        keys = keys[:, available]
    key = _mixture(generator, batch) @ keys
    jitter = _jitter(generator, batch)[:, None]
    uniform = _rand(generator, *key.shape, dtype=torch.float64)
    certain = _rand(generator, batch, 1) < 0.5
    unordered = _rand(generator, batch, 1)
    kept = int(size * size * _KEPT)
    jittered = key - jitter * torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
    if 0 < kept < key.shape[1]:
        first = key.kthvalue(kept, dim=1, keepdim=True).values
        jittered = torch.where(certain & (key <= first), key - 10, jittered)
    key = torch.where(jitter > 0, jittered, key)
    natural = torch.arange(key.shape[1], device=key.device).double()
    key = torch.where(unordered < _UNORDERED_SHARE, uniform, key)
    key = torch.where(unordered < _UNORDERED_SHARE / 2, natural, key)
    opened = 0 if available is None else int((available == 0).nonzero())
    if exact is not None and chosen_share > 0:
        coefficients = exact.flatten(1).clone() if available is None else exact.flatten(1)[:, available]
        coefficients[:, opened] = 0
        by_object = _rand(generator, batch, 1) < chosen_share
        chosen = _chosen_by_object(generator, key, coefficients, keys[1], fraction * size**2)
        key = torch.where(by_object, chosen, key)
    key[:, opened] = -math.inf
    return _first_of(key, fraction, size, available)


def _mixture(generator: torch.Generator, batch: int) -> Tensor:
    """Share of each order in the key of each scan, half of them of one order alone, (b, 3)."""
    mixture = _rand(generator, batch, 3) ** 2 * torch.tensor([1.0, 1.0, 0.3], device=generator.device)
    pure = torch.multinomial(torch.tensor([0.45, 0.45, 0.1], device=generator.device), batch, True, generator=generator)
    alone = torch.nn.functional.one_hot(pure, 3).float()
    mixture = torch.where(_rand(generator, batch, 1) < 0.5, alone, mixture).double()
    return mixture / mixture.sum(dim=1, keepdim=True)


def _jitter(generator: torch.Generator, batch: int) -> Tensor:
    low, high = (math.log(j) for j in _JITTER)
    jitter = torch.exp(low + (high - low) * _rand(generator, batch))
    return jitter * (_rand(generator, batch) < _JITTERED_SHARE)


def _chosen_by_object(
    generator: torch.Generator, key: Tensor, coefficients: Tensor, total: Tensor, count: Tensor
) -> Tensor:
    """Keys of scans that begin in an order and then take most patterns where they expect large coefficients.

    What they expect is the coefficient with an error that falls with the sequency as coefficients do: none for an
    oracle, large for who has seen little yet.
    """
    batch = len(key)
    expected = torch.exp(-_EXPECTED_FALL * total)
    power = coefficients.square().sum(dim=1, keepdim=True) / expected.square().sum()
    low, high = (math.log(e) for e in _EXPECTATION_ERROR)
    error = torch.exp(low + (high - low) * _rand(generator, batch, 1)) * power.sqrt() * expected
    guess = (coefficients + error * _randn(generator, *coefficients.shape)).abs()
    by_order, by_guess = (_position(values).double() for values in (key, -guess))
    beginning = by_order - key.shape[1]  # before all others
    mixed = torch.minimum(by_order / (1 - _CHOSEN_LATER), by_guess / _CHOSEN_LATER)
    low, high = _BEGINNING
    first = (low + (high - low) * _rand(generator, batch, 1)) * count[:, None]
    return torch.where(by_order < first, beginning, mixed)


def _position(key: Tensor) -> Tensor:
    """Place of each pattern when they are sorted by their keys, (b, M)."""
    order = key.argsort(dim=1)
    places = torch.arange(key.shape[1], device=key.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _first_of(key: Tensor, fraction: Tensor, size: int, available: Tensor | None) -> Selection:
    """The patterns of the lowest keys."""
    batch, most = key.shape
    count = (fraction * size * size).round().clamp(min=MIN_PATTERNS, max=most).long()
    on_cpu = key.device.type == "cpu"  # where numpy sorts several times as fast
    order = torch.from_numpy(np.argsort(key.numpy(), axis=1)) if on_cpu else key.argsort(dim=1)
    if available is not None:
        order = available[order]
    position = torch.arange(most, device=key.device).expand(batch, -1)
    rank = torch.full((batch, size * size), size * size - 1, device=key.device).scatter_(1, order, position)
    measured = key.new_zeros((batch, size * size), dtype=torch.float32)
    measured.scatter_(1, order, (position < count[:, None]).float())
    shape = (batch, 1, size, size)
    return Selection(measured.reshape(shape), rank.reshape(shape))


@lru_cache(maxsize=16)
def _keys(size: int, device: torch.device) -> Tensor:
    """Keys of cake-cutting, zig-zag and russian dolls, 0..1, shape (3, N), float64.

    Ties are broken by each order's own rule, in steps too small to matter in a mixture.
    """
    u, v = sequency_grid(size)
    product, total = np.log1p(u) + np.log1p(v), np.log1p(u + v)
    level = np.ceil(np.log2(np.maximum(u, v) + 1)) + 0.1 * product / product.max()
    keys = np.stack([key / key.max() for key in (product, total, level)])
    for key, name in zip(keys, _ORDERS, strict=True):
        ranked = ranking(name, size)
        key[ranked] = np.maximum.accumulate(key[ranked]) + np.linspace(0, 1e-9, len(ranked))
    return torch.from_numpy(keys).to(device)


# ---------------------------------------------------------------- measurements


Etched = Literal["none", "reference"]  # what is known of etched masks
Masks = Etched | Literal["perfect"]

_TOWARDS_NOISE = 2.0  # low signal-to-noise ratios come more often: half of them in the lowest quarter of their range
_OPEN_NOISE = (0.1, 1.2)  # sigma of b_0's error in all coefficients, in their own sigma
_DRIFT_LENGTH = (50.0, 500.0)  # exposures
_REFERENCE_SHARE = 0.3  # of binary scans with perfect masks
_REFERENCE_NOISE = (0.1, 1.0)  # sigma that a reference scan adds, in that of the scan: more light passes without object
_BOARD_SNR_DB = 2.0  # below it boards cannot be distinguished from noise


@dataclass(frozen=True, eq=False)
class Batch:
    """Simulated measurements with their truth, shape (b, 1, n, n)."""

    truth: Tensor
    given: NetworkInput

    def part(self, rows: slice | Tensor) -> Batch:
        """Some of them."""
        return Batch(self.truth[rows], self.given.part(rows))

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return Batch(self.truth.to(device), self.given.to(device))


@dataclass(frozen=True, eq=False)
class _Buckets:
    """Orthonormal coefficients as measured, and sigma of what b_0's error adds to all of them."""

    coefficient: Tensor
    sigma_open: Tensor  # (b, 1, 1, 1)


def simulate(
    images: Tensor,
    masks: Masks,
    generator: torch.Generator,
    *,
    sampling: SamplingConfig,
    noise: NoiseConfig,
    board: DrawnBoard | None = None,
) -> Batch:
    """Measure images at random fractions and noise levels; all of them with the same kind of masks.

    Parameters
    ----------
    images : Tensor, shape (b, 1, n, n)
        True images (0..1).
    masks : {"perfect", "none", "reference"}
        As designed, or etched with nothing known of them, or with a reference scan.
    generator : torch.Generator
        Source of everything random, on the device of the images.
    sampling : SamplingConfig
    noise : NoiseConfig
    board : DrawnBoard, optional
        With the etched masks, of the same size (default: masks as designed).
    """
    batch, size = images.shape[0], images.shape[-1]
    fraction = random_fractions(generator, batch, size, sampling)
    only = None if board is None or masks == "perfect" else board.pattern_index
    exact = orthonormal_hadamard(images)
    share = sampling.chosen_share
    selection = random_selection(generator, size, fraction, only, exact=exact, chosen_share=share)
    if board is None or masks == "perfect":
        return _with_perfect_masks(images, exact, selection, generator, noise)
    return _with_board(images, exact, selection, generator, noise, board, masks)


def _with_perfect_masks(
    images: Tensor, exact: Tensor, chosen: Selection, generator: torch.Generator, noise: NoiseConfig
) -> Batch:
    """Half of them signed; the others binary, whose common error is taken off as that of any binary measurement is."""
    batch = len(images)
    binary = (_rand(generator, batch, 1, 1, 1) < 0.5).float()
    known = (_rand(generator, batch, 1, 1, 1) < _REFERENCE_SHARE).float()  # by a reference scan
    sigma = _sigma(exact, chosen.measured, generator, noise.snr_db)
    buckets = _noisy(exact, chosen, generator, sigma, binary)
    light = binary * MASK_LEVEL * exact[..., :1, :1].abs()
    constant = torch.hypot(buckets.sigma_open, known * light)
    cleaned = without_common(buckets.coefficient, chosen.measured, constant, (1 - known) * light)
    mask_uncertainty = (binary * (1 - known / 2))[:, 0, 0, 0]
    variance = (sigma**2 * _draw_factor(batch, generator, noise.sigma_error)).expand_as(exact)
    return Batch(images, normalize(cleaned, chosen.measured, variance, mask_uncertainty=mask_uncertainty))


def _with_board(
    images: Tensor,
    exact: Tensor,
    chosen: Selection,
    generator: torch.Generator,
    noise: NoiseConfig,
    board: DrawnBoard,
    masks: Etched,
) -> Batch:
    measured, batch, size = chosen.measured, len(images), board.size
    passed = board.on_grid(images.flatten(1) @ board.masks.float().T / size)
    low, high = (max(_BOARD_SNR_DB, snr_db) for snr_db in noise.snr_db)
    sigma = _sigma(exact, measured, generator, (low, high))
    level = exact[..., :1, :1]
    drifted = passed + _drift(chosen, generator, noise.drift) * (passed + board.open_part * level)
    if masks == "reference":
        low, high = _REFERENCE_NOISE
        sigma = torch.hypot(sigma, sigma * (low + (high - low) * _rand(generator, batch, 1, 1, 1)))
    buckets = _noisy(drifted, chosen, generator, sigma, torch.ones_like(sigma))
    coefficient = buckets.coefficient
    light = MASK_LEVEL * board.open_part * level.abs()
    constant, edges = buckets.sigma_open, light
    if masks == "reference":
        coefficient = coefficient - reference_excess(coefficient, measured, board)
        constant, edges = torch.hypot(constant, light), torch.zeros_like(light)
    coefficient = without_common(coefficient, measured, constant, edges)
    variance = _vary_variance(coefficient - exact - buckets.coefficient + drifted, sigma, measured, masks, generator)
    mask_uncertainty = torch.full((batch,), MASK_UNCERTAINTY[masks], device=images.device)
    return Batch(images, normalize(coefficient, measured, variance, mask_uncertainty=mask_uncertainty))


def _sigma(exact: Tensor, measured: Tensor, generator: torch.Generator, snr_db: tuple[float, float]) -> Tensor:
    signal = exact * measured
    signal[..., 0, 0] = 0
    rms = (signal.square().sum(dim=(1, 2, 3)) / measured.sum(dim=(1, 2, 3))).sqrt()
    drawn = snr_db[0] + (snr_db[1] - snr_db[0]) * _rand(generator, len(exact)) ** _TOWARDS_NOISE
    return (rms * 10 ** (-drawn / 20))[:, None, None, None]


def _noisy(passed: Tensor, chosen: Selection, generator: torch.Generator, sigma: Tensor, binary: Tensor) -> _Buckets:
    low, high = _OPEN_NOISE
    sigma_open = binary * sigma * (low + (high - low) * _rand(generator, *sigma.shape))
    errors = sigma * _randn(generator, *passed.shape)
    common = sigma_open * _randn(generator, *sigma.shape)
    common = common.expand_as(passed).clone()
    common[..., 0, 0] = 0
    return _Buckets((passed + errors + common) * chosen.measured, sigma_open)


def _drift(chosen: Selection, generator: torch.Generator, largest: float) -> Tensor:
    """Relative error of each bucket, correlated along the scan, (b, 1, n, n)."""
    batch, count = len(chosen.rank), chosen.rank[0].numel()
    low, high = (math.log(length) for length in _DRIFT_LENGTH)
    length = torch.exp(low + (high - low) * _rand(generator, batch, 1))
    spectrum = torch.fft.rfft(_randn(generator, batch, count))
    frequency = torch.fft.rfftfreq(count, device=generator.device)
    spectrum = spectrum / torch.sqrt(1 + (2 * math.pi * frequency * length) ** 2)
    course = torch.fft.irfft(spectrum, n=count)
    course = course / course.std(dim=1, keepdim=True).clamp(min=1e-9) * _rand(generator, batch, 1)
    drift = largest * course.gather(1, chosen.rank.flatten(1)).reshape(chosen.rank.shape)
    drift[..., 0, 0] = 0  # the open exposure, repeated during a scan, is what the others drift from
    return drift


def reference_excess(coefficient: Tensor, measured: Tensor, board: DrawnBoard) -> Tensor:
    """What a reference scan takes off each coefficient (`reference.with_reference`), its own noise left out.

    Parameters
    ----------
    coefficient : Tensor, shape (b, 1, n, n)
        Orthonormal coefficients as measured.
    measured : Tensor, shape (b, 1, n, n)
        1 where a coefficient was measured, else 0.
    board : DrawnBoard

    Returns
    -------
    Tensor, shape (b, 1, n, n)
        Same unit as `coefficient`; 0 where not measured and at k = 0.
    """
    others = measured.clone()
    others[..., 0, 0] = 0
    number = others.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    reference = board.on_grid(board.of_even_field[None]) + board.open_part * board.size
    bucket = coefficient + board.open_part * coefficient[..., :1, :1]
    mean_reference, mean_bucket = ((v * others).sum(dim=(1, 2, 3), keepdim=True) / number for v in (reference, bucket))
    return others * (reference - mean_reference) * mean_bucket / mean_reference


def without_common(coefficient: Tensor, measured: Tensor, constant: Tensor, edges: Tensor) -> Tensor:
    """`common_mode.without_common_error` for a batch.

    Parameters
    ----------
    coefficient, measured : Tensor, shape (b, 1, n, n)
    constant, edges : Tensor, shape (b, 1, 1, 1)
        Sigma of the constant and of the edges' share, in orthonormal scale; 0: there is none.
    """
    t = tables(coefficient.shape[-1], coefficient.device)
    others = measured.clone()
    others[..., 0, 0] = 0
    shapes = torch.cat([others, others * t.edges], dim=1)
    spots, image = (_gradient(orthonormal_hadamard(v)) for v in (shapes, coefficient))
    power = image.square().mean(dim=2)
    sigmas = torch.cat([constant, edges], dim=1)[..., 0, 0]
    sigmas = sigmas * (power > 0)  # where nothing is seen of an object, nothing is taken off
    wanted = (sigmas > 0).float()
    ridge = torch.diag_embed(torch.where(sigmas > 0, power * sigmas.clamp(min=1e-12) ** -2.0, 1.0))
    spots = spots * wanted[..., None]
    found = torch.linalg.solve(
        (spots @ spots.transpose(1, 2) + ridge).double(), (spots @ image.transpose(1, 2)).double()
    )
    cleaned: Tensor = coefficient - (shapes * (found.float() * wanted[..., None])[..., None]).sum(dim=1, keepdim=True)
    return cleaned


def _gradient(images: Tensor) -> Tensor:
    return torch.cat([images.diff(dim=2).flatten(2), images.diff(dim=3).flatten(2)], dim=2)


def _vary_variance(model: Tensor, sigma: Tensor, measured: Tensor, masks: Etched, generator: torch.Generator) -> Tensor:
    """Noise and model error as given to the network, the latter's size about right."""
    batch, size = len(model), model.shape[-1]
    size_of_model = (model.square() * measured).sum(dim=(1, 2, 3), keepdim=True) / measured.sum(
        dim=(1, 2, 3), keepdim=True
    )
    shares = torch.from_numpy(error_shares(size, masks)).float().to(model.device)
    shares = shares * measured.sum(dim=(1, 2, 3), keepdim=True) / (shares * measured).sum(dim=(1, 2, 3), keepdim=True)
    variance: Tensor = sigma**2 + size_of_model * shares * _draw_factor(batch, generator, 0.3)
    return variance


def _draw_factor(batch: int, generator: torch.Generator, error: float) -> Tensor:
    """Factor of a variance, half of them 1, (b, 1, 1, 1)."""
    wrong = (_rand(generator, batch) < 0.5).float()
    return torch.exp(2 * error * wrong * _randn(generator, batch))[:, None, None, None]
