"""The published networks, written anew from their papers: just what runs the published weights, on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad, pixel_shuffle, pixel_unshuffle, relu

BLOCK = 33  # pixels a side, of the masks of ISTA-Net+ and OPINE-Net+
Weights = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class FFDNet:
    """Denoiser of Zhang, Zuo and Zhang (2018): four subsampled images and a map of sigma, 3 x 3 convolutions.

    Attributes
    ----------
    layers : sequence of (Tensor, Tensor)
        Weights, shape (out, in, 3, 3), and biases, shape (out,), of each convolution.
    """

    layers: Sequence[tuple[Tensor, Tensor]]

    def __call__(self, image: Tensor, sigma: float) -> Tensor:
        """The image without its noise.

        Parameters
        ----------
        image : Tensor, shape (n, n), n even
            In units of its range.
        sigma : float
            Standard deviation of the noise, in the same unit.
        """
        four = pixel_unshuffle(image[None, None], 2)
        x = torch.cat([four, torch.full_like(four[:, :1], sigma)], dim=1)
        for number, (kernels, biases) in enumerate(self.layers):
            x = conv2d(relu(x) if number else x, kernels, biases, padding=1)
        return pixel_shuffle(x, 2)[0, 0]


@dataclass(frozen=True, eq=False)
class ISTANetPlus:
    """Zhang and Ghanem (2018): a gradient step and a learned threshold in each phase, every block by itself.

    Attributes
    ----------
    weights : dict of Tensor
    phi : Tensor, shape (m, 1089)
        Sampling matrix of a block of 33 x 33 pixels.
    initial : Tensor, shape (1089, m)
        Makes the first image of the measurements.
    """

    weights: Weights
    phi: Tensor
    initial: Tensor

    def measure(self, image: Tensor) -> Tensor:
        """Measurements, shape (blocks, m), of an image of shape (n, n)."""
        return _blocks(image) @ self.phi.T

    def reconstruct(self, measured: Tensor, size: int) -> Tensor:
        """The image, shape (size, size)."""
        x = measured @ self.initial.T
        for phase in range(_phases(self.weights)):
            w = _of_phase(self.weights, phase)
            x = x - w["lambda_step"] * ((x @ self.phi.T - measured) @ self.phi)
            tiles = x.reshape(-1, 1, BLOCK, BLOCK)
            x = (tiles + _conv(_thresholded(tiles, w), w["conv_G"])).flatten(1)
        return _image(x, size)


@dataclass(frozen=True, eq=False)
class OPINENetPlus:
    """Zhang, Zhao and Gao (2020): learned masks of -1 and 1; each phase filters the whole image, not its blocks.

    Attributes
    ----------
    weights : dict of Tensor
        With ``Phi``, shape (m, 1089), of which the signs are the masks, and ``Phi_scale``, shape (1,).
    """

    weights: Weights

    @property
    def phi(self) -> Tensor:
        """Sampling matrix of a block, shape (m, 1089)."""
        ones = torch.ones_like(self.weights["Phi"])
        return torch.where(self.weights["Phi"] < 0, -ones, ones) * self.weights["Phi_scale"]

    def measure(self, image: Tensor) -> Tensor:
        """Measurements, shape (blocks, m), of an image of shape (n, n)."""
        return _blocks(image) @ self.phi.T

    def reconstruct(self, measured: Tensor, size: int) -> Tensor:
        """The image, shape (size, size)."""
        phi = self.phi
        padded = BLOCK * round(len(measured) ** 0.5)
        x = measured @ phi
        for phase in range(_phases(self.weights)):
            w = _of_phase(self.weights, phase)
            x = x - w["lambda_step"] * ((x @ phi.T - measured) @ phi)
            whole = _image(x, padded)[None, None]
            change = _conv(relu(_thresholded(whole, w)), w["conv1_G"])
            change = _conv(_conv(relu(change), w["conv2_G"]), w["conv3_G"])
            x = _blocks((whole + change)[0, 0])
        return _image(x, size)


def _thresholded(x: Tensor, w: Weights) -> Tensor:
    """Both papers' learned transform, its soft threshold, and the way back, shape (b, 32, rows, columns)."""
    x = _conv(x, w["conv_D"])
    x = _conv(relu(_conv(x, w["conv1_forward"])), w["conv2_forward"])
    x = x.sign() * relu(x.abs() - w["soft_thr"])
    return _conv(relu(_conv(x, w["conv1_backward"])), w["conv2_backward"])


def _conv(x: Tensor, kernels: Tensor) -> Tensor:
    return conv2d(x, kernels, padding=1)


def _phases(weights: Weights) -> int:
    return 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("fcs."))


def _of_phase(weights: Weights, phase: int) -> Weights:
    start = f"fcs.{phase}."
    return {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)}


def _blocks(image: Tensor) -> Tensor:
    """Blocks of an image (n, n), row by row, shape (blocks, 1089); zeros fill up the last ones."""
    side = -(-image.shape[0] // BLOCK)
    whole = pad(image, (0, side * BLOCK - image.shape[1], 0, side * BLOCK - image.shape[0]))
    return whole.reshape(side, BLOCK, side, BLOCK).swapaxes(1, 2).reshape(side**2, BLOCK**2)


def _image(blocks: Tensor, size: int) -> Tensor:
    """The image that has these blocks, its first `size` rows and columns."""
    side = round(len(blocks) ** 0.5)
    whole = blocks.reshape(side, side, BLOCK, BLOCK).swapaxes(1, 2).reshape(side * BLOCK, side * BLOCK)
    return whole[:size, :size]
