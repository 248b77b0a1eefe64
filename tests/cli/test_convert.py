from __future__ import annotations

import json

import numpy as np
import pytest

from cxgi_bluesky.cli.program import main
from cxgi_bluesky.masks.orders import ranking
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.bucket_files.read_write import read_buckets, write_buckets
from cxgi_bluesky.measurement.bucket_files.table import BucketTable
from cxgi_bluesky.measurement.measurement import Measurement
from tests.conftest import smooth_image
from tests.measurement.bucket_files.test_formats import FULL, same

IMAGE = smooth_image(32)
SIGNED = walsh_hadamard_2d(IMAGE).ravel()


def convert(*arguments) -> int:
    return main(["convert", *map(str, arguments)])


def test_there_and_back_through_all_formats(tmp_path, capsys):
    write_buckets(tmp_path / "a.csv", FULL)
    for source, target in (("a.csv", "b.h5"), ("b.h5", "c.npz"), ("c.npz", "d.hdf5"), ("d.hdf5", "e.csv")):
        assert convert(tmp_path / source, tmp_path / target) == 0
        said = "64 patterns of 8 x 8 (100 % of all), coding complementary, order random, seed 3 -> "
        assert capsys.readouterr().out == f"{said}{tmp_path / target}\n"
    same(read_buckets(tmp_path / "e.csv"), FULL)
    assert (tmp_path / "e.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()


def test_a_plain_table_gets_its_words(tmp_path, capsys):
    rows = "".join(f"{k},{value!r}\n" for k, value in enumerate(SIGNED.tolist()))
    (tmp_path / "a.csv").write_text("pattern_index,bucket\n" + rows)
    assert convert(tmp_path / "a.csv", tmp_path / "bare.npz", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["patterns"], answer["size"], answer["coding"], answer["fraction"]) == (1024, None, None, None)
    assert convert(tmp_path / "a.csv", tmp_path / "b.npz", "--size", 32, "--coding", "signed", "--unit", "pA") == 0
    capsys.readouterr()
    assert read_buckets(tmp_path / "b.npz").source == "converted from the table a.csv"
    arguments = ["--method", "inverse", "--out", str(tmp_path / "a.npy"), "--json"]
    assert main(["reconstruct", str(tmp_path / "b.npz"), *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["source"]["unit"] == "pA"
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), IMAGE, atol=1e-6)
    assert main(["reconstruct", str(tmp_path / "bare.npz"), *arguments]) == 2
    assert "does not say its size and coding" in json.loads(capsys.readouterr().out)["error"]


def test_pairs_of_another_program_become_a_picture(tmp_path, capsys):
    ranked = ranking("natural", 32)
    positive = (IMAGE.sum() + SIGNED[ranked]) / 2
    np.savetxt(tmp_path / "foreign.txt", np.stack([positive, IMAGE.sum() - positive], axis=1))
    words = ["--layout", "pairs", "--order", "natural", "--size", 32]
    assert convert(tmp_path / "foreign.txt", tmp_path / "a.h5", *words, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {
        "out": str(tmp_path / "a.h5"),
        "patterns": 1024,
        "fraction": 1.0,
        "columns": ["pattern_index", "bucket", "bucket_complement"],
        "size": 32,
        "coding": "complementary",
        "d_r": None,
        "dark": None,
        "order": "natural",
        "seed": None,
        "unit": None,
        "source": "converted from the pairs foreign.txt",
    }
    np.testing.assert_allclose(Measurement.from_file(tmp_path / "a.h5").coefficient, SIGNED[ranked], atol=1e-9)
    out = tmp_path / "a.npy"
    assert main(["reconstruct", str(tmp_path / "a.h5"), "--method", "inverse", "--out", str(out)]) == 0
    np.testing.assert_allclose(np.load(out), IMAGE, atol=1e-6)


def test_binary_buckets_reduced_to_signed(tmp_path, capsys):
    bucket = (0.17 * IMAGE.sum() + 0.83 * (IMAGE.sum() + SIGNED) / 2) + 0.4
    table = BucketTable(np.arange(1024), bucket, sigma=np.full(1024, 0.5), size=32, coding="binary", d_r=0.83, dark=0.4)
    write_buckets(tmp_path / "a.npz", table)
    assert convert(tmp_path / "a.npz", tmp_path / "b.csv", "--to-signed") == 0
    assert "NOTE: the all-open bucket's error, 0.705 in all" in capsys.readouterr().out
    made, meant = read_buckets(tmp_path / "b.csv"), Measurement.from_file(tmp_path / "a.npz")
    np.testing.assert_array_equal(made.bucket, meant.coefficient)
    np.testing.assert_array_equal(made.sigma, meant.sigma)
    np.testing.assert_allclose(made.bucket, SIGNED, atol=1e-9)
    source = "signed coefficients of binary buckets, d_r 0.83, dark 0.4"
    assert made.attrs() == {"size": 32, "coding": "signed", "source": source}


def test_no_sigma_is_made_up_on_the_way(tmp_path):
    write_buckets(tmp_path / "a.npz", BucketTable(FULL.pattern_index, FULL.bucket, size=8, coding="binary"))
    assert convert(tmp_path / "a.npz", tmp_path / "b.npz", "--to-signed") == 0
    assert read_buckets(tmp_path / "b.npz").sigma is None


def test_a_target_is_replaced_only_with_force(tmp_path, capsys):
    source = write_buckets(tmp_path / "a.csv", FULL)
    (tmp_path / "b.npz").write_text("precious")
    assert convert(source, tmp_path / "b.npz") == 2
    assert "exists already: choose another name, or allow it to be replaced (--force)" in capsys.readouterr().err
    assert (tmp_path / "b.npz").read_text() == "precious"
    assert convert(source, tmp_path / "b.npz", "--force") == 0
    same(read_buckets(tmp_path / "b.npz"), FULL)
    assert convert(source, source, "--force", "--d-r", "0.7") == 0
    assert read_buckets(source).d_r == 0.7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.csv", "b.txt"], "b.txt has the unknown suffix '.txt'"),
        (["a.csv", "no/b.npz"], "folder no does not exist"),
        (["none.h5", "b.npz"], "none.h5 cannot be read"),
        (["a.csv", "b.npz", "--size", "32"], "a.csv: size 32 was given, but the file says 8"),
        (["a.csv", "b.npz", "--coding", "signed"], "coding 'signed' was given, but the file says 'complementary'"),
        (["a.csv", "b.npz", "--unit", "fA"], "unit 'fA' was given, but the file says 'pA'"),
        (["a.csv", "b.npz", "--order-seed", "4"], "seed 4 was given, but the file says 3"),
        (["a.csv", "b.npz", "--d-r", "0"], "d_r 0.0 is outside"),
        (["list.npy", "b.npz"], "list.npy has the unknown suffix '.npy'"),
        (["list.npy", "b.npz", "--layout", "list", "--size", "8"], "does not say in which order"),
        (["plain.csv", "b.npz", "--to-signed"], "plain.csv: the file does not say its size and coding"),
        (["plain.csv", "b.npz", "--coding", "signed", "--dark", "1"], "--d-r and --dark do not apply"),
    ],
)
def test_bad_requests_get_one_line_and_write_nothing(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_buckets("a.csv", FULL)
    np.save("list.npy", np.ones(64))
    (tmp_path / "plain.csv").write_text("pattern_index,bucket\n0,1\n")
    assert convert(*arguments) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "list.npy", "plain.csv"]
