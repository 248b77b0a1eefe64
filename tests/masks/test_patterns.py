from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import ORDERS, SEEDED, ranking, sequency, sequency_grid
from cxgi_bluesky.masks.pattern_map import map_turns
from cxgi_bluesky.masks.pattern_set import ChosenSet, PatternSet, count_for_fraction, pattern
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.simulation.random_objects import random_object

SIZES = [2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("size", SIZES)
def test_transform_equals_the_hadamard_matrix(size):
    image = np.random.default_rng(size).normal(size=(3, size, size))
    expected = image.reshape(3, -1) @ hadamard(size * size)
    np.testing.assert_allclose(walsh_hadamard_2d(image).reshape(3, -1), expected, atol=1e-9 * size**2)


@pytest.mark.parametrize("size", [128, 256, 512, 1024])
def test_large_transform_equals_two_one_dimensional_ones(size):
    image = np.random.default_rng(size).normal(size=(size, size))
    matrix = hadamard(size)
    np.testing.assert_allclose(walsh_hadamard_2d(image), matrix @ image @ matrix, atol=1e-8 * size)


@given(st.sampled_from(SIZES), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_transform_is_symmetric_and_its_own_inverse(size, seed):
    a, b = np.random.default_rng(seed).normal(size=(2, size, size))
    np.testing.assert_allclose(np.vdot(walsh_hadamard_2d(a), b), np.vdot(a, walsh_hadamard_2d(b)), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(walsh_hadamard_2d(walsh_hadamard_2d(a)), size * size * a, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
def test_integers_are_promoted_and_exact(dtype):
    image = np.ones((32, 32), dtype=dtype) * np.array(100 if dtype != "bool" else 1).astype(dtype)
    result = walsh_hadamard_2d(image)
    assert result.dtype == np.int64
    assert result[0, 0] == int(image.astype(np.int64).sum())
    assert not result.ravel()[1:].any()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "complex128"])
def test_floats_keep_their_type(dtype):
    assert walsh_hadamard_2d(np.ones((8, 8), dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("shape", [(3, 3), (4, 8), (8,), (1, 1), (2048, 2048)])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(CxgiError, match=r"shape|power of two"):
        walsh_hadamard_2d(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("size", [2, 4, 8, 16, 32])
def test_patterns_are_rows_of_the_natural_matrix(size):
    matrix = hadamard(size * size)
    for k in range(0, size * size, max(1, size)):
        np.testing.assert_array_equal(pattern(size, k), matrix[k].reshape(size, size))


def test_sequency_counts_sign_changes():
    for size in SIZES:
        changes = (np.diff(hadamard(size), axis=1) != 0).sum(axis=1)
        np.testing.assert_array_equal(sequency(size), changes)


def keys(order, size, k):
    matrix = hadamard(size * size)[k].reshape(size, size)
    u = int((np.diff(matrix[:, 0]) != 0).sum())
    v = int((np.diff(matrix[0]) != 0).sum())
    down, right = np.zeros(matrix.shape), np.zeros(matrix.shape)
    down[:-1], right[:, :-1] = np.diff(matrix, axis=0), np.diff(matrix, axis=1)
    doll = next(level for level in range(11) if max(u, v) < 2**level)
    return {
        "russian-dolls": (doll, (u + 1) * (v + 1), u + v, u),
        "total-variation": (round(float(np.hypot(down, right).sum()), 5), abs(u - v), u),
        "natural": (k,),
        "zig-zag": (u + v, abs(u - v), u),
        "cake-cutting": ((u + 1) * (v + 1), u + v, u),
    }[order]


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize("order", ["natural", "zig-zag", "cake-cutting", "russian-dolls", "total-variation"])
def test_orders_follow_their_keys(order, size):
    indices = ranking(order, size)
    ranked = [keys(order, size, k) for k in indices]
    assert ranked == sorted(ranked)
    assert sorted(indices) == list(range(size * size))
    assert len(set(ranked)) == len(ranked)  # the keys decide every tie
    assert indices[0] == 0


@pytest.mark.parametrize("order", SEEDED)
def test_seeded_orders_are_permutations_that_begin_with_the_open_pattern(order):
    first, again, other = (ranking(order, 16, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first[0] == 0
    assert sorted(first) == list(range(256))


def test_variable_density_keeps_the_lowest_and_thins_out_the_rest():
    place = np.empty(4096, dtype=int)
    place[ranking("zig-zag", 64)] = np.arange(4096)
    chosen = np.concatenate([place[ranking("variable-density", 64, seed)[:768]] for seed in range(20)])
    density = np.histogram(chosen, bins=[0, 64, 256, 1024, 4096])[0] / 20 / np.diff([0, 64, 256, 1024, 4096])
    assert density[0] == 1
    assert (np.diff(density) < 0).all()
    assert density[-1] > 0.02


def test_learned_puts_the_patterns_first_that_carry_the_power_of_objects_never_seen():
    rng = np.random.default_rng(99)
    objects = [random_object(rng, 32) for _ in range(60)]
    power = np.mean([walsh_hadamard_2d(o - o.mean()).ravel() ** 2 / max(o.var(), 1e-3) for o in objects], axis=0)
    kept = {order: power[ranking(order, 32)[:192]].sum() for order in ("learned", "zig-zag", "natural")}
    assert kept["learned"] > 0.99 * kept["zig-zag"]
    assert kept["learned"] > 1.3 * kept["natural"]


@pytest.mark.parametrize(("few", "many"), [(16, 64), (32, 128)])
def test_a_learned_order_of_few_pixels_is_that_of_many_without_the_fine_patterns(few, many):
    by_sequency = {}
    for size in (few, many):
        u, v = sequency_grid(size)
        by_sequency[size] = [(u[k], v[k]) for k in ranking("learned", size)]
    assert by_sequency[few] == [(u, v) for u, v in by_sequency[many] if max(u, v) < few]


def test_learned_density_draws_patterns_as_often_as_they_carry_power():
    place = np.empty(1024, dtype=int)
    place[ranking("learned", 32)] = np.arange(1024)
    chosen = np.concatenate([place[ranking("learned-density", 32, seed)[:192]] for seed in range(30)])
    density = np.histogram(chosen, bins=[0, 64, 128, 256, 512, 1024])[0] / 30 / np.diff([0, 64, 128, 256, 512, 1024])
    assert density[0] == 1
    assert (np.diff(density) < 0).all()


def test_learned_orders_say_which_sizes_they_know():
    with pytest.raises(CxgiError, match="size 256: the learned orders know sizes up to 128"):
        ranking("learned", 256)


def test_the_smallest_board_has_every_order():
    for order in ORDERS:
        assert sorted(ranking(order, 2, 0 if order in SEEDED else None)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("order", "seed"), [("random", None), ("variable-density", None), ("zig-zag", 3), ("spiral", None)]
)
def test_impossible_orders_are_refused(order, seed):
    with pytest.raises(CxgiError, match=order):
        ranking(order, 8, seed)


def test_the_papers_fraction():
    assert PatternSet.from_fraction(64, 0.1875).count == 768
    assert PatternSet(64, 768).fraction == 0.1875


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(CxgiError, match="fraction"):
        count_for_fraction(8, fraction)


@given(
    st.sampled_from(SIZES),
    st.floats(0.01, 1),
    st.sampled_from(list(ORDERS)),
)
@settings(max_examples=40, deadline=None)
def test_pattern_set_round_trip(size, fraction, order):
    one = PatternSet.from_fraction(size, fraction, order, 7 if order in SEEDED else None)
    two = PatternSet.from_json(one.to_json())
    assert one == two
    assert hash(one) == hash(two)
    assert one.sha256 == two.sha256
    np.testing.assert_array_equal(one.pattern_index, two.pattern_index)
    assert 0 in one.pattern_index


def test_a_set_that_does_not_rebuild_its_patterns_is_refused():
    words = json.loads(PatternSet(8, 10).to_json()) | {"sha256": "0" * 64}
    with pytest.raises(CxgiError, match="sha256"):
        PatternSet.from_dict(words)


def test_numpy_integers_are_as_good_as_ints():
    assert PatternSet(np.int64(8), np.int32(10)).sha256 == PatternSet(8, 10).sha256


@pytest.mark.parametrize("words", [{"size": 8.7}, {"size": "8"}, {"count": 10.5}, {"order": "random", "seed": 1.5}])
def test_what_is_no_whole_number_is_refused(words):
    with pytest.raises(CxgiError, match="no whole number"):
        PatternSet(**{"size": 8, "count": 10} | words)


def test_different_sets_have_different_digests():
    sets = [PatternSet(8, 10), PatternSet(8, 11), PatternSet(16, 10), PatternSet(8, 10, "natural")]
    assert len({s.sha256 for s in sets}) == len(sets)


@pytest.mark.parametrize("words", [{"size": 8}, {"size": 8, "count": 0, "order": "natural", "basis": "hadamard"}, {}])
def test_incomplete_words_are_refused(words):
    with pytest.raises(CxgiError, match=r"lacks|count"):
        PatternSet.from_dict(words)


def test_text_that_is_no_json_is_refused():
    with pytest.raises(CxgiError, match="JSON"):
        PatternSet.from_json("{")


def test_pattern_set_is_immutable():
    with pytest.raises(ValueError, match="read-only"):
        PatternSet(8, 10).pattern_index[0] = 3


@pytest.mark.parametrize("k", [-1, 64])
def test_unknown_pattern_index_is_refused(k):
    with pytest.raises(CxgiError, match=str(k)):
        PatternSet(8, 64).pattern(k)


def test_a_set_is_shown_in_a_line_and_as_the_map_of_its_coefficients():
    chosen = PatternSet(8, 5, "random", 3)
    assert repr(chosen) == "PatternSet(5 of 64 patterns (7.8%) of 8 x 8, random, seed 3)"
    turns = map_turns(chosen)
    assert np.isnan(turns).sum() == 59
    down, along = sequency_grid(8)
    for turn, k in enumerate(chosen.pattern_index, start=1):
        assert turns[down[k], along[k]] == turn
    assert chosen._repr_png_().startswith(b"\x89PNG")
    assert 'alt="5 of 64 patterns (7.8%) of 8 x 8, random, seed 3' in chosen._repr_html_()


def test_a_set_that_is_chosen_says_how():
    shown = repr(ChosenSet(PatternSet(8, 10), 30, "best", 5))
    assert shown == (
        "ChosenSet(at most 30 of 64 patterns of 8 x 8: the first 10 of zig-zag, "
        "then batches of 5 that rule 'best' chooses)"
    )
