"""Similarity of attention maps: planted patterns, matched heads, nulls, and runs as the unit."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.dynamics.attention import permuted_positions, read_maps, similarity, steps_at_level, visible_keys
from analysis.dynamics.similarity_contrasts import contrast
from pipeline.store.history import RunInfo

NAN = np.nan
LENGTH, ITEMS = 9, 4


def runs_of(count):
    return [RunInfo(f"r{r}", "s", r, r, {}) for r in range(count)]


def softmax_maps(scores):
    """Causal attention for scores (R, layers, items, H, L, L)."""
    weight = np.exp(scores) * np.tril(np.ones((LENGTH, LENGTH)))
    return weight / weight.sum(axis=-1, keepdims=True)


def random_maps(seed, num_runs, num_heads=1, strength=0.3, shared=0.0):
    """Maps whose scores have a part that all runs share, and noise of their own."""
    rng = np.random.default_rng(seed)
    shape = (1, ITEMS, num_heads, LENGTH, LENGTH)
    pattern = np.random.default_rng(99).normal(size=shape)
    return softmax_maps(shared * pattern + strength * rng.normal(size=(num_runs, *shape)))


def previous_token_maps(num_runs, strength=6.0, seed=0):
    scores = strength * np.eye(LENGTH, k=-1) + np.random.default_rng(seed).normal(
        size=(num_runs, 1, ITEMS, 1, LENGTH, LENGTH)
    )
    return softmax_maps(scores)


def test_the_same_pattern_is_alike_and_unrelated_ones_are_not():
    maps = np.concatenate([previous_token_maps(4), random_maps(1, 4, strength=3.0)])
    alike = similarity(maps)
    np.testing.assert_allclose(np.diag(alike), 1)
    np.testing.assert_allclose(alike, alike.T)
    off = ~np.eye(4, dtype=bool)
    assert alike[:4, :4][off].min() > 0.9
    assert np.abs(alike[4:, 4:][off]).max() < 0.3


def test_near_even_maps_are_not_alike_although_they_overlap_almost_wholly():
    maps = random_maps(2, 6, strength=0.05)
    overlap = np.minimum(maps[0], maps[1]).sum(axis=-1).mean()
    assert overlap > 0.95
    assert np.abs(similarity(maps)[~np.eye(6, dtype=bool)]).max() < 0.35


def test_strength_does_not_matter_and_exactly_even_maps_are_like_nothing():
    faint, strong = (softmax_maps(s * np.eye(LENGTH, k=-1) * np.ones((1, 1, ITEMS, 1, 1, 1))) for s in (0.1, 2.0))
    even = softmax_maps(np.zeros((1, 1, ITEMS, 1, LENGTH, LENGTH)))
    assert similarity(faint, strong)[0, 0] > 0.95
    assert similarity(even, strong)[0, 0] == 0
    rounded = even * (1 + 1e-8 * np.random.default_rng(0).normal(size=even.shape))
    assert abs(similarity(rounded)[0, 0]) < 1e-3


def test_heads_are_matched_layer_by_layer():
    maps = np.concatenate([random_maps(seed, 1, num_heads=3, strength=3.0) for seed in (3, 4)], axis=1)
    other = maps.copy()
    other[:, 0] = maps[:, 0][:, :, [2, 0, 1]]
    other[:, 1] = maps[:, 1][:, :, [1, 0, 2]]
    assert similarity(maps, other)[0, 0] == pytest.approx(1)
    assert np.mean([similarity(maps[:, :, :, [h]], other[:, :, :, [h]])[0, 0] for h in range(3)]) < 0.5
    half = maps.copy()
    half[:, :, :, 0] = random_maps(11, 1, strength=3.0)[:, :, :, 0]
    half[:, :, :, 1] = random_maps(12, 1, strength=3.0)[:, :, :, 0]
    assert similarity(maps, half)[0, 0] == pytest.approx(1 / 3, abs=0.2)
    swapped_layers = maps[:, ::-1]
    assert similarity(maps, swapped_layers)[0, 0] < 0.5


def test_permuting_positions_keeps_rows_and_causality_and_takes_the_agreement():
    maps = previous_token_maps(5)
    permuted = permuted_positions(maps, 0)
    np.testing.assert_allclose(np.sort(permuted, axis=-1), np.sort(maps, axis=-1))
    assert np.all(permuted[..., ~visible_keys(maps)] == 0)
    assert np.abs(similarity(maps, permuted)).mean() < 0.3
    assert similarity(permuted)[~np.eye(5, dtype=bool)].max() < 0.5
    np.testing.assert_array_equal(permuted_positions(maps, 0), permuted)


def test_some_queries_alone_can_be_compared():
    maps = random_maps(5, 3, strength=2.0)
    maps[..., -1, :] = previous_token_maps(3)[..., -1, :]
    last = maps[..., -1:, :]
    assert visible_keys(last).shape == (1, LENGTH)
    assert similarity(last).min() > 0.9
    assert similarity(maps)[0, 1] < similarity(last)[0, 1]
    assert permuted_positions(last, 0).shape == last.shape


def test_a_run_without_maps_is_nan_and_leaves_the_others_alone():
    maps = random_maps(6, 4, num_heads=2)
    gappy = maps.copy()
    gappy[1] = NAN
    found = similarity(gappy)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[:, 1]).all()
    keep = [0, 2, 3]
    np.testing.assert_allclose(found[np.ix_(keep, keep)], similarity(maps)[np.ix_(keep, keep)])


class FakeSnapshots:
    def __init__(self, maps, steps):
        self.maps, self.steps = maps, steps

    def of(self, run_id, kind="state"):
        return dict.fromkeys(self.steps[run_id]) if kind == "attention" else {}

    def read(self, run_id, step, kind="state"):
        assert kind == "attention"
        return {f"layer{i}": layer * step for i, layer in enumerate(self.maps[run_id])}


def test_maps_are_read_at_each_runs_own_step():
    maps = dict(zip(("a", "b", "c"), random_maps(7, 3), strict=True))
    snapshots = FakeSnapshots(maps, {"a": [1, 2], "b": [1], "c": [1, 2]})
    found = read_maps(snapshots, ["a", "b", "c"], [2, 2, NAN])
    np.testing.assert_array_equal(found[0], 2 * maps["a"])
    assert np.isnan(found[1:]).all()
    with pytest.raises(ValueError, match="no attention map was recorded, at steps \\[7\\]"):
        read_maps(snapshots, ["a"], [7])


def test_the_step_at_matched_loss_is_the_nearest_snapshot_before_the_jump():
    steps = np.array([0, 10, 20, 30, 40])
    values = np.array([[2.0, 1.3, 1.2, 1.21, 0.1], [2.0, 1.9, 1.8, 1.7, 1.6], [2, NAN, 1.2, 1.2, 1.2]])
    found = steps_at_level(values, steps, 1.2, 0.05, np.array([35.0, NAN, NAN]), [0, 10, 20, 30, 40, 50])
    np.testing.assert_array_equal(found, [20, NAN, 40])
    earlier = steps_at_level(values, steps, 1.2, 0.15, np.array([20.0, NAN, 30]), [10, 20, 40])
    np.testing.assert_array_equal(earlier, [10, NAN, 20])
    assert np.isnan(steps_at_level(values, steps, 1.2, 0.05, np.full(3, NAN), [5])).all()


def test_converged_runs_against_permuted_positions_others_and_init():
    converged = np.arange(24) < 16
    maps = np.concatenate([random_maps(8, 16, shared=1.0, strength=1.0), random_maps(9, 8, strength=1.0)])
    init = random_maps(10, 24, strength=0.2)
    now, runs = similarity(maps), runs_of(24)
    permuted = contrast(runs, now, similarity(maps, permuted_positions(maps, 0)), converged, converged)
    others = contrast(runs, now, now, converged, ~converged)
    earlier = contrast(runs, now, similarity(init), converged, converged)
    for found in (permuted, others, earlier):
        assert found.difference.low > 0.2
        assert found.first.value - found.second.value == pytest.approx(found.difference.value)
        assert abs(found.second.value) < 0.1
    assert (others.num_runs, others.num_pairs) == ((16, 8), (120, 28))


def planted_similarity(rng, num_runs):
    """Pairs that share the quality of both their runs: the dependence that makes runs, not pairs, the unit."""
    quality = rng.normal(size=num_runs)
    values = 0.5 + 0.2 * (quality[:, None] + quality) / 2 + 0.05 * rng.normal(size=(num_runs, num_runs))
    return (values + values.T) / 2


def test_the_interval_covers_the_truth_where_pairs_share_runs():
    rng, covered, covered_by_pairs = np.random.default_rng(0), 0, 0
    for trial in range(150):
        values = planted_similarity(rng, 15)
        found = contrast(runs_of(15), values, np.zeros((15, 15)), bootstrap=200, seed=trial)
        covered += found.difference.low <= 0.5 <= found.difference.high
        pairs = values[np.triu_indices(15, 1)]
        covered_by_pairs += abs(pairs.mean() - 0.5) <= 1.96 * pairs.std() / np.sqrt(len(pairs))
    assert covered / 150 >= 0.88
    assert covered_by_pairs / 150 < 0.75


def test_pairs_of_one_init_seed_are_no_pairs():
    runs = [RunInfo(f"r{r}", "s", r // 2, r, {}) for r in range(8)]
    values = np.where(np.arange(8)[:, None] // 2 == np.arange(8) // 2, 1.0, 0.25)
    found = contrast(runs, values, values)
    assert found.first.value == 0.25
    assert found.num_pairs == (24, 24)


def test_one_or_two_runs_have_no_interval_and_none_no_value():
    values = np.full((2, 2), 0.5)
    two = contrast(runs_of(2), values, values)
    assert two.first.value == 0.5
    assert np.isnan(two.first.low)
    one = contrast(runs_of(2), values, values, np.array([True, False]))
    assert np.isnan(one.first.value)
    assert np.isnan(one.difference.value)
