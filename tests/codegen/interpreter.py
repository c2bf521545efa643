"""Evaluates the graph of a program with numpy, node by node, so that its meaning is tested apart from its text."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import erf, expit

from pipeline.codegen.graph.build import GraphBuilder
from pipeline.codegen.graph.nodes import (
    BatchSum,
    ConstantNode,
    Lookup,
    LookupSum,
    Map,
    Move,
    Product,
    Reduce,
    Scatter,
    ScatterToAll,
    SourceNode,
    in_order,
)
from pipeline.codegen.graph.trace import made_up_inputs, traced, traced_correct, traced_loss
from pipeline.codegen.passes.sums import BatchSums

FUNCTIONS = {
    "plus": np.add,
    "minus": np.subtract,
    "times_": np.multiply,
    "over": np.divide,
    "negative": np.negative,
    "exp": np.exp,
    "log": np.log,
    "root": np.sqrt,
    "inverse_root": lambda x: 1 / np.sqrt(x),
    "inverse": lambda x: 1 / x,
    "tanh": np.tanh,
    "sigmoid": expit,
    "erf": erf,
    "rectified": lambda x: np.maximum(x, 0),
    "size_of": np.abs,
    "sign": np.sign,
    "sine": np.sin,
    "cosine": np.cos,
    "arc_tangent": np.arctan,
    "angle": np.arctan2,
    "power": np.power,
    "rest": np.fmod,
    "modulo": np.mod,
    "lower_whole": np.floor,
    "upper_whole": np.ceil,
    "nearest_whole": np.round,
    "whole_part": np.trunc,
    "larger": np.maximum,
    "smaller": np.minimum,
    "either": lambda condition, a, b: np.where(condition != 0, a, b),
    "equals": np.equal,
    "differs": np.not_equal,
    "is_below": np.less,
    "is_at_most": np.less_equal,
    "is_above": np.greater,
    "is_at_least": np.greater_equal,
    "negation": lambda x: 1 - x,
    "copy": lambda x: x,
}


def evaluated(ends, given):
    """What the graph's ends are, of `given`: place of a source -> its numbers."""
    values = {}

    def read(operand):
        return values[id(operand.node)][operand.index]

    for node in in_order([end.node for end in ends]):
        values[id(node)] = np.asarray(value_of(node, read, values, given), float).reshape(-1)
    return [read(end) for end in ends]


def value_of(node, read, values, given):
    match node:
        case ConstantNode():
            return node.values
        case SourceNode():
            return given[node.place]
        case Map():
            return FUNCTIONS[node.function](*map(read, node.inputs))
        case Reduce():
            terms = read(node.inputs[0]).reshape(node.size, -1)
            return terms.sum(1) if node.function == "add" else terms.max(1)
        case Product():
            return read(node.left) @ read(node.right)
        case Move():
            found = np.zeros(node.size)
            for number, part in enumerate(node.parts):
                here = node.which == number
                found[here] = values[id(part)][node.places[here]]
            return found
        case Lookup():
            return read(node.table)[read(node.rows).astype(int)]
        case Scatter():
            rows = read(node.values)
            found = np.zeros((node.size // rows.shape[1], rows.shape[1]))
            np.add.at(found, read(node.rows).astype(int), rows)
            return found
        case LookupSum():
            return read(node.tables)[np.arange(node.rows.index.size), read(node.rows).astype(int)].sum(0)
        case ScatterToAll():
            slopes, rows = read(node.values), read(node.rows).astype(int)
            found = np.zeros((rows.size, node.size // rows.size // slopes.size, slopes.size))
            found[np.arange(rows.size), rows] = slopes
            return found
        case BatchSum():
            # Of a batch of one example.
            return read(node.summed)
    raise AssertionError(node)


def largest_difference(model, task_shape):
    """Between the graph and the trace that it was built from, over predictions and gradients, as a share of each.

    Of a model that draws nothing.
    """
    trace = traced(model, task_shape, torch.float64)
    builder = GraphBuilder(trace)
    predictions, *slopes = builder.outputs()
    sums = BatchSums(builder)
    ends = [predictions, *map(sums.of, slopes)]
    generator = torch.Generator().manual_seed(1)
    specs = model.parameter_specs(task_shape)
    weights = [torch.randn(1, spec.rows, spec.columns, dtype=torch.float64, generator=generator) for spec in specs]
    shape = (1, task_shape.num_query_positions, task_shape.num_outputs)
    slope = torch.randn(shape, dtype=torch.float64, generator=generator)
    inputs = made_up_inputs(task_shape, torch.float64)
    expected = trace.graph(weights, inputs, slope, [])
    given = {place: one.detach().numpy().reshape(-1) for place, one in enumerate([*weights, inputs, slope])}
    found = evaluated(ends, given)
    sizes = [float(one.detach().abs().max()) for one in expected]
    # A gradient may be 0 but for rounding, as that of a bias before a norm.
    sizes = [max(size, 1e-5 * max(sizes)) or 1.0 for size in sizes]
    return max(
        float(np.abs(mine - one.detach().numpy().reshape(mine.shape)).max()) / size
        for mine, one, size in zip(found, expected, sizes, strict=True)
    )


def questions_by_graph(task, has_classes):
    """A function of predictions and a target: loss, slopes and, where there is one, accuracy, by the task's graphs."""
    arguments = task, task.shape(), torch.float64, has_classes
    traces = [traced_loss(*arguments), *([traced_correct(*arguments)] if task.has_accuracy() else [])]
    ends = [GraphBuilder(trace).outputs() for trace in traces]

    def found(predictions, target):
        given = {0: predictions.numpy(), 1: np.array([target])}
        return [numbers.reshape(-1) for part in ends for numbers in evaluated(part, given)]

    return found


def question_by_torch(task, predictions, target):
    """The same from torch."""
    leaf = predictions.view(1, 1, -1).clone().requires_grad_(True)
    targets = torch.tensor([[target]], dtype=torch.int64 if isinstance(target, int) else torch.float64)
    loss = task.losses(leaf, targets)
    (slopes,) = torch.autograd.grad(loss.sum(), leaf)
    correct = [task.correct(leaf.detach(), targets)] if task.has_accuracy() else []
    return [one.detach().numpy().reshape(-1) for one in (loss, slopes, *correct)]
