"""Ordinary torch modules, as people write them, wrapped as models."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.base import Model, Output, ParameterSpec
from pipeline.models.torch_module import TorchModule
from pipeline.numerics.matmul import matmul
from pipeline.spec.parameters import static


class Block(nn.Module):
    """A GPT-2 block: affine norms, biases, exact GELU, fused query, key and value; dropout where GPT-2 has it."""

    def __init__(self, width: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, nn.Dropout(dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.view(*part.shape[:2], self.num_heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        dropout_p = self.dropout.p if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout_p, is_causal=True)
        x = x + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.norm2(x)))))


class Gpt2(nn.Module):
    """Learned positions, blocks, and an unembedding tied to the embedding."""

    def __init__(self, size: int, length: int, width: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.embedding, self.position = nn.Embedding(size, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, num_heads, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device)))
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.embedding.weight.T


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Rotary(nn.Module):
    """A Llama block: rotary positions, RMS norms, SwiGLU, no biases."""

    def __init__(self, size: int, num_outputs: int, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.embedding = nn.Embedding(size, width)
        self.norm1, self.norm2, self.norm3 = RmsNorm(width), RmsNorm(width), RmsNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(width, 2 * width, bias=False) for _ in range(2))
        self.down = nn.Linear(2 * width, width, bias=False)
        self.head = nn.Linear(width, num_outputs, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        normed = self.norm1(x)
        query, key, value = (
            part(normed).view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        scores = self._turned(query) @ self._turned(key).transpose(-1, -2) / math.sqrt(query.shape[-1])
        mask = torch.full(scores.shape[-2:], -math.inf).triu(1)
        mixed = (scores + mask).softmax(-1) @ value
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        normed = self.norm2(x)
        x = x + self.down(functional.silu(self.gate(normed)) * self.up(normed))
        return self.head(self.norm3(x))

    def _turned(self, x: Tensor) -> Tensor:
        length, half = x.shape[-2], x.shape[-1] // 2
        angle = torch.arange(length)[:, None] * 100.0 ** (-torch.arange(half) / half)
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        one, other = x[..., :half], x[..., half:]
        return torch.cat([one * cos - other * sin, one * sin + other * cos], -1)


class Mlp(nn.Module):
    def __init__(self, size: int, length: int, num_outputs: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        self.layers = nn.Sequential(nn.Linear(width * length, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layers(self.embedding(tokens).flatten(1)))


class Recurrent(nn.Module):
    """A recurrent layer, or two with dropout between them."""

    def __init__(self, kind: str, size: int, num_outputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        num_layers = 2 if dropout else 1
        cells = {"gru": nn.GRU, "lstm": nn.LSTM}[kind]
        self.cells = cells(width, width, num_layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.cells(self.embedding(tokens))[0][:, -1])


class Convolutional(nn.Module):
    """Two convolutions over positions, then the mean."""

    def __init__(self, size: int, num_outputs: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        self.first = nn.Conv1d(width, 2 * width, 3, padding=1)
        self.second = nn.Conv1d(2 * width, 2 * width, 3, stride=2)
        self.head = nn.Linear(2 * width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        x = torch.relu(self.first(self.embedding(tokens).transpose(1, 2)))
        return self.head(torch.relu(self.second(x)).mean(-1))


class Picture(nn.Module):
    """A two-dimensional convnet on 8 x 8 pictures, whose pixels are the input's first 64 numbers."""

    def __init__(self, num_inputs: int, num_outputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, stride=2)
        self.head = nn.Linear(width * 9, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        pixels = functional.pad(x.flatten(1), (0, 64))[:, :64].view(-1, 1, 8, 8)
        return self.head(torch.relu(self.second(torch.relu(self.first(pixels)))).flatten(1))


class LinearAttention(nn.Module):
    """Causal linear attention with the feature map elu + 1."""

    def __init__(self, size: int, num_outputs: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        query, key = functional.elu(self.query(x)) + 1, functional.elu(self.key(x)) + 1
        weights = (query @ key.transpose(1, 2)).tril()
        mixed = weights @ self.value(x) / weights.sum(-1, keepdim=True)
        return self.head(self.norm(x + mixed))


class Experts(nn.Module):
    """A mixture of two experts with a soft gate."""

    def __init__(self, size: int, length: int, num_outputs: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        self.gate = nn.Linear(width * length, 2)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width * length, 32), nn.Tanh(), nn.Linear(32, num_outputs)) for _ in range(2)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).flatten(1)
        answers = torch.stack([expert(x) for expert in self.experts], 1)
        return (self.gate(x).softmax(-1).unsqueeze(-1) * answers).sum(1)


