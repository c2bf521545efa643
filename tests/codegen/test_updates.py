"""Optimisers and schedules without a C++ form: from their torch code, equal to it."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.codegen.generated import generated_optimiser_or_why, generated_schedule_or_why
from pipeline.contracts.runs import spec_of
from pipeline.contracts.small_sweeps import assert_compiled_equals_torch, fitting, varied
from pipeline.engine.program import missing_part, why_torch, written
from pipeline.numerics.compiler import compiled, toolchain
from pipeline.numerics.cpp_names import cpp_name
from pipeline.own_code.imported import forget, load, resolved
from pipeline.spec.sweep import SweepSpec
from pipeline.tasks.base import TASKS
from tests.zoo import optimisers, schedules

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")
ZOO = Path(__file__).parent.parent / "zoo"
OPTIMISERS = [
    optimisers.OwnAdamW,
    optimisers.OwnSGD,
    optimisers.OwnLion,
    optimisers.SignSGD,
    optimisers.Adagrad,
    optimisers.RMSprop,
    optimisers.AdamByPowers,
    optimisers.Bounded,
    optimisers.EveryFunction,
]
SCHEDULES = [
    schedules.OwnConstant,
    schedules.OwnCosine,
    schedules.OwnLinear,
    schedules.OwnInverseSqrt,
    schedules.StableThenDecay,
    schedules.Exponential,
    schedules.Polynomial,
]
NUM_SLOTS, WIDTH = 3, 16


@pytest.fixture(autouse=True)
def zoo():
    """Optimisers, schedules and modules of the zoo as imported code of one's own."""
    entries = [resolved(str(ZOO / f"{name}.py"), Path()) for name in ("optimisers", "schedules", "modules")]
    for entry in entries:
        load(entry)
    yield
    for entry in entries:
        forget(entry)


def instances(part):
    """An instance for each slot, whose vector hyperparameters differ, without warm-up in the first."""
    rows = {path.removeprefix("own."): values for path, values in varied("own", part.tiny()).items()}
    return [part.tiny().model_copy(update={name: rows[name][slot] for name in rows}) for slot in range(NUM_SLOTS)]


def columns_of(parts):
    """(S, 1) of every vector hyperparameter, without a limit where it is None."""
    values = {name: [getattr(one, name) for one in parts] for name in parts[0].vector_fields()}
    return {
        name: torch.tensor([[np.inf if value is None else float(value)] for value in of_slots]).double()
        for name, of_slots in values.items()
    }


HEAD = """
#include "functions.h"
#include "hyperparameters.h"
struct Given { real *moments[16], *scalars[16]; const real* columns[16]; };
"""
UNIT = """
namespace part_{name} {{
namespace constants {{ constexpr long row_width = {width}; namespace {kind} {{ {places} }} }}
{text}
}}
"""
CALLS = {
    "optimiser": """
extern "C" void call_{name}(real* weights, const real* gradient, real scale, real lr, const Given* given, int slot) {{
  OptimiserState state;
  for (int k = 0; k < 16; ++k)
    state.moments[k] = given->moments[k] + slot * {width}, state.scalars[k] = given->scalars[k] + slot;
  part_{name}::Optimiser::update(weights + slot * {width}, gradient + slot * {width}, scale, lr, state,
                                 Hyperparameters{{given->columns, slot}});
}}
""",
    "schedule": """
extern "C" real call_{name}(real step, const Given* given, int slot) {{
  return part_{name}::Schedule::after_warmup(step, Hyperparameters{{given->columns, slot}});
}}
""",
}


def unit(kind, part, text):
    places = " ".join(f"constexpr int {cpp_name(name)} = {k};" for k, name in enumerate(part.vector_fields()))
    return (UNIT + CALLS[kind]).format(name=part.name, kind=kind, places=places, text=text, width=WIDTH)


class Given(ctypes.Structure):
    _fields_ = [
        ("moments", ctypes.c_void_p * 16),
        ("scalars", ctypes.c_void_p * 16),
        ("columns", ctypes.c_void_p * 16),
    ]


