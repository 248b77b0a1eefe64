"""Pictures and words for people."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.lib.pretty import pretty
from matplotlib.figure import Figure
from PIL import Image

from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.reconstruction.drawing import draw_reconstruction, render_html, render_png, round_length
from cxgi_bluesky.reconstruction.result import MARK, Reconstruction

SCORE = {"patterns": 64, "explained": -0.3, "supported": False, "model_sigma": 0.0, "outside": None, "predictor": "tv"}


@pytest.fixture
def image():
    values = np.random.default_rng(0).random((32, 32))
    return Reconstruction(values, "transmission", "tv", {}, 0.1, 192, source={"pixel_um": 10.0})


def drawn(result):
    axis = Figure().subplots()
    draw_reconstruction(axis, result, "tv")
    return axis.get_title(), [text.get_text() for text in axis.texts]


@given(st.floats(1e-3, 1e6))
def test_the_bar_is_of_a_round_length_and_no_longer_than_asked(longest):
    length = round_length(longest)
    assert longest / 2.5 < length <= longest * 1.000001
    assert f"{length:e}"[0] in "125"


@pytest.mark.parametrize(("pixel_um", "bar"), [(10.0, "50 µm"), (150.0, "1 mm"), (None, "5 pixels")])
def test_an_image_has_a_scale_bar_in_what_is_known_of_its_pixels(image, pixel_um, bar):
    title, texts = drawn(replace(image, source={"pixel_um": pixel_um}))
    assert texts == [bar]
    assert title == "tv\n192 patterns (18.8%), transmission"


def test_what_the_data_do_not_support_says_so_in_every_picture(image):
    title, _ = drawn(doubtful := replace(image, quality={"held_out": SCORE}))
    assert title.endswith(MARK)
    assert MARK in repr(doubtful)
    assert "do not trust this image" in render_html(doubtful)


def test_what_the_data_support_says_so_too(image):
    score = {**SCORE, "explained": 0.9, "supported": True}
    assert drawn(replace(image, quality={"held_out": score}))[0].endswith("\npredicted: 90% held back")
    beyond = {**score, "outside": {**score, "explained": 0.25}}
    title, _ = drawn(replace(image, quality={"held_out": beyond}))
    assert title.endswith("\npredicted: 90% held back, 25% outside set")
    long = {"held_out": {**SCORE, "supported": None, "patterns": 5}}
    assert max(map(len, drawn(replace(image, method="m" * 30, quality=long))[0].splitlines())) <= 42


def test_the_uncertainty_stands_beside_the_image(image):
    alone, both = (
        Image.open(io.BytesIO(render_png(one)))
        for one in (image, replace(image, uncertainty=np.full((32, 32), np.nan), uncertainty_kind="noise"))
    )
    assert both.width == 2 * alone.width


def test_a_notebook_shows_the_picture_described_and_the_sentences(image):
    shown = image._repr_html_()
    assert shown.startswith('<img src="data:image/png;base64,iVBOR')
    assert 'alt="Image by tv: 192 patterns of 32 x 32, scale transmission, 100.0 ms"' in shown
    assert "<script" not in render_html(replace(image, method="<script>"))


def test_what_a_person_looks_at_is_one_line(image):
    assert repr(image) == "Reconstruction(tv, 192 patterns of 32 x 32, scale transmission)"
    board = repr(load_board("cu32"))
    assert board == (
        "MaskBoard('cu32': 1024 patterns of 32 x 32 pixels of 150 um, Cu 100 um on laminate 500 um, D_r 0.75)"
    )
    assert pretty(load_board("cu32")) == board
