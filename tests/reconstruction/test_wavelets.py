from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.reconstruction.ch_mwcnn.layers import dwt2, idwt2, wavelet_matrix

WAVELETS = ["haar", "db2", "db4", "sym4", "coif1"]


@pytest.mark.parametrize("wavelet", WAVELETS)
@pytest.mark.parametrize("size", [8, 32, 64])
def test_agrees_with_pywavelets(wavelet, size):
    images = np.random.default_rng(0).normal(size=(2, 3, size, size))
    bands = dwt2(torch.from_numpy(images), wavelet).numpy()
    approximation, details = pywt.dwt2(images, wavelet, mode="periodization")
    expected = np.concatenate([approximation, *details], axis=1)
    np.testing.assert_allclose(bands, expected, atol=1e-12)


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_inverse_reconstructs_perfectly(wavelet):
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(idwt2(dwt2(images, wavelet), wavelet), images, atol=1e-10, rtol=0)


def test_stays_exact_under_autocast():
    images = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        again = idwt2(dwt2(images))
    torch.testing.assert_close(again, images, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wavelet", ["bior2.2", "nonsense"])
def test_impossible_wavelets_are_refused(wavelet):
    with pytest.raises(CxgiError, match=r"orthogonal|unknown"):
        wavelet_matrix(8, wavelet)
