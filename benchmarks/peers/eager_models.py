"""The models as ordinary torch modules, one run each, and the batches that they are trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import Decoder, Lookup, Matrix, Regression, RegressionWorkload, TokenWorkload, Workload

# Seedbed's name of a matrix, the parameter that holds it, and the view of that parameter (or its gradient) that it is.
Entry = tuple[str, Tensor, Callable[[Tensor], Tensor]]


Algebra = Literal["ordinary", "reduced"]


@dataclass(frozen=True)
class Written:
    """Variant of the module.

    `algebra` "ordinary" is what people write; "reduced" computes only what the loss reads, as seedbed does.
    `projections`: queries, keys and values of a layer by one product or by three. `attention`: torch's function, or
    products and a softmax.
    """

    algebra: Algebra = "ordinary"
    projections: Literal["together", "separate"] = "together"
    attention: Literal["sdpa", "products"] = "sdpa"


class LinearAttentionModel(nn.Module):
    """One layer of linear self-attention; the prediction is minus the last entry of the last token."""

    def __init__(self, workload: RegressionWorkload, written: Written) -> None:
        super().__init__()
        self.algebra = written.algebra
        shapes = workload.matrices()
        self.query, self.key, self.value, self.projection = (_linear(shape) for shape in shapes.values())

    def forward(self, tokens: Tensor) -> Tensor:
        """(B,) from tokens (B, N + 1, d + 1)."""
        if self.algebra == "reduced":
            return self._reduced(tokens)
        context = tokens[:, :-1]
        weights = self.query(tokens) @ self.key(context).transpose(1, 2)
        moved = tokens + self.projection(weights @ self.value(context))
        answer: Tensor = -moved[:, -1, -1]
        return answer

    def _reduced(self, tokens: Tensor) -> Tensor:
        context, last = tokens[:, :-1], tokens[:, -1]
        looked_for = last @ (self.query.weight.T @ self.key.weight)
        weights = (context @ looked_for.unsqueeze(-1)).squeeze(-1)
        values = context @ (self.projection.weight[-1] @ self.value.weight)
        return -(last[:, -1] + (weights * values).sum(-1))

    def entries(self) -> Iterator[Entry]:
        """(Seedbed's name, parameter, view of it in Seedbed's shape) of every weight matrix."""
        for name in ("query", "key", "value", "projection"):
            yield f"layer0.{name}", getattr(self, name).weight, _as_it_is


class Attention(nn.Module):
    """Causal attention without biases."""

    def __init__(self, model: Decoder, written: Written, length: int) -> None:
        super().__init__()
        self.model, self.written = model, written
        self.mixing = nn.ModuleDict()
        if written.projections == "together":
            self.mixing["all"] = _linear(Matrix(model.width, 3 * model.inner, model.width**-0.5))
        else:
            for name in ("query", "key", "value"):
                self.mixing[name] = _linear(Matrix(model.width, model.inner, model.width**-0.5))
        self.output = _linear(Matrix(model.inner, model.width, model.inner**-0.5))
        self.register_buffer("future", torch.ones(length, length, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) to (B, L, D)."""
        num_examples, length, _ = x.shape
        heads = (self.model.num_heads, self.model.head_width)
        if self.written.projections == "together":
            parts = self.mixing["all"](x).view(num_examples, length, 3, *heads).permute(2, 0, 3, 1, 4).unbind(0)
        else:
            parts = tuple(linear(x).view(num_examples, length, *heads).transpose(1, 2) for linear in self._linears())
        query, key, value = parts
        if self.written.attention == "sdpa":
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(self.model.head_width))
            mixed = scores.masked_fill(self.future, -math.inf).softmax(-1) @ value
        out: Tensor = self.output(mixed.transpose(1, 2).reshape(num_examples, length, -1))
        return out

    def at_last(self, x: Tensor) -> Tensor:
        """The addition (B, 1, D) at the last position, without keys and values."""
        num_examples, _, width = x.shape
        heads = (self.model.num_heads, self.model.head_width)
        query, key, value = (view(parameter) for _, parameter, view in self.projections())
        looked_for = torch.einsum(
            "bhk,dhk->bhd", (x[:, -1] @ query).view(num_examples, *heads), key.reshape(width, *heads)
        )
        scores = looked_for @ x.transpose(1, 2) * (1 / math.sqrt(self.model.head_width))
        mean = scores.softmax(-1) @ x
        mixed = torch.einsum("bhd,dhk->bhk", mean, value.reshape(width, *heads))
        out: Tensor = self.output(mixed.reshape(num_examples, 1, -1))
        return out

    def projections(self) -> Iterator[Entry]:
        """(Name, parameter, view of it in Seedbed's shape) of the query, key and value matrices."""
        for index, name in enumerate(("query", "key", "value")):
            if self.written.projections == "together":
                yield name, _weight(self.mixing["all"]), partial(_third_transposed, index)
            else:
                yield name, _weight(self.mixing[name]), _transposed

    def _linears(self) -> Iterator[nn.Module]:
        return (self.mixing[name] for name in ("query", "key", "value"))