def given(moments, scalars, columns):
    """Addresses; `columns` are kept alive by the caller."""
    return Given(
        *(
            (ctypes.c_void_p * size)(*(one.data_ptr() for one in part))
            for part, size in ((moments, 16), (scalars, 16), (columns, 16))
        )
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """All optimisers and schedules, compiled together."""
    texts = [unit("optimiser", one, generated_optimiser_or_why(one.tiny(), "float64").text) for one in OPTIMISERS]
    texts += [unit("schedule", one, generated_schedule_or_why(one.tiny(), "float64").text) for one in SCHEDULES]
    source = tmp_path_factory.mktemp("updates") / "updates.cpp"
    source.write_text("".join([HEAD, *texts]))
    preamble = "#define REAL double\nnamespace constants { constexpr long NUM_MOMENTS = 16, NUM_SCALARS = 16; }\n"
    return compiled(str(source), preamble)


def state_of(optimiser):
    state = {name: torch.zeros(NUM_SLOTS, WIDTH).double() for name in optimiser.moments}
    return state | {name: torch.full((NUM_SLOTS,), start).double() for name, start in optimiser.scalars.items()}


@needs_compiler
@pytest.mark.parametrize("cls", OPTIMISERS, ids=lambda cls: cls.name)
def test_twelve_updates_of_an_optimiser_are_those_of_its_torch_code(cls, library):
    parts = instances(cls)
    columns, own, state = columns_of(parts), state_of(cls), state_of(cls)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(NUM_SLOTS, WIDTH, generator=generator).double()
    found = weights.clone()
    addresses = given([own[name] for name in cls.moments], [own[name] for name in cls.scalars], columns.values())
    function = getattr(library, f"call_{cls.name}")
    pointers, reals = [ctypes.c_void_p] * 2, [ctypes.c_double] * 2
    function.restype, function.argtypes = None, [*pointers, *reals, ctypes.c_void_p, ctypes.c_int]
    for step in range(12):
        gradient = torch.randn(NUM_SLOTS, WIDTH, generator=generator).double()
        lr = columns["lr"] / (step + 1)
        parts[0].update(weights, gradient.clone() * 0.5, state, {**columns, "lr": lr})
        for slot in range(NUM_SLOTS):
            rates = 0.5, float(lr[slot])
            function(found.data_ptr(), gradient.data_ptr(), *rates, ctypes.addressof(addresses), slot)
    torch.testing.assert_close(found, weights, rtol=1e-9, atol=1e-12)
    for name, value in state.items():
        torch.testing.assert_close(own[name], value, rtol=1e-9, atol=1e-12)
    assert not torch.equal(found[0], found[1])


@needs_compiler
@pytest.mark.parametrize("cls", SCHEDULES, ids=lambda cls: cls.name)
def test_factors_of_a_schedule_are_those_of_its_torch_code(cls, library):
    parts = instances(cls)
    columns = columns_of(parts)
    addresses = given([], [], columns.values())
    function = getattr(library, f"call_{cls.name}")
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double, ctypes.c_void_p, ctypes.c_int]
    for step in range(40):
        steps = torch.full((NUM_SLOTS, 1), float(step)).double()
        found = [function(float(step), ctypes.addressof(addresses), slot) for slot in range(NUM_SLOTS)]
        np.testing.assert_allclose(found, parts[0].after_warmup(steps, columns).squeeze(1), rtol=1e-9, atol=1e-12)


LOOKUP = {"name": "dictionary_lookup", "num_keys": 3, "num_values": 5, "num_pairs": 2}
MODELS = {
    "with attention": {"name": "attention_only", "width": 8, "num_heads": 2, "num_layers": 1},
    "from a module": {"name": "zoo", "kind": "mlp", "width": 6},
}


def runs_of(optimiser, schedule, model="with attention", **changes):
    """Six runs, of which any two differ in learning rate or seed; those of two rates differ in all else, too."""
    rows = varied("optimiser", optimiser.tiny()) | varied("schedule", schedule.tiny())
    vary = {path: values[1:3] for path, values in rows.items()} | {"optimiser.clip": [0.5, None]}
    spec = {
        "name": "own",
        "task": LOOKUP,
        "model": MODELS[model],
        "optimiser": {"name": optimiser.name} | optimiser.tiny().model_dump(exclude={"clip"}),
        "schedule": {"name": schedule.name} | schedule.tiny().model_dump(),
        "batch_size": 21,
        "budget": 100,
        "dtype": "float64",
        "seeds": {"together": [0, 1, 2]},
        "vary": [vary],
        "tracking": {"mode": "disabled"},
    }
    return SweepSpec.model_validate(spec | changes).runs()


@needs_compiler
def test_a_sweep_with_an_optimiser_and_a_schedule_of_ones_own_is_compiled_and_equal_to_torch():
    runs = runs_of(optimisers.RMSprop, schedules.OwnInverseSqrt)
    assert written(runs[0]).texts.keys() == {"task", "model", "optimiser", "schedule"}
    assert_compiled_equals_torch(runs)


