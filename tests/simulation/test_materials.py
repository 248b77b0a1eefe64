from __future__ import annotations

import argparse
import io
import json
import sys
from contextlib import redirect_stdout

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxgi_bluesky.cli import d_r
from cxgi_bluesky.cli._options import Echo, plain
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.simulation.materials import Layer, effective_transmission, parse_mask, predict_d_r, signal_weights
from cxgi_bluesky.simulation.spectrum import Spectrum, find_spectrum, one_energy, read_spectrum, tube_spectrum

BOARD_LIGHT = np.array([17.5, 22.0, 30.0, 40.0])
TWO_LINES = Spectrum(np.array([10.0, 30.0]), np.array([3.0, 1.0]), "two lines")
AU = Layer("Au", 10)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Layer("Cu", 100), (0.013, 0.102, 0.376, 0.647)),
        (Layer("Au", 10), (0.118, 0.312, 0.588, 0.778)),
        (Layer("SiO2", 500), (0.66, None, None, 0.95)),
        (Layer("FR4", 500), (None, None, None, 0.97)),
        (Layer("steel", 5000), (0.0, 0.0, 0.0, 0.0)),
    ],
)
def test_transmissions_known_from_elsewhere(layer, expected):
    for found, known in zip(layer.transmission(BOARD_LIGHT), expected, strict=True):
        assert known is None or found == pytest.approx(known, abs=0.01)


def test_d_r_of_one_energy_is_one_minus_the_transmission():
    light = one_energy(17.5)
    expected = 1 - AU.transmission(np.array([17.5]))[0]
    assert predict_d_r("Au", 10, light) == pytest.approx(expected)
    dressed = predict_d_r("Au", 10, light, substrate=Layer("SiO2", 500), filters=(Layer("Al", 500),))
    assert dressed == pytest.approx(expected)  # of one energy a filter takes no more from one than from the other
    assert predict_d_r("Au", 10, light, veil=0.26) == pytest.approx(0.74 * expected)


def test_the_charge_and_not_the_photons_count():
    weights = signal_weights(TWO_LINES, Layer("Si", 300))
    absorbed = Layer("Si", 300).absorption(TWO_LINES.energy_kev)
    assert weights[1] / weights[0] == pytest.approx(absorbed[1] * 30 / (absorbed[0] * 10 * 3))
    by_hand = 1 - weights @ AU.transmission(TWO_LINES.energy_kev)
    assert predict_d_r("Au", 10, TWO_LINES) == pytest.approx(by_hand)


@settings(max_examples=20, deadline=None)
@given(thin=st.floats(0, 100), more=st.floats(0, 100), share=st.floats(0, 1))
def test_more_metal_more_depth_and_a_mixture_lies_between_its_lines(thin, more, share):
    light = Spectrum(np.array([12.0, 30.0]), np.array([share, 1 - share]) + 1e-9, "mixed")
    assert predict_d_r("Cu", thin, light) <= predict_d_r("Cu", thin + more, light) + 1e-12
    lines = [predict_d_r("Cu", thin, one_energy(e)) for e in (30.0, 12.0)]
    assert lines[0] - 1e-9 <= predict_d_r("Cu", thin, light) <= lines[1] + 1e-9


def test_a_filter_hardens_the_light_and_lowers_the_depth():
    plain_light = predict_d_r("Au", 10, TWO_LINES)
    assert predict_d_r("Au", 10, TWO_LINES, filters=(Layer("Al", 500),)) < plain_light


def test_the_gold_board_fits_an_unfiltered_molybdenum_tube():
    pytest.importorskip("spekpy")
    metal, substrate = parse_mask(load_board("au64").metal)
    for kv in (40, 45, 50):
        light = tube_spectrum("Mo", kv)
        assert predict_d_r(metal.material, metal.thickness_um, light, substrate=substrate) == pytest.approx(
            0.83, abs=0.015
        )
        assert predict_d_r("Cu", 100, light, substrate=Layer("FR4", 500)) > 0.94  # the paper's 75 % does not fit
        assert predict_d_r("Cu", 30, light, substrate=Layer("FR4", 500)) == pytest.approx(0.75, abs=0.02)


def test_a_tube_has_its_lines_and_its_end():
    pytest.importorskip("spekpy")
    light = tube_spectrum("Mo", 45)
    assert light.energy_kev.max() < 45
    near = light.photons[np.abs(light.energy_kev - 17.5) < 0.6].max()
    assert near > 3 * light.photons[np.abs(light.energy_kev - 25) < 0.6].max()


def test_without_spekpy_a_tube_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "spekpy", None)
    with pytest.raises(CxgiError, match=r"pip install 'cxgi_bluesky\[spectra\]'"):
        tube_spectrum("Mo", 45)
    assert predict_d_r("Au", 10, one_energy(17.5)) > 0.8


def test_an_object_hardens_the_light_behind_it():
    thickness = np.array([[0.0, 1.0], [10.0, 300.0]])
    seen = effective_transmission(thickness, "Au", TWO_LINES)
    assert seen[0, 0] == pytest.approx(1)
    assert seen[1, 0] == pytest.approx(1 - predict_d_r("Au", 10, TWO_LINES), rel=1e-5)
    # the second half of a layer takes away a smaller share than the first
    half = effective_transmission(np.array([5.0]), "Au", TWO_LINES)[0]
    assert seen[1, 0] > half**2
    with pytest.raises(CxgiError, match="negative"):
        effective_transmission(np.array([-1.0]), "Au", TWO_LINES)


