"""The comparison is one of equals: every peer computes the loss and the gradients of seedbed's own models."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from benchmarks.peers.eager import EagerChoice, EagerRun, adamw
from benchmarks.peers.eager_models import Written, draw, loss_of, model_of
from benchmarks.workloads import WORKLOADS, RegressionWorkload, spec_of
from benchmarks.zoo import sides
from pipeline.engine.block import Block

NAMES = [name for name in WORKLOADS if name != "lsa_2048"]
WRITTEN = [
    Written(*parts)
    for parts in itertools.product(("ordinary", "reduced"), ("together", "separate"), ("sdpa", "products"))
]
ITEMS = 16


def reference(workload):
    """(weights by name, inputs, targets, loss, gradients by name) of seedbed's forward pass, in float64, of one run."""
    spec = spec_of(workload, 1, dtype="float64")
    block = Block(spec.runs()[0], 1, torch.device("cpu"))
    batch = block.sample("train", block.steps_S, ITEMS)
    num_query_positions = spec.task.shape().num_query_positions
    leaves = {name: value.detach().clone().requires_grad_(True) for name, value in block.parameters.items()}
    predictions = block.model.forward(leaves, batch.inputs, num_query_positions=num_query_positions).predictions
    loss = block.task.losses(predictions, batch.targets).mean()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    weights = {name: value.detach()[0] for name, value in leaves.items()}
    found = dict(zip(leaves, [gradient[0] for gradient in gradients], strict=True))
    targets = batch.targets[0].view(ITEMS, -1).squeeze(1)
    return weights, batch.inputs[0], targets, loss.detach(), found


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_have_seedbeds_names_shapes_and_scale(name):
    spec = spec_of(WORKLOADS[name], 1)
    specs = spec.model.parameter_specs(spec.task.shape())
    ours = {name: (m.rows, m.columns, m.std, m.is_truncated) for name, m in WORKLOADS[name].matrices().items()}
    assert ours == {one.name: (one.rows, one.columns, one.std, one.distribution == "truncated_normal") for one in specs}


@pytest.mark.parametrize("name", NAMES)
def test_eager_computes_seedbeds_loss_and_gradients_however_it_is_written(name):
    workload = WORKLOADS[name]
    weights, inputs, targets, loss, gradients = reference(workload)
    for written in WRITTEN:
        model = model_of(workload, written).double()
        with torch.no_grad():
            for part, parameter, view in model.entries():
                view(parameter).copy_(weights[part])
        ours = loss_of(workload, model(inputs), targets)
        ours.backward()
        close(ours.detach(), loss)
        found = {part: view(parameter.grad) for part, parameter, view in model.entries()}
        assert found.keys() == gradients.keys()
        for part, gradient in gradients.items():
            close(found[part], gradient)


# By hand for all, and as JAX does it once for each kind of attention.
JAX_CASES = [*((name, "by_hand") for name in NAMES if name != "lookup_b"), ("lookup_b", "plain"), ("mlp_all", "plain")]


@pytest.mark.parametrize(("name", "attention"), JAX_CASES)
def test_jax_computes_seedbeds_loss_and_gradients(name, attention):
    jax = pytest.importorskip("jax")
    from benchmarks.peers import jax_models

    workload = WORKLOADS[name]
    weights, inputs, targets, loss, gradients = reference(workload)
    with jax.enable_x64(True):
        parameters = {part: jax.numpy.array(value.numpy()) for part, value in weights.items()}
        given = jax.tree.map(jax.numpy.array, jax_inputs(workload, inputs.numpy()))

        def loss_and_gradients(parameters):
            return jax.value_and_grad(
                lambda parameters: jax_models.loss(workload, parameters, given, targets.numpy(), attention)
            )(parameters)

        ours, found = jax.jit(loss_and_gradients)(parameters)
        close(torch.tensor(float(ours), dtype=torch.float64), loss)
        for part, gradient in gradients.items():
            close(torch.from_numpy(np.array(found[part])), gradient)


@pytest.mark.parametrize("name", [name for name in sides.ROWS_WITHOUT_NOISE if not name.endswith(("64", "128"))])
def test_jax_computes_the_loss_and_gradients_of_ordinary_modules(name):
    jax = pytest.importorskip("jax")
    problem, config = sides.problem_of(name), sides.run_of(name)
    module = config.model.module(config.task.shape()).double()
    with jax.enable_x64(True):
        inputs, targets = problem.draw(jax.random.key(0))
        inputs = inputs if problem.is_tokens else inputs.astype(np.float64)
        given = torch.from_numpy(np.array(inputs))
        # Angles and the like are of torch's default type.
        torch.set_default_dtype(torch.float64)
        predictions = module(given.long() if problem.is_tokens else given)
        torch.set_default_dtype(torch.float32)
        if predictions.dim() == 3 and not problem.asks_everywhere:
            predictions = predictions[:, -1]
        wanted = torch.from_numpy(np.array(targets))
        if problem.is_tokens:
            loss = torch.nn.functional.cross_entropy(predictions.flatten(0, -2), wanted.long().flatten())
        else:
            loss = 0.5 * (predictions - wanted).square().mean()
        gradients = torch.autograd.grad(loss, list(module.parameters()))
        weights = {part: jax.numpy.array(value.detach().numpy()) for part, value in module.named_parameters()}
        for attention in problem.attentions:
            ours, found = jax.jit(
                jax.value_and_grad(lambda weights: problem.loss(weights, inputs, targets, attention))  # noqa: B023
            )(weights)
            close(torch.tensor(float(ours), dtype=torch.float64), loss.detach())
            for (part, _), gradient in zip(module.named_parameters(), gradients, strict=True):
                close(torch.from_numpy(np.array(found[part])), gradient)


