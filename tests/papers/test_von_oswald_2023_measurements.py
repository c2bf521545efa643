"""What von Oswald et al. (2023) is reproduced from: sweep files, closed forms, measurements on trained models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.outcomes.measurements import join_measurements
from pipeline.numerics.streams import Draws, stream_key
from pipeline.spec.sweep import load_spec
from pipeline.store.history import RunInfo
from pipeline.tasks.base import TASKS
from pipeline.training.replay import model
from sweeps.papers import PROFILES
from sweeps.von_oswald_2023 import measurements, measures
from sweeps.von_oswald_2023.gradient_descent import Descent, construction, optimal_step_size
from sweeps.von_oswald_2023.measurements import Trained, contexts, one_layer, several_layers, shifted
from sweeps.von_oswald_2023.paper import PAPER
from tests.papers import planted_von_oswald as planted
from tests.support import tiny, trained

SWEEPS = Path(__file__).resolve().parent.parent.parent / "sweeps" / "von_oswald_2023"
TASK = TASKS["linear_regression"]()
SMALL = TASKS["linear_regression"](dim=3)
# Large enough at init that predictions are not nearly zero.
LAYER = {"name": "linear_self_attention", "init_variance": 0.3}
LAYERS = LAYER | {"num_layers": 2}
MODELS = {"tied": LAYERS | {"is_tied": True}, "untied": LAYERS}


def test_the_sweeps_are_the_settings_that_are_claimed():
    for profile in PROFILES:
        loaded = [(sweep, load_spec(sweep.path, sweep.overrides(profile))) for sweep in PAPER.of_profile(profile)]
        assert all(spec.name == f"von_oswald_2023_{sweep.name}" for sweep, spec in loaded)
    specs = {path.stem: load_spec(path) for path in SWEEPS.glob("*.yaml")}
    assert set(specs) == {sweep.name for sweep in PAPER.sweeps}
    for name, spec in specs.items():
        assert (spec.optimiser.beta1, spec.optimiser.beta2, spec.optimiser.weight_decay) == (0.9, 0.98, 0)
        if name == "text_inputs":
            assert (spec.task.dim, spec.task.input_range, spec.optimiser.clip) == (10, 1.0, 10)
            continue
        if name != "sine":
            assert (spec.task.dim, spec.task.input_range) == (10, 0.5)
        if name not in ("sine", "mlp_block", "separate_tokens"):
            assert spec.optimiser.clip == (1e-3 if spec.model.num_layers <= 2 else 10)
    assert {run.task.num_batches * run.batch_size for run in specs["fixed_tasks"].runs()} == {128, 512, 2048, 8192}
    assert specs["mlp_block"].task.num_batches * specs["mlp_block"].batch_size == 8192
    assert {run.task.num_pairs for run in specs["context_lengths"].runs()} == {25, 50, 100}
    assert {run.model.attention for run in specs["sine"].runs()} == {"trained", "gradient_step"}
    for name in ("heads", "softmax"):
        assert {run.model.num_heads for run in specs[name].runs()} == {1, 2}
    for measurement in PAPER.measurements:
        assert 0 in specs[measurement.sweep].snapshots.states
    fast = {s.name: len(load_spec(s.path, s.overrides("fast")).runs()) for s in PAPER.of_profile("fast")}
    assert {name: fast[name] for name in ("one_layer", "heads")} == {"one_layer": 16, "heads": 64}
    assert fast.keys().isdisjoint({"two_layers_untied", "five_layers_tied", "five_layers_untied", "sine"})


def of(num_pairs=10, dim=10, input_range=0.5):
    setting = {"task.num_pairs": num_pairs, "task.dim": dim, "task.input_range": input_range}
    return RunInfo("r", "s", 0, 0, setting)


def assert_mean(values_B, expected):
    error = float(values_B.std()) / len(values_B) ** 0.5
    assert float(values_B.mean()) == pytest.approx(expected, abs=4 * error)
    assert error < 0.03 * expected


@pytest.mark.parametrize(
    ("num_pairs", "input_range", "loss", "step_size"),
    [
        (10, 0.5, 0.2062, 6.061),
        (10, 1.0, 0.8249, 1.515),
        (25, 0.5, 0.1173, 8.621),
        (50, 0.5, 0.0683, 10.033),
        (100, 0.5, 0.0372, 10.929),
    ],
)
def test_closed_forms_are_what_explicit_steps_have(num_pairs, input_range, loss, step_size):
    run = of(num_pairs, input_range=input_range)
    assert measures.one_step_loss(run) == pytest.approx(loss, abs=6e-5)
    assert measures.population_step_size(run) == pytest.approx(step_size, abs=6e-4)
    task = TASKS["linear_regression"](num_pairs=num_pairs, input_range=input_range)
    # Not kept: a hundred pairs of 4000 contexts are large.
    inputs, targets = contexts.__wrapped__(task, 3, 10_000 if num_pairs == 10 else 4000)
    assert_mean(0.5 * (Descent.plain(measures.population_step_size(run))(inputs) - targets).square(), loss)
    assert_mean(0.5 * targets.square(), measures.zero_loss(run))
    found, slope = optimal_step_size(inputs, targets), Descent.plain(1.0)(inputs)
    error = float((slope * (targets - found * slope)).square().sum().sqrt() / slope.square().sum())
    assert found == pytest.approx(measures.population_step_size(run), abs=4 * error)
    assert error < 0.03 * found


def test_the_zero_prediction_has_its_closed_form():
    assert measures.zero_loss(of()) == pytest.approx(0.4167, abs=5e-5)
    assert measures.zero_loss(of(dim=5, input_range=1.0)) == pytest.approx(5 / 6)


def drawn(name, number, num, seed=0):
    """What the streams of measured contexts hold."""
    draws = Draws(torch.tensor([stream_key(f"measured/{name}", seed)]), torch.zeros(1, dtype=torch.int64), num)
    return draws.normal(TASK.dim, number, torch.float64)[0]


def close(found, expected, atol=1e-12):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_shifted_contexts_are_what_their_names_say():
    num = 500
    inputs, targets = contexts(TASK, 0, num)
    found = shifted(TASK, 0, num)
    assert set(found) == set(planted.SHIFTS)
    w_B1D = drawn("data", 1, num).unsqueeze(1)
    for shift, (shifted_inputs, shifted_targets) in found.items():
        kind, _, size = shift.partition("/")
        x_BLD, y_BN = shifted_inputs[..., :-1], shifted_inputs[:, :-1, -1]
        assert (shifted_inputs[:, -1, -1] == 0).all()
        factor = float(size) if kind == "teachers" else 1.0
        y_BL = factor * (x_BLD * w_B1D).sum(-1)
        close(shifted_targets, y_BL[:, -1], 1e-8)
        if kind == "noisy":
            count = int(size)
            close(y_BN[:, count:], y_BL[:, count:-1], 1e-8)
            close(y_BN[:, :count], drawn("noise", 0, num)[:, :count])
            assert float(y_BN[:, :count].std()) == pytest.approx(1, abs=4 / (2 * num * count) ** 0.5)
        else:
            close(y_BN, y_BL[:, :-1], 1e-8)
        if kind == "inputs":
            close(x_BLD, float(size) * inputs[..., :-1])
        elif kind in ("teachers", "noisy"):
            close(x_BLD, inputs[..., :-1])
        else:
            close(x_BLD[:, :-1].flatten(1).norm(dim=1), torch.full((num,), float(size), dtype=torch.float64))
            close(x_BLD / float(size), found[f"{kind}/1"][0][..., :-1])
    close(found["inputs/1"][1], targets)


def test_inputs_of_a_family_are_of_that_family_and_made_of_the_same_draws():
    inputs, _ = contexts(TASK, 0, 500)
    found = shifted(TASK, 0, 500)
    x = {family: found[f"{family}/1"][0][..., :-1] for family in measurements.INPUT_FAMILIES}
    # E|x| over the root of E x^2; the norm of a context is fixed, so it is nearly that of the family.
    shares = {
        family: float((x[family].abs().mean((1, 2)) / x[family].square().mean((1, 2)).sqrt()).mean()) for family in x
    }
    assert shares == pytest.approx(
        {"exponential": 0.5**0.5, "normal": (2 / np.pi) ** 0.5, "laplace": 0.5**0.5}, abs=0.02
    )
    assert (x["exponential"] > 0).all()
    for family in ("normal", "laplace"):
        assert torch.equal(x[family].sign(), inputs[..., :-1].sign())
    order = inputs[0, :, :-1].flatten().argsort()
    assert all((x[family][0].flatten()[order].diff() > 0).all() for family in x)


def test_runs_are_measured_on_contexts_of_their_own_that_are_not_those_of_the_fit():
    first = contexts(TASK, 0, 50)[0]
    assert torch.equal(first, contexts.__wrapped__(TASK, 0, 50)[0])
    for other in (contexts(TASK, 1, 50), contexts(TASK, 0, 50, "fitted")):
        assert torch.isin(first[..., :-1], other[0][..., :-1]).double().mean() < 0.01


@pytest.fixture
def few(monkeypatch):
    """A small task, few contexts, and nothing kept of what was fitted to them."""
    monkeypatch.setattr(TASKS["linear_regression"], "tiny", classmethod(lambda cls: cls(dim=3)))
    monkeypatch.setattr(measurements, "NUM_CONTEXTS", 300)
    monkeypatch.setattr(measurements, "NUM_SHIFTED", 200)
    measurements._descents.cache_clear()
    yield
    measurements._descents.cache_clear()


def store_of(folder, **changes):
    spec = tiny("linear_regression", seeds={"together": [0, 1]}, snapshots={"states": [0, 10]}, **changes)
    return trained(spec, folder)


SHIFTED = {f"{{}}_loss/{shift}" for shift in planted.SHIFTS}
COMPARED = {
    f"{who}_{what}" for who in ("steps", "plus") for what in ("cosine", "model_difference", "prediction_difference")
}
OF_TIED = {"trained_step_size", "trained_curvature", "plus_step_size", "plus_curvature"}


def losses_of(*names):
    return {shift.format(name) for name in names for shift in ("{}_loss", *SHIFTED)}


def checked(store, measure, expected):
    """The rows of a measurement: one per run and kept step, with these metrics, that join the history."""
    rows = list(measure(store))
    history = store.history()
    steps = {run.run_id: sorted(store.snapshots().of(run.run_id)) for run in history.runs}
    assert [(row["run_id"], row["step"]) for row in rows] == [(run, step) for run in steps for step in steps[run]]
    assert [*steps.values()] == [[0, 10, 30]] * 2
    for row in rows:
        assert set(row) == {"run_id", "step"} | expected
        assert all(np.isfinite(row[name]) for name in expected)
        data_seed = next(run.data_seed for run in history.runs if run.run_id == row["run_id"])
        replayed = model(store, row["run_id"], row["step"])
        inputs, targets = contexts(SMALL, data_seed, measurements.NUM_CONTEXTS)
        with torch.no_grad():
            predictions = replayed(inputs.float())[:, 0].double()
        assert row["trained_loss"] == pytest.approx(float(0.5 * (predictions - targets).square().mean()), rel=1e-5)
    for row, again in zip(rows, measure(store), strict=True):
        assert again.keys() == row.keys()
        assert [again[name] for name in expected] == pytest.approx([row[name] for name in expected], rel=1e-9)
    found = join_measurements(history, rows)
    assert np.isfinite(measures.at_end(found, "trained_loss")).all()
    return rows, set(found.values)


def test_one_layer_is_measured_at_every_run_and_kept_step(few, tmp_path):
    expected = losses_of("trained", "gd", "interpolated")
    expected |= {f"{who}_loss/{shift}" for who in ("trained", "gd", "interpolated") for shift in planted.LENGTHS}
    expected |= {"line_search_step_size", "trained_step_size", "construction_difference"}
    expected |= {f"rolled_{who}_loss/{times}" for who in ("trained", "gd") for times in (1, 2, 5, 10, 20, 50)}
    rows, known = checked(store_of(tmp_path, model=LAYER), one_layer, expected)
    assert set(planted.one_layer(2).history.values) <= known, "claims are tested on what is recorded and measured"
    for row in rows:
        assert row["gd_loss"] < row["trained_loss"], "a step of the best size is better than a few of training"
        assert row["gd_loss/inputs/1"] == pytest.approx(row["gd_loss/teachers/1"])
        assert (np.diff([row[f"rolled_gd_loss/{times}"] for times in measurements.ROLLED]) < 0).all()
        assert 0 < row["construction_difference"] < 1e-6
    assert len({round(row["gd_loss"], 12) for row in rows}) == 2, "contexts are the run's, at all its steps"


@pytest.mark.parametrize("kind", MODELS)
def test_several_layers_are_measured_at_every_run_and_kept_step(few, tmp_path, kind):
    expected = losses_of("trained", "gd", "plus") | COMPARED | (OF_TIED if kind == "tied" else set())
    rows, known = checked(store_of(tmp_path, model=MODELS[kind]), several_layers, expected)
    assert set(planted.several_layers(f"two_layers_{kind}", 2).history.values) <= known
    assert all(row["plus_loss"] < row["gd_loss"] < row["trained_loss"] for row in rows)


def constructed(monkeypatch, descent_of, **changes):
    """The only run that there is has weights that carry a descent out."""
    config = tiny("linear_regression", **changes).runs()[0]
    one = Trained(config, 0, construction(4, 10, descent_of(config)))
    monkeypatch.setattr(measurements, "trained", lambda store: iter([one]))


def shares(row, ours, theirs):
    """(metrics,) ratios of two losses, under no shift and every one."""
    return [row[shift.format(ours)] / row[shift.format(theirs)] for shift in ("{}_loss", *sorted(SHIFTED))]


def test_a_layer_that_is_the_construction_is_the_step_under_every_shift(few, monkeypatch):
    constructed(
        monkeypatch,
        lambda config: Descent.plain(
            optimal_step_size(*contexts(config.task, config.data_seed, measurements.NUM_CONTEXTS))
        ),
    )
    (row,) = one_layer(None)
    assert shares(row, "trained", "gd") == pytest.approx([1] * 19, rel=1e-9)
    assert shares(row, "interpolated", "gd") == pytest.approx([1] * 19, rel=1e-9)
    for shift in planted.LENGTHS:
        assert row[f"trained_loss/{shift}"] == pytest.approx(row[f"gd_loss/{shift}"], rel=1e-9)
    assert row["trained_step_size"] == pytest.approx(row["line_search_step_size"])
    for times in measurements.ROLLED:
        assert row[f"rolled_trained_loss/{times}"] == pytest.approx(row[f"rolled_gd_loss/{times}"])


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("who", "metric"), [(0, "steps"), (1, "plus")])
def test_layers_that_are_the_construction_are_the_descent_under_every_shift(few, monkeypatch, kind, who, metric):
    is_tied = kind == "tied"
    constructed(monkeypatch, lambda config: measurements._descents(config.task, 2, is_tied)[who], model=MODELS[kind])
    (row,) = several_layers(None)
    theirs = ("gd", "plus")[who]
    assert shares(row, "trained", theirs) == pytest.approx([1] * 19, rel=1e-9)
    assert row[f"{metric}_cosine"] == pytest.approx(1)
    assert row[f"{metric}_model_difference"] == pytest.approx(0, abs=1e-9)
    assert row[f"{metric}_prediction_difference"] == pytest.approx(0, abs=1e-9)
    other = ("plus", "steps")[who]
    assert row[f"{other}_cosine"] < 0.9999
    assert row[f"{other}_model_difference"] > 0.01
    if is_tied and metric == "plus":
        assert row["trained_step_size"] == pytest.approx(row["plus_step_size"])
        assert row["trained_curvature"] == pytest.approx(row["plus_curvature"])
    elif is_tied:
        assert row["trained_curvature"] == pytest.approx(0, abs=1e-12)


def test_what_is_not_finite_is_not_measured(few, monkeypatch):
    constructed(monkeypatch, lambda config: Descent.plain(float("nan")))
    (row,) = one_layer(None)
    assert row["trained_loss"] is None
    assert row["trained_loss/noisy/2"] is None
    assert row["gd_loss"] is not None