def test_a_spectrum_file(tmp_path):
    path = tmp_path / "tube.csv"
    path.write_text("# by hand\nenergy_keV,photons\n10,3\n30,1\n")
    assert predict_d_r("Au", 10, read_spectrum(path)) == pytest.approx(predict_d_r("Au", 10, TWO_LINES))
    assert read_spectrum(path).mean_kev == pytest.approx(15)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: expected the columns energy_kev,photons"),
        ("10,3\n", "its first line is '10, 3'"),
        ("energy_keV,photons\n10,x\n", "line 2: photons 'x' is no number"),
        ("energy_keV,photons\n10\n", "line 2 has 1 cells"),
        ("energy_keV,photons\n", "one number of photons"),
        ("energy_keV,photons\n10,-1\n", "0 or more"),
        ("energy_keV,photons\n10,nan\n", "finite"),
        ("energy_keV,photons\n17500,1\n", "outside 0.1..800 keV"),
        ("energy_keV,photons\n10,0\n", "not all 0"),
    ],
)
def test_files_that_are_no_spectra(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(CxgiError, match=message):
        read_spectrum(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(CxgiError, match="cannot be read"):
        read_spectrum(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "layer"),
    [("Al:0.5mm", ("Al", 500.0)), ("SiO2:500um", ("SiO2", 500.0)), (" kapton : 25 µm ", ("kapton", 25.0))],
)
def test_layers_are_written_with_their_unit(text, layer):
    parsed = Layer.parse(text)
    assert (parsed.material, parsed.thickness_um) == pytest.approx(layer)


@pytest.mark.parametrize("text", ["Al", "Al:5", "Al:5parsec", "Al:--mm", ":5mm"])
def test_what_is_no_layer(text):
    with pytest.raises(CxgiError, match=r"such as Al:0\.5mm"):
        Layer.parse(text)
    with pytest.raises(CxgiError, match="0 or more"):
        Layer.parse("Al:-5mm")


@pytest.mark.parametrize("material", ["Xx", "unobtainium", "", "Fe2O3"])
def test_unknown_materials_are_named(material):
    with pytest.raises(CxgiError, match=f"'{material}'.*such as"):
        predict_d_r(material, 10, one_energy(17.5))


def test_impossible_light():
    with pytest.raises(CxgiError, match="say which light"):
        find_spectrum()
    with pytest.raises(CxgiError, match="say which light"):
        find_spectrum(energy_kev=10, tube="Mo")
    with pytest.raises(CxgiError, match="at which voltage"):
        find_spectrum(tube="Mo")
    with pytest.raises(CxgiError, match="name its anode"):
        find_spectrum(energy_kev=10, kv=40)
    with pytest.raises(CxgiError, match="anode 'Fe' is unknown"):
        tube_spectrum("Fe", 40)
    with pytest.raises(CxgiError, match=r"outside 10\.\.300 kV"):
        tube_spectrum("Mo", 4)
    with pytest.raises(CxgiError, match="veil 1"):
        predict_d_r("Au", 10, one_energy(17.5), veil=1)
    with pytest.raises(CxgiError, match="absorbs nothing"):
        predict_d_r("Au", 10, one_energy(17.5), detector=Layer("Si", 0))


# ---------------------------------------------------------------- the command


def run(*arguments):
    parser = argparse.ArgumentParser()
    d_r.add(parser.add_subparsers())
    options = parser.parse_args(["d-r", *arguments])
    with redirect_stdout(io.StringIO()) as said:
        payload = options.command(options, Echo())
    return json.loads(json.dumps(plain(payload), allow_nan=False)), said.getvalue()


def test_the_command_predicts():
    payload, text = run("--metal", "Au", "--thickness-um", "10", "--energy-kev", "17.5")
    assert payload["predicted_d_r"] == pytest.approx(0.882, abs=0.002)
    assert "10 um Au, 17.5 keV: predicted D_r 88.2%" in text


def test_the_command_takes_a_board_and_filters(tmp_path):
    path = tmp_path / "tube.csv"
    path.write_text("energy_keV,photons\n10,3\n30,1\n")
    payload, text = run("--board", "au64", "--spectrum", str(path), "--filter", "Al:0.5mm", "--filter", "Be:0.25mm")
    assert (payload["metal"], payload["thickness_um"], payload["board_d_r"]) == ("Au", 10, 0.83)
    assert payload["substrate"] == "500 um SiO2"
    assert "board au64 says D_r 83.0%" in text
    thinner, _ = run("--board", "cu32", "--thickness-um", "34", "--energy-kev", "17.5")
    assert (thinner["metal"], thinner["substrate"]) == ("Cu", "500 um laminate")


def test_the_command_needs_a_mask():
    with pytest.raises(CxgiError, match="which mask"):
        run("--energy-kev", "17.5")
    with pytest.raises(CxgiError, match="does not read like"):
        parse_mask("shiny stuff")