PAIRS = [
    (cls, SCHEDULES[number % len(SCHEDULES)])
    for number, cls in enumerate(OPTIMISERS)
    if cls is not optimisers.EveryFunction
]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("optimiser", "schedule"), PAIRS, ids=lambda cls: cls.name)
def test_so_is_every_one_of_the_zoo_with_models_of_both_kinds(optimiser, schedule, model):
    assert_compiled_equals_torch(runs_of(optimiser, schedule, model))


REGISTERED = [(task, model) for task in sorted(TASKS) for model in sorted(fitting(TASKS[task].tiny()))]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("optimiser", "schedule"), [("sgd", "linear"), ("own_adamw", "own_cosine")])
@pytest.mark.parametrize(("task", "model"), REGISTERED)
def test_every_registered_task_and_model_is_compiled_with_every_optimiser_and_equal_to_torch(
    task, model, optimiser, schedule
):
    """With the registered AdamW they are in `contracts/test_runs`."""
    runs = spec_of(task, model, optimiser, schedule, dtype="float64").runs()
    assert missing_part(runs[0]) == ""
    assert_compiled_equals_torch(runs)


def test_an_optimiser_that_takes_weights_together_is_named_with_the_line():
    config = runs_of(optimisers.ByNorm, schedules.OwnLinear, "from a module")[0]
    said = why_torch(config)
    assert written(config).texts == {}
    assert said.startswith("optimiser by_norm (no C++ is written for aten.sum.dim_IntList across the weights of a run")
    assert "optimisers.py:" in said
    assert "length = grad_SP.square().sum(1, keepdim=True).sqrt()" in said


def test_a_schedule_with_a_warm_up_of_its_own_is_left_to_torch():
    said = why_torch(runs_of(optimisers.OwnLion, schedules.OwnWarmup)[0])
    assert said.startswith("schedule own_warmup (no C++ is written for a warm-up of its own")


UNWRITTEN = {
    "its own hyperparameters": (lambda it, w, g, c: w.sub_(g * it.lr), "from anywhere but `columns`"),
    "the number of weights": (lambda it, w, g, c: w.sub_(g * c["lr"] / w.shape[1]), "number of weights"),
    "the place of a weight": (lambda it, w, g, c: w.sub_(g * torch.arange(w.shape[1]) * c["lr"]), "the place"),
    "another weight": (lambda it, w, g, c: w.sub_(g.roll(1, 1) * c["lr"]), "aten.sub.Tensor across the weights"),
    "another weight alone": (lambda it, w, g, c: w.copy_(g.roll(1, 1)), "moves numbers from one weight to another"),
    "another slot": (lambda it, w, g, c: w.sub_(g * c["lr"].mean()), "aten.mean.default across"),
    "a product": (lambda it, w, g, c: w.sub_(g @ g.T @ g * c["lr"]), "aten.mm.default across"),
    "a norm": (lambda it, w, g, c: w.sub_(g / g.norm(dim=1, keepdim=True) * c["lr"]), "aten.sum.dim_IntList across"),
    "a draw": (lambda it, w, g, c: w.sub_(torch.randn(w.shape) * c["lr"]), "aten.randn.default, which draws"),
    "a branch": (
        lambda it, w, g, c: w.sub_(g) if c["lr"].max() > 1 else None,
        "cannot be traced: Python takes a number",
    ),
}


@pytest.mark.parametrize(("update", "told"), UNWRITTEN.values(), ids=UNWRITTEN)
def test_an_update_that_no_text_for_one_weight_describes_is_left_to_torch(update, told):
    class Own(optimisers.SignSGD):
        def update(self, weights_SP, grad_SP, state, columns):
            update(self, weights_SP, grad_SP, columns)

    found = generated_optimiser_or_why(Own(lr=0.1), "float64")
    assert found.text is None
    assert re.search(told, found.why_not)
    is_named = "(" in found.why_not
    assert is_named == ("aten" in told or "traced" in told)


def test_what_tells_parameters_apart_is_left_to_torch():
    class Own(optimisers.SignSGD):
        def in_rows(self, spans):
            return self

    assert "parameters of a model apart" in generated_optimiser_or_why(Own(lr=0.1), "float64").why_not


def test_one_text_serves_all_vector_hyperparameters_and_each_static_one_has_its_own():
    centred, other, plain = (
        generated_optimiser_or_why(optimisers.RMSprop(**values), "float64")
        for values in ({"lr": 0.1}, {"lr": 0.2, "default": 0.5}, {"lr": 0.1, "is_centred": False})
    )
    assert centred is other
    assert centred.text != plain.text
