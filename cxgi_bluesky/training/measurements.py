"""Simulated measurements of a batch of objects, with boards, noise and drift, as the network gets them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..reconstruction.ch_mwcnn.inputs import NetworkInput, normalize
from ..reconstruction.ch_mwcnn.layers import orthonormal_hadamard, tables
from ..reconstruction.ch_mwcnn.prepare import DOUBT
from ..reconstruction.error_model.common_mode import MASK_LEVEL
from ..reconstruction.error_model.noise import error_shares
from .boards import DrawnBoard
from .config import NoiseConfig, SamplingConfig
from .sampling import Selection, random_fractions, random_selection

Etched = Literal["none", "reference"]  # what is known of etched masks
Masks = Etched | Literal["perfect"]

_TOWARDS_NOISE = 1.4  # low signal-to-noise ratios come more often: 61 % below the middle of their range
_OPEN_NOISE = (0.1, 1.2)  # sigma of b_0's error in all coefficients, in their own sigma
_DRIFT_LENGTH = (50.0, 500.0)  # exposures
_REFERENCE_SHARE = 0.3  # of binary scans with perfect masks
_BOARD_SNR_DB = 2.0  # boards are not worth telling apart from noise below it


@dataclass(frozen=True, eq=False)
class Batch:
    """Simulated measurements with their truth, shape (b, 1, n, n)."""

    truth: Tensor
    given: NetworkInput

    def part(self, rows: slice) -> Batch:
        """Some of them."""
        return Batch(self.truth[rows], self.given.part(rows))


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
        As designed, or etched ones of which nothing is known, or a reference scan.
    generator : torch.Generator
        Source of everything random.
    sampling : SamplingConfig
    noise : NoiseConfig
    board : DrawnBoard, optional
        With the etched masks, of the same size (default: masks as designed).
    """
    batch, size = images.shape[0], images.shape[-1]
    fraction = random_fractions(generator, batch, size, sampling)
    only = None if board is None or masks == "perfect" else board.index
    selection = random_selection(generator, size, fraction, only)
    if board is None or masks == "perfect":
        return _with_perfect_masks(images, selection, generator, noise)
    return _with_board(images, selection, generator, noise, board, masks)


def _with_perfect_masks(images: Tensor, chosen: Selection, generator: torch.Generator, noise: NoiseConfig) -> Batch:
    """Half of them signed; the others binary, whose common error is taken off as that of any binary measurement is."""
    batch, exact = len(images), orthonormal_hadamard(images)
    binary = (torch.rand(batch, 1, 1, 1, generator=generator) < 0.5).float()
    known = (torch.rand(batch, 1, 1, 1, generator=generator) < _REFERENCE_SHARE).float()  # by a reference scan
    sigma = _sigma(exact, chosen.measured, generator, noise.snr_db)
    buckets = _noisy(exact, chosen, generator, sigma, binary)
    light = binary * MASK_LEVEL * exact[..., :1, :1].abs()
    constant = torch.hypot(buckets.sigma_open, known * light)
    cleaned = without_common(buckets.coefficient, chosen.measured, constant, (1 - known) * light)
    doubted = (binary * (1 - known / 2))[:, 0, 0, 0]
    variance = (sigma**2 * _draw_factor(batch, generator, noise.sigma_error)).expand_as(exact)
    return Batch(images, normalize(cleaned, chosen.measured, variance, mask_uncertainty=doubted))


