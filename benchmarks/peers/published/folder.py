"""What the user's folder must hold: the repositories of the peers' authors, each as it is cloned.

Nothing is unpickled: PyTorch files are read with ``weights_only``, MATLAB's by scipy and h5py.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxgi_bluesky.errors import CxgiError

Image = NDArray[np.float64]
Weights = dict[str, Tensor]

FRACTIONS = {10: 0.10, 25: 0.25}  # the ratios in the names of the files, and what we measure beside them
SIDE = 256
_FFDNET = "FFDNet/models/FFDNet_gray.mat"
_ISTA = "ISTA-Net-PyTorch/model/CS_ISTA_Net_plus_layer_9_group_1_ratio_{}_lr_0.0001/net_params_200.pkl"
_PHI, _INITIAL = (
    f"ISTA-Net-PyTorch/sampling_matrix/{name}.mat" for name in ("phi_0_{}_1089", "Initialization_Matrix_{}")
)
_OPINE = "OPINE-Net/model/CS_OPINE_Net_plus_layer_9_group_1_ratio_{}/net_params_170.pkl"
_SET11 = "ISTA-Net-PyTorch/data/Set11"
_MATRICES = {"phi": _PHI, "Qinit": _INITIAL}  # by the name inside the file


class NotGiven(CxgiError):
    """The user's folder lacks the file of a peer."""


def set11_folder(folder: Path) -> Path:
    """Where the images lie in the user's folder."""
    return folder / _SET11


def set11_images(folder: Path) -> dict[str, Image]:
    """Every .tif of a folder by name: grey, the central 256 x 256 pixels, 0..1.

    Raises
    ------
    NotGiven
        If there is none, or one is smaller.
    """
    from PIL import Image as Picture

    images: dict[str, Image] = {}
    for path in sorted(folder.glob("*.tif")):
        with Picture.open(path) as picture:
            whole = np.asarray(picture.convert("L"), dtype=np.float64) / 255
        top, left = ((extent - SIDE) // 2 for extent in whole.shape)
        if min(top, left) < 0:
            raise NotGiven(f"image {path} is smaller than {SIDE} x {SIDE}: give the 11 images of Set11")
        images[path.stem] = whole[top : top + SIDE, left : left + SIDE]
    if not images:
        raise NotGiven(f"folder {folder} has no .tif: give the one with the 11 images of Set11")
    return images


def ista_files(folder: Path, ratio: int) -> tuple[Weights, Tensor, Tensor]:
    """Weights of ISTA-Net+, its sampling matrix (m, 1089) and the matrix of its first image (1089, m)."""
    phi, initial = (_matrix(folder, name, ratio) for name in _MATRICES)
    return _pytorch(_present(folder, _ISTA, ratio)), phi, initial


def opine_files(folder: Path, ratio: int) -> Weights:
    """Weights of OPINE-Net+, its masks among them."""
    return _pytorch(_present(folder, _OPINE, ratio))


def ffdnet_files(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """Weights (out, in, 3, 3) and biases (out,) of FFDNet's convolutions, the first layer first."""
    import h5py

    path = _present(folder, _FFDNET)
    layers: list[tuple[Tensor, Tensor]] = []
    try:
        with h5py.File(path) as file:
            for reference in file["net/layers"][:].ravel():
                layer = file[reference]
                if layer["type"][:].tobytes().decode("utf-16-le") == "conv":
                    kernels, biases = (torch.tensor(file[one][:]) for one in layer["weights"][:].ravel())
                    layers.append((kernels.swapaxes(2, 3), biases.ravel()))
    except (OSError, KeyError, ValueError) as error:
        raise CxgiError(f"{path} is no file of FFDNet ({error}): take it from the authors' repository") from error
    # MATLAB goes down the columns first: so do the kernels, and the four subsampled images
    (first, first_biases), (last, last_biases) = layers[0], layers[-1]
    layers[0] = first[:, [0, 2, 1, 3, 4]], first_biases
    layers[-1] = last[[0, 2, 1, 3]], last_biases[[0, 2, 1, 3]]
    return layers


def _present(folder: Path, name: str, ratio: int | None = None) -> Path:
    path = folder / name.format(ratio)
    if not path.is_file():
        raise NotGiven(f"not given: {name.format(ratio)}")
    return path


def _matrix(folder: Path, name: str, ratio: int) -> Tensor:
    from scipy.io import loadmat

    return torch.tensor(loadmat(_present(folder, _MATRICES[name], ratio))[name], dtype=torch.float32)


def _pytorch(path: Path) -> Weights:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise CxgiError(
            f"{path} holds more than weights, or is broken: take it from the authors' repository"
        ) from error
    return {name.removeprefix("module."): value for name, value in state.items()}
