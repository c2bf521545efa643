"""Tasks without a C++ form: losses from their torch code, batches that the program draws, or torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.codegen.generated import question_emitters
from pipeline.codegen.sampling import has_classes
from pipeline.contracts.small_sweeps import assert_compiled_equals_torch, same, states_of
from pipeline.engine import examples
from pipeline.engine.block import Block
from pipeline.engine.program import compiled_engine_of, why_torch, written
from pipeline.numerics.compiler import toolchain
from pipeline.own_code.imported import forget, load, resolved
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS
from pipeline.tasks.dictionary_lookup import DictionaryLookup
from pipeline.tasks.linear_regression import LinearRegression
from tests.codegen.interpreter import question_by_torch, questions_by_graph

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")
OWN = str(Path(__file__).parent.parent / "zoo" / "tasks.py")
functional = torch.nn.functional
CLASSES = {
    "cross entropy": lambda p, t: functional.cross_entropy(p.transpose(1, 2), t, reduction="none"),
    "label smoothing": lambda p, t: functional.cross_entropy(
        p.transpose(1, 2), t, reduction="none", label_smoothing=0.1
    ),
    "weighted classes": lambda p, t: (
        torch.tensor([0.5, 1.0, 2.0, 1.0], dtype=p.dtype)[t] * -p.log_softmax(-1).gather(-1, t.unsqueeze(-1))[..., 0]
    ),
    "Brier score": lambda p, t: (p.softmax(-1) - functional.one_hot(t, 4)).square().sum(-1),
    "margin": lambda p, t: (
        (1 + p - p.gather(-1, t.unsqueeze(-1))).clamp(min=0).masked_fill(functional.one_hot(t, 4).bool(), 0.0).sum(-1)
    ),
    "logistic": lambda p, t: functional.binary_cross_entropy_with_logits(
        p, functional.one_hot(t, 4).to(p.dtype), reduction="none"
    ).mean(-1),
    "focal": lambda p, t: (
        -(1 - p.softmax(-1).gather(-1, t.unsqueeze(-1))).square() * p.log_softmax(-1).gather(-1, t.unsqueeze(-1))
    ).squeeze(-1),
}
VALUES = {
    "absolute": lambda p, t: (p.squeeze(-1) - t).abs(),
    "Huber": lambda p, t: functional.huber_loss(p.squeeze(-1), t, reduction="none", delta=0.5),
    "smooth": lambda p, t: functional.smooth_l1_loss(p.squeeze(-1), t, reduction="none"),
    "squares": lambda p, t: functional.mse_loss(p.squeeze(-1), t, reduction="none"),
    "log cosh": lambda p, t: functional.softplus(2 * (p.squeeze(-1) - t)) - (p.squeeze(-1) - t),
}


def lookup_with(loss):
    class Own(DictionaryLookup):
        def losses(self, predictions, targets):
            return loss(predictions, targets)

    return Own(num_keys=3, num_values=4, num_pairs=2)


def regression_with(loss):
    class Own(LinearRegression):
        def losses(self, predictions, targets):
            return loss(predictions, targets)

    return Own(dim=3, num_pairs=4)


def assert_equal_to_torch(task):
    """Of predictions drawn at random, and some of which are largest together."""
    of_classes, shape = has_classes(task, "float64"), task.shape()
    by_graph = questions_by_graph(task, of_classes)
    draw = np.random.default_rng(0)
    for number in range(6):
        predictions = torch.from_numpy(draw.normal(size=shape.num_outputs))
        if number == 0:
            predictions[:] = 0.25
        target = int(draw.integers(shape.num_outputs)) if of_classes else float(draw.normal())
        pairs = zip(by_graph(predictions, target), question_by_torch(task, predictions, target), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", CLASSES.values(), ids=CLASSES)
def test_losses_of_classes_and_their_slopes_are_those_of_torch(loss):
    assert_equal_to_torch(lookup_with(loss))


@pytest.mark.parametrize("loss", VALUES.values(), ids=VALUES)
def test_losses_of_values_and_their_slopes_are_those_of_torch(loss):
    assert_equal_to_torch(regression_with(loss))


@pytest.mark.parametrize("name", sorted(TASKS))
def test_so_are_those_of_every_registered_task(name):
    assert_equal_to_torch(TASKS[name].tiny())


def test_slopes_of_a_cross_entropy_take_the_exponentials_of_its_value_and_add_nothing_up():
    emitter = question_emitters(DictionaryLookup.tiny(), "float32")[0]
    forward, backward = "\n".join(emitter.lines()).split("if (by_predictions)")
    assert forward.count("on_numbers::exp(") == 1
    assert "on_numbers::exp(" not in backward
    assert "total" not in backward


@pytest.fixture
def own_tasks():
    """The tasks of the zoo as imported code of one's own."""
    entry = resolved(OWN, Path())
    load(entry)
    yield
    forget(entry)