def _with_board(
    images: Tensor, chosen: Selection, generator: torch.Generator, noise: NoiseConfig, board: DrawnBoard, masks: Etched
) -> Batch:
    measured, batch, size = chosen.measured, len(images), board.size
    exact = orthonormal_hadamard(images)
    passed = board.on_grid(images.flatten(1) @ torch.from_numpy(board.masks).float().T / size)
    low, high = (max(_BOARD_SNR_DB, snr_db) for snr_db in noise.snr_db)
    sigma = _sigma(exact, measured, generator, (low, high))
    level = exact[..., :1, :1]
    drifted = passed + _drift(chosen, generator, noise.drift) * (passed + board.open_part * level)
    buckets = _noisy(drifted, chosen, generator, sigma, torch.ones(batch, 1, 1, 1))
    coefficient = buckets.coefficient
    light = MASK_LEVEL * board.open_part * level.abs()
    constant, edges = buckets.sigma_open, light
    if masks == "reference":
        coefficient = coefficient - reference_excess(coefficient, measured, board)
        constant, edges = torch.hypot(constant, light), torch.zeros_like(light)
    coefficient = without_common(coefficient, measured, constant, edges)
    variance = _vary_variance(coefficient - exact - buckets.coefficient + drifted, sigma, measured, masks, generator)
    doubted = torch.full((batch,), DOUBT[masks])
    return Batch(images, normalize(coefficient, measured, variance, mask_uncertainty=doubted))


def _sigma(exact: Tensor, measured: Tensor, generator: torch.Generator, snr_db: tuple[float, float]) -> Tensor:
    signal = exact * measured
    signal[..., 0, 0] = 0
    rms = (signal.square().sum(dim=(1, 2, 3)) / measured.sum(dim=(1, 2, 3))).sqrt()
    drawn = snr_db[0] + (snr_db[1] - snr_db[0]) * torch.rand(len(exact), generator=generator) ** _TOWARDS_NOISE
    return (rms * 10 ** (-drawn / 20))[:, None, None, None]


def _noisy(passed: Tensor, chosen: Selection, generator: torch.Generator, sigma: Tensor, binary: Tensor) -> _Buckets:
    low, high = _OPEN_NOISE
    sigma_open = binary * sigma * (low + (high - low) * torch.rand(sigma.shape, generator=generator))
    errors = sigma * torch.randn(passed.shape, generator=generator)
    common = sigma_open * torch.randn(sigma.shape, generator=generator)
    common = common.expand_as(passed).clone()
    common[..., 0, 0] = 0
    return _Buckets((passed + errors + common) * chosen.measured, sigma_open)


def _drift(chosen: Selection, generator: torch.Generator, largest: float) -> Tensor:
    """Relative error of each bucket, correlated along the scan, (b, 1, n, n)."""
    batch, count = len(chosen.rank), chosen.rank[0].numel()
    low, high = (math.log(length) for length in _DRIFT_LENGTH)
    length = torch.exp(low + (high - low) * torch.rand(batch, 1, generator=generator))
    spectrum = torch.fft.rfft(torch.randn(batch, count, generator=generator))
    spectrum = spectrum / torch.sqrt(1 + (2 * math.pi * torch.fft.rfftfreq(count) * length) ** 2)
    course = torch.fft.irfft(spectrum, n=count)
    course = course / course.std(dim=1, keepdim=True).clamp(min=1e-9) * torch.rand(batch, 1, generator=generator)
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
    """`reconstruction.common_error.without_common_error` for a batch.

    Parameters
    ----------
    coefficient, measured : Tensor, shape (b, 1, n, n)
    constant, edges : Tensor, shape (b, 1, 1, 1)
        Sigma of the constant and of the edges' share, in orthonormal scale; 0: there is none.
    """
    t = tables(coefficient.shape[-1])
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
    """Noise and model error as the network is told them: the latter's size about right."""
    batch, size = len(model), model.shape[-1]
    size_of_model = (model.square() * measured).sum(dim=(1, 2, 3), keepdim=True) / measured.sum(
        dim=(1, 2, 3), keepdim=True
    )
    shares = torch.from_numpy(error_shares(size, masks)).float()
    shares = shares * measured.sum(dim=(1, 2, 3), keepdim=True) / (shares * measured).sum(dim=(1, 2, 3), keepdim=True)
    told: Tensor = sigma**2 + size_of_model * shares * _draw_factor(batch, generator, 0.3)
    return told


def _draw_factor(batch: int, generator: torch.Generator, error: float) -> Tensor:
    """Factor of a variance, half of them 1, (b, 1, 1, 1)."""
    wrong = (torch.rand(batch, generator=generator) < 0.5).float()
    return torch.exp(2 * error * wrong * torch.randn(batch, generator=generator))[:, None, None, None]