class Zoo(TorchModule):
    """One of the modules above that predict at the last position, by its `kind`."""

    name = "zoo"
    accepts: ClassVar[tuple[str, ...]] = ("tokens", "vectors")

    kind: str = static("mlp")
    width: int = static(16, ge=1)
    dropout: float = static(0.0, ge=0, lt=1)

    def module(self, task_shape):
        """The module of that kind."""
        size, length, num_outputs, width = task_shape.size, task_shape.length, task_shape.num_outputs, self.width
        match self.kind:
            case "rotary":
                return Rotary(size, num_outputs, width, 2)
            case "mlp":
                return Mlp(size, length, num_outputs, width)
            case "gru" | "lstm":
                return Recurrent(self.kind, size, num_outputs, width, self.dropout)
            case "convolution":
                return Convolutional(size, num_outputs, width)
            case "picture":
                return Picture(size * length, num_outputs, width)
            case "linear_attention":
                return LinearAttention(size, num_outputs, width)
            case "experts":
                return Experts(size, length, num_outputs, width)
        raise ValueError(self.kind)


class Everywhere(TorchModule):
    """A language model that predicts the next token at every position."""

    name = "zoo_everywhere"
    accepts: ClassVar[tuple[str, ...]] = ("tokens",)
    predicts_all_positions: ClassVar[bool] = True

    width: int = static(16, ge=1)
    num_layers: int = static(2, ge=1)
    dropout: float = static(0.0, ge=0, lt=1)

    def module(self, task_shape):
        """GPT-2 of this size."""
        return Gpt2(task_shape.size, task_shape.length, self.width, 2, self.num_layers, self.dropout)


class Padded(Model):
    """A layer of one head, and one of two by squares of scores; nothing attends to a token 0, wherever it stands.

    Both give their maps. Those that are `sorted` hold the same numbers in an order for which no C++ is written.
    """

    name = "zoo_padded"
    accepts: ClassVar[tuple[str, ...]] = ("tokens",)

    width: int = static(4, ge=2, multiple_of=2)
    sorted: bool = static(False)

    def parameter_specs(self, task_shape):
        """Embedding, query and key of each layer, readout."""
        matrices = {"embedding": task_shape.size, **dict.fromkeys(("query0", "key0", "query1", "key1"), self.width)}
        specs = [ParameterSpec(name, rows, self.width, 0.7) for name, rows in matrices.items()]
        return (*specs, ParameterSpec("readout", self.width, task_shape.num_outputs, 0.7))

    def forward(self, parameters, inputs, with_attention=False, num_query_positions=1, attention_bias=None):
        """Predictions at the last position; maps if requested."""
        assert attention_bias is None
        x, maps = functional.one_hot(inputs, parameters["embedding"].shape[1]).to(parameters["readout"].dtype), []
        x = matmul(x.flatten(1, 2), parameters["embedding"]).view(*inputs.shape, -1)
        for layer, num_heads in enumerate((1, 2)):
            query, key = (
                matmul(x.flatten(1, 2), parameters[f"{name}{layer}"]).view(*inputs.shape, num_heads, -1).transpose(2, 3)
                for name in ("query", "key")
            )
            scores = matmul(query, key.transpose(-1, -2))
            is_gone = (inputs == 0)[:, :, None, None]
            squares = scores.square().masked_fill(is_gone, 0.0)
            by_squares = squares / squares.sum(-1, keepdim=True)
            shares = by_squares if layer else scores.masked_fill(is_gone, -math.inf).softmax(-1)
            x = x + matmul(shares, x.unsqueeze(2)).mean(2)
            maps.append(shares.sort(-1).values if self.sorted else shares)
        return Output(matmul(x[:, :, -1], parameters["readout"]), tuple(maps) if with_attention else ())