def runs_of(task, model, **changes):
    spec = {
        "name": "own",
        "task": task,
        "model": model,
        "optimiser": {"name": "adamw", "lr": 1e-2},
        "batch_size": 21,
        "budget": 200,
        "dtype": "float64",
        "seeds": {"together": [0, 1, 2]},
        "vary": [{"optimiser.lr": [1e-2, 2e-2]}],
        "tracking": {"mode": "disabled"},
    }
    return SweepSpec.model_validate(spec | changes).runs()


LOOKUP = {"name": "own_lookup", "num_keys": 3, "num_values": 4, "num_pairs": 2}
SEQUENCE = {"name": "own_sequence", "num_tokens": 4, "period": 3}
REGRESSION = {"name": "own_regression", "dim": 3, "num_pairs": 4}
BY_TORCH = {"name": "torch_regression", "dim": 3, "num_pairs": 4}
NOISE = {"vary": [{"task.label_noise": [0.1, 0.3]}]}
PROGRAMS = {
    "tokens and attention": (LOOKUP, {"name": "attention_only", "width": 8, "num_heads": 2, "num_layers": 1}, {}),
    "vectors, noise, references": (REGRESSION, {"name": "linear_self_attention"}, NOISE),
    "vectors, noise, references, drawn by torch": (BY_TORCH, {"name": "linear_self_attention"}, NOISE),
    "features, and a parameter that is not trained": (
        {"name": "feature_regression", "num_features": 3, "num_pairs": 7},
        {"name": "merged_softmax_attention", "width": 4},
        {"optimiser": {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1}},
    ),
    "many questions": (SEQUENCE, {"name": "transformer", "width": 8, "num_heads": 1, "num_layers": 1}, {}),
}


@needs_compiler
@pytest.mark.parametrize(("task", "model", "changes"), PROGRAMS.values(), ids=PROGRAMS)
def test_programs_of_tasks_without_a_header_train_and_measure_as_torch_does(task, model, changes, own_tasks):
    runs = runs_of(task, model, **changes)
    found = written(runs[0])
    assert "task" in found.texts
    assert bool(found.why_drawn) == (task is BY_TORCH)
    assert_compiled_equals_torch(runs)


@needs_compiler
def test_how_much_is_drawn_at_once_moves_no_bit(own_tasks, monkeypatch):
    runs = runs_of(BY_TORCH, {"name": "linear_self_attention"}, **NOISE)
    engine = compiled_engine_of(runs[0])
    found = []
    for size in (1, 40_000, 1 << 30):
        monkeypatch.setattr(examples, "_DRAWN_BYTES", size)
        found.append(states_of(runs, 6, engine=engine, steps=13))
    assert all(same(*pair) for other in found[1:] for pair in zip(found[0], other, strict=True))


def test_a_loss_that_cannot_be_written_is_named_with_its_line(own_tasks):
    config = runs_of({**LOOKUP, "name": "ranked"}, {"name": "attention_only"})[0]
    said = why_torch(config)
    assert said.startswith("task ranked (no C++ is written for aten.sort")
    assert "tasks.py:" in said
    assert "predictions.sort(-1)" in said


WRONG = {
    "a token too large": (lambda batch: batch._replace(inputs=batch.inputs + 1), "tokens outside 0 to 6"),
    "too few tokens": (lambda batch: batch._replace(inputs=batch.inputs[..., 1:]), r"inputs of shape \(1, 21, 4\)"),
    "too few targets": (lambda batch: batch._replace(targets=batch.targets[:, 1:]), r"targets of shape \(1, 20\)"),
    "a class too large": (lambda batch: batch._replace(targets=batch.targets + 9), "out of bounds"),
    "real targets": (lambda batch: batch._replace(targets=batch.targets.double()), "targets of another type"),
}


@needs_compiler
@pytest.mark.parametrize(("change", "told"), WRONG.values(), ids=WRONG)
def test_batches_beyond_the_shape_that_was_compiled_are_refused(change, told, own_tasks, monkeypatch):
    config = runs_of({**LOOKUP, "name": "torch_lookup"}, PROGRAMS["tokens and attention"][1])[0]
    block = Block(config, 3, torch.device("cpu"), compiled_engine_of(config))
    sample = type(config.task).sample
    monkeypatch.setattr(type(config.task), "sample", lambda *given: change(sample(*given)))
    with pytest.raises((ValueError, RuntimeError), match=told):
        block.train(1)