class DecoderModel(nn.Module):
    """A pre-norm causal transformer; logits at every position or at the last alone, as the task asks."""

    def __init__(self, workload: TokenWorkload, written: Written) -> None:
        super().__init__()
        model, task, shapes = workload.model, workload.task, workload.matrices()
        self.width, self.algebra, self.asks_everywhere = model.width, written.algebra, task.asks_everywhere
        self.embedding = nn.Embedding(task.vocabulary, model.width)
        nn.init.normal_(self.embedding.weight, std=shapes["embedding"].std)
        self.position = nn.Parameter(torch.randn(task.length, model.width) * shapes["position"].std)
        self.attention = nn.ModuleList(Attention(model, written, task.length) for _ in range(model.num_layers))
        self.mlp = nn.ModuleList(
            nn.Sequential(_linear(shapes[f"layer{i}.up"]), nn.GELU("tanh"), _linear(shapes[f"layer{i}.down"]))
            if model.mlp_width
            else nn.Identity()
            for i in range(model.num_layers)
        )
        self.unembedding = _linear(shapes["unembedding"])

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, O) or (B, L, O) from tokens (B, L)."""
        x = self.embedding(tokens) + self.position
        for layer, (attention, mlp) in enumerate(zip(self.attention, self.mlp, strict=True)):
            if self.algebra == "reduced" and not self.asks_everywhere and layer == len(self.attention) - 1:
                assert isinstance(attention, Attention)
                x = x[:, -1:] + attention.at_last(self._norm(x))
            else:
                x = x + attention(self._norm(x))
            if not isinstance(mlp, nn.Identity):
                x = x + mlp(self._norm(x))
        logits: Tensor = self.unembedding(self._norm(x if self.asks_everywhere else x[:, -1]))
        return logits

    def _norm(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (self.width,))

    def entries(self) -> Iterator[Entry]:
        """(Seedbed's name, parameter, view of it in Seedbed's shape) of every weight matrix."""
        yield "embedding", self.embedding.weight, _as_it_is
        yield "position", self.position, _as_it_is
        for layer, (attention, mlp) in enumerate(zip(self.attention, self.mlp, strict=True)):
            assert isinstance(attention, Attention)
            for name, parameter, view in attention.projections():
                yield f"layer{layer}.{name}", parameter, view
            yield f"layer{layer}.output", attention.output.weight, _transposed
            if isinstance(mlp, nn.Sequential):
                yield f"layer{layer}.up", _weight(mlp[0]), _transposed
                yield f"layer{layer}.down", _weight(mlp[2]), _transposed
        yield "unembedding", self.unembedding.weight, _transposed


EagerModel = LinearAttentionModel | DecoderModel


def model_of(workload: Workload, written: Written) -> EagerModel:
    """The workload's model, written as asked."""
    if isinstance(workload, RegressionWorkload):
        return LinearAttentionModel(workload, written)
    return DecoderModel(workload, written)


def loss_of(workload: Workload, predictions: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error, or the cross entropy; the mean over the batch."""
    if isinstance(workload, RegressionWorkload):
        return 0.5 * functional.mse_loss(predictions, targets)
    return functional.cross_entropy(predictions.flatten(0, -2), targets.flatten())


def draw(workload: Workload, num_examples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(inputs, targets): tokens (B, L) with classes (B,) or (B, L), or vectors (B, N + 1, d + 1) with values (B,)."""
    task = workload.task
    if isinstance(task, Regression):
        return _regression(task, num_examples, generator)
    if isinstance(task, Lookup):
        return _lookup(task, num_examples, generator)
    period = torch.randint(task.num_tokens, (num_examples, task.period), generator=generator, device=generator.device)
    tokens = torch.cat([period, period], 1)
    return tokens, tokens.roll(-1, 1)


def _regression(task: Regression, num_examples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    tokens = torch.empty(num_examples, task.length, task.dim + 1, device=generator.device)
    x = torch.empty(num_examples, task.length, task.dim, device=generator.device)
    x.uniform_(-task.input_range, task.input_range, generator=generator)
    teacher = torch.randn(num_examples, task.dim, 1, generator=generator, device=generator.device)
    y = (x @ teacher).squeeze(-1)
    tokens[:, :, :-1], tokens[:, :, -1] = x, y
    tokens[:, -1, -1] = 0.0
    return tokens, y[:, -1]


def _lookup(task: Lookup, num_examples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    keys = torch.randint(task.num_keys, (num_examples, task.num_pairs), generator=generator, device=generator.device)
    mapping = torch.randint(
        task.num_values, (num_examples, task.num_keys), generator=generator, device=generator.device
    )
    query = keys.gather(
        1, torch.randint(task.num_pairs, (num_examples, 1), generator=generator, device=generator.device)
    )
    pairs = torch.stack([keys, mapping.gather(1, keys) + task.num_keys], -1)
    return torch.cat([pairs.flatten(1), query], 1), mapping.gather(1, query).squeeze(1)


def _linear(shape: Matrix) -> nn.Linear:
    linear = nn.Linear(shape.rows, shape.columns, bias=False)
    if shape.is_truncated:
        nn.init.trunc_normal_(linear.weight, std=shape.std, a=-2 * shape.std, b=2 * shape.std)
    else:
        nn.init.normal_(linear.weight, std=shape.std)
    return linear


def _as_it_is(weight: Tensor) -> Tensor:
    return weight


def _transposed(weight: Tensor) -> Tensor:
    return weight.T


def _third_transposed(index: int, weight: Tensor) -> Tensor:
    return weight.chunk(3)[index].T


def _weight(linear: nn.Module) -> Tensor:
    assert isinstance(linear, nn.Linear)
    return linear.weight