def jax_inputs(workload, inputs):
    """Seedbed's inputs as the JAX peer has them: examples last, targets aside."""
    if isinstance(workload, RegressionWorkload):
        return inputs[:, :, :-1].transpose(2, 1, 0), inputs[:, :, -1].T
    return inputs


def check_batch(workload, inputs, targets):
    """Numpy inputs as seedbed has them ask what the task asks."""
    task = workload.task
    if isinstance(workload, RegressionWorkload):
        assert not inputs[:, -1, -1].any()
        answered = inputs.astype(np.float64)
        answered[:, -1, -1] = targets
        # y is linear in x: the d + 1 tokens of d + 1 entries are dependent.
        assert np.linalg.svd(answered, compute_uv=False)[:, -1].max() < 1e-6
        assert 0.45 < np.abs(inputs[:, :, :-1]).max() <= task.input_range
        assert abs(targets.std() - (task.dim / 12) ** 0.5) < 0.2
    elif task.asks_everywhere:
        assert np.array_equal(inputs[:, : task.period], inputs[:, task.period :])
        assert np.array_equal(np.roll(inputs, -1, 1), targets)
        assert set(inputs.flatten().tolist()) == set(range(task.num_tokens))
    else:
        keys, values = inputs[:, 0:-1:2], inputs[:, 1::2] - task.num_keys
        asked = keys == inputs[:, -1:]
        assert asked.any(1).all()
        assert np.array_equal(values[asked], np.broadcast_to(targets[:, None], asked.shape)[asked])
        assert set(keys.flatten().tolist()) == set(range(task.num_keys))
        assert set(values.flatten().tolist()) == set(range(task.num_values)) == set(targets.tolist())


@pytest.mark.parametrize("name", NAMES)
def test_eager_draws_the_task(name):
    workload = WORKLOADS[name]
    inputs, targets = draw(workload, 256, torch.Generator().manual_seed(0))
    check_batch(workload, inputs.numpy(), targets.numpy())


@pytest.mark.parametrize("name", NAMES)
def test_jax_draws_the_task(name):
    jax = pytest.importorskip("jax")
    from benchmarks.peers import jax_batches

    draw = jax.jit(jax_batches.draw, static_argnums=0)

    workload = dataclasses.replace(WORKLOADS[name], batch_size=256)
    for generator in ("threefry", "rbg"):
        with jax_batches.drawing_by(generator):
            inputs, targets = draw(workload, jax_batches.key_of(0, generator))
        if isinstance(workload, RegressionWorkload):
            x_DLB, y_LB = map(np.array, inputs)
            assert np.array_equal(y_LB[-1], targets)
            y_LB[-1] = 0.0
            inputs = np.concatenate([x_DLB.transpose(2, 1, 0), y_LB.T[:, :, None]], 2)
        check_batch(workload, np.array(inputs), np.array(targets))


@pytest.mark.parametrize("optimiser", ["optax", "by_hand"])
def test_jax_moves_weights_as_torchs_adamw_does(optimiser):
    jax = pytest.importorskip("jax")
    from benchmarks.peers.jax_adam import ADAMS

    adam = dataclasses.replace(WORKLOADS["lookup_a"].optimiser, weight_decay=0.1)
    workload = dataclasses.replace(WORKLOADS["lookup_a"], optimiser=adam)
    generator = np.random.default_rng(0)
    module = torch.nn.Linear(5, 3, bias=False).double()
    torch_adam = adamw(workload, module, EagerChoice(optimiser="foreach"))
    with jax.enable_x64(True):
        start, update = ADAMS[optimiser](adam)
        weights = {"weight": jax.numpy.array(module.weight.detach().numpy())}
        state = start(weights)
        for _ in range(4):
            gradient = generator.standard_normal((3, 5))
            module.weight.grad = torch.from_numpy(gradient)
            torch_adam.step()
            weights, state = update(weights, state, {"weight": jax.numpy.array(gradient)}, adam.lr)
        np.testing.assert_allclose(weights["weight"], module.weight.detach().numpy(), rtol=1e-9)


def test_an_eager_run_learns():
    run = EagerRun(WORKLOADS["lsa_256"], EagerChoice())
    before = [parameter.detach().clone() for parameter in run.model.parameters()]
    run.run(3)
    moved = [parameter.detach() - old for parameter, old in zip(run.model.parameters(), before, strict=True)]
    assert all(0 < change.abs().max() < 0.01 for change in moved)


def test_runs_side_by_side_in_jax_learn_from_data_of_their_own():
    pytest.importorskip("jax")
    from benchmarks.peers.jax_problem import OfWorkload
    from benchmarks.peers.jax_vmap import JaxChoice, JaxRuns

    workload = dataclasses.replace(WORKLOADS["lookup_a"], batch_size=16)
    runs = JaxRuns(OfWorkload(workload), JaxChoice(width=3))
    runs.warm_up()
    first = runs.losses
    assert runs.compile_s > 0
    assert first.shape == (3,)
    assert len(set(first.tolist())) == 3
    runs.run(200)
    assert (runs.losses < first).all()
    assert runs.losses.max() < 2.2
