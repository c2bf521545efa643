"""Training on data of one's own: arrays from a file or a function, in batches that are functions of seed and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from pipeline.own_code.functions import function_named
from pipeline.own_code.imported import OwnCodeError
from pipeline.spec.parameters import static, vector
from pipeline.tasks._classes import cross_entropy, is_most_probable
from pipeline.tasks._kept_data import DataContent, DataOrigin, content_of, opened, problem_with
from pipeline.tasks._order import epoch_places, fresh_places
from pipeline.tasks.base import Batch, Split, Task, TaskShape, is_needed

if TYPE_CHECKING:
    from typing import Self

    import torch
    from torch import Tensor

    from pipeline.tasks.base import Streams, Vectors

_ITEM, _FLIP = 0, 0
_SPLIT_STREAM = "dataset/split"
_HELD_OUT_SHARE = 0.2


class Dataset(Task):
    """Items of a file or function; without either, of a small built-in set of waves.

    `file` is an .npz with the arrays inputs, targets and split, a Parquet file with columns target and split beside
    those of the inputs, or an .npy of tokens. `load` is MODULE:FUNCTION of a module that the sweep file imports, which
    gives a mapping or tuple of the same arrays. `kind` says what is predicted: the class of an item, a value, or at
    every position of a text the token that follows.

    Held out are the items that `split` says, or else `held_out_share` of all (0.2), by a keyed hash of their numbers;
    half of them make the label set, the others the statistics set. Of the rest the `num_train` first by that hash are
    trained on, so that smaller training sets are subsets of larger ones under one `split_seed`.

    Training draws items with replacement, or every item once an epoch, in an order of the epoch's own. Label and
    statistics sets are drawn without replacement: an evaluation on as many items as there are is on every one of them.

    `label_noise` falls on training items: the share whose class is replaced by another, or the standard deviation of
    what is added to a value; an item has the same wrong target whenever it is drawn, and one that is wrong under little
    noise is wrong under more. `augment` is MODULE:FUNCTION of (inputs, draws), which gives changed inputs of training.
    The loss is the cross entropy (nats), or half the squared error; `floor` is the best reachable.

    `content` is filled in: the SHA-256 of the numbers, which is so part of a run's identity, and their sizes.
    """

    name = "dataset"
    streams: ClassVar[tuple[str, ...]] = ("data", "label_noise", "augment")
    disjoint: ClassVar[tuple[tuple[Split, Split], ...]] = (("train", "label"), ("train", "probe"), ("label", "probe"))

    file: str | None = static(None, min_length=1, max_length=4096)
    load: str | None = static(None, pattern=r"^[A-Za-z0-9_.]+:[A-Za-z0-9_]+$")
    kind: Literal["classification", "regression", "next_token"] = static("classification")
    context: int | None = static(None, ge=1, le=65536)
    order: Literal["with_replacement", "epochs"] = static("with_replacement")
    num_train: int | None = static(None, ge=1)
    held_out_share: float | None = static(None, gt=0, lt=1)
    split_seed: int = static(0, ge=0)
    label_noise: float = vector(0.0, ge=0)
    floor: float = static(0.0, ge=0)
    augment: str | None = static(None, pattern=r"^[A-Za-z0-9_.]+:[A-Za-z0-9_]+$")
    content: DataContent | None = static(None)

    @model_validator(mode="before")
    @classmethod
    def _measured(cls, data: Any) -> Any:
        """Fills `content` in, unless it is that of this file or function already, as in a spec that was stored."""
        if not isinstance(data, Mapping):
            return data
        if data.get("file") is not None and data.get("load") is not None:
            raise ValueError("give file or load, not both")
        try:
            origin = DataOrigin.model_validate({name: data[name] for name in DataOrigin.model_fields if name in data})
        except ValueError:
            # The fields' own checks say what is wrong.
            return data
        if _origin_of(data.get("content")) == origin.model_dump():
            return data
        if origin.kind not in ("classification", "regression", "next_token"):
            return data
        if origin.context is not None and origin.kind != "next_token":
            raise ValueError(f"context ({origin.context}) has no effect: kind {origin.kind} takes items whole")
        return {**data, "content": content_of(origin)}

    @model_validator(mode="after")
    def _can_be_split(self) -> Dataset:
        content = self.known
        if self.held_out_share is not None and content.num_held_out is not None:
            raise ValueError(
                f"held_out_share has no effect: array 'split' of {content.origin.source} says what is held out"
            )
        sizes = self.sizes()
        if min(sizes.values()) < 1:
            raise ValueError(f"{content.num_items} items of {content.origin.source} leave a set empty: {sizes}")
        if self.num_train is not None and self.num_train > (most := content.num_items - self._num_held_out()):
            raise ValueError(f"num_train ({self.num_train}) is more than the {most} items that are not held out")
        if self.label_noise > 1 and self.kind != "regression":
            raise ValueError(f"label_noise ({self.label_noise}) is a share of the items, at most 1")
        if not self.floor < content.chance:
            raise ValueError(f"floor ({self.floor}) must be below the loss of guessing ({content.chance:.4g})")
        if self.augment is not None and content.has_tokens:
            raise ValueError("augment changes vectors, and these inputs are tokens")
        return self

    @property
    def known(self) -> DataContent:
        """`content`, which is never None once the parameters are validated."""
        assert self.content is not None
        return self.content

    def _num_held_out(self) -> int:
        given = self.known.num_held_out
        return round((self.held_out_share or _HELD_OUT_SHARE) * self.known.num_items) if given is None else given

    def sizes(self) -> dict[Split, int]:
        """Items of the training set, the label set and the statistics set."""
        held_out = self._num_held_out()
        num_train = self.num_train or self.known.num_items - held_out
        return {"train": num_train, "label": held_out - held_out // 2, "probe": held_out // 2}

    @classmethod
    def tiny(cls) -> Self:
        """A small instance for tests: the built-in set."""
        return cls(num_train=64)

    def shape(self) -> TaskShape:
        """As the arrays are: tokens or vectors, asked at the last position, or at all that have a target."""
        known = self.known
        kind = "tokens" if known.has_tokens else "vectors"
        return TaskShape(kind, known.length, known.size, known.num_outputs, known.num_query_positions)

    def floor_loss(self) -> float:
        """`floor`, 0 unless it is given: data do not tell how well they can be predicted."""
        return self.floor

    def chance_loss(self) -> float:
        """The loss of the best constant prediction: entropy of the classes, or half the variance of the values."""
        return self.known.chance

    def problem(self) -> str | None:
        """Why the data are not at hand as they were when the sweep was begun; None if they are."""
        return problem_with(self.known)

    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The function that augments."""
        return () if self.augment is None else (_function(self.augment),)

    def sample(self, streams: Streams, vectors: Vectors, dtype: str, split: Split) -> Batch:
        """Items of the split; in training with noise on the targets, and augmented."""
        import torch

        from pipeline.numerics.generators import nothing_drawn

        draws, real = streams["data"], getattr(torch, dtype)
        held = _tensors(self.known, draws.keys_S2.device)
        numbers = (self.sizes()["train"], self._num_held_out(), self.split_seed)
        items = _items_of(self.known, *numbers, split, draws.keys_S2.device)
        items_SB = items[self._places(streams, len(items), split)]
        inputs, targets = held[0][items_SB], held[1][items_SB]
        inputs = inputs if self.known.has_tokens else inputs.to(real)
        targets = targets.to(real) if self.kind == "regression" else targets
        if split == "train":
            if is_needed(vectors["label_noise"]):
                targets = self._with_noise(targets, items_SB, streams, vectors["label_noise"])
            if self.augment is not None:
                told = f"augment {self.augment} draws random numbers of its own; take them from the run's `draws`"
                with nothing_drawn(told, inputs.device):
                    inputs = _function(self.augment)(inputs, streams["augment"])
        return Batch(inputs, targets.flatten(1))

    def _places(self, streams: Streams, num_items: int, split: Split) -> Tensor:
        draws = streams["data"]
        if split != "train":
            return fresh_places(draws, num_items)
        return epoch_places(draws, num_items) if self.order == "epochs" else draws.integers(num_items, 1, _ITEM)[..., 0]

    def _with_noise(self, targets: Tensor, items_SB: Tensor, streams: Streams, noise_S: Tensor) -> Tensor:
        """`targets` (S, B, Q) with noise that depends on the run's stream and the item, not on the step."""
        import torch

        from pipeline.numerics.streams import box_muller

        words = streams["label_noise"].words_of(items_SB, 2 * targets.shape[2], _FLIP)
        noise_S11 = noise_S.view(-1, 1, 1)
        unit = ((words >> 9) * 2 + 1).to(torch.float64) * 2.0**-24
        if self.kind == "regression":
            added = (noise_S11 * box_muller(unit)[..., : targets.shape[2]]).to(targets.dtype)
            return torch.where(noise_S11 > 0, targets + added, targets)
        num_others = self.known.num_outputs - 1
        other = (targets + 1 + ((words[..., 1::2] * num_others) >> 32)) % self.known.num_outputs
        return torch.where(unit[..., 0::2] < noise_S11, other, targets)

    def losses(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (nats), or half the squared error, of each question, (S, B * Q)."""
        if self.kind == "regression":
            return 0.5 * (predictions.squeeze(-1) - targets).square()
        return cross_entropy(predictions, targets)

    def correct(self, predictions: Tensor, targets: Tensor) -> Tensor | None:
        """1 where the most probable class is the right one, else 0, (S, B * Q); None for values."""
        return None if self.kind == "regression" else is_most_probable(predictions, targets)

    def has_accuracy(self) -> bool:
        """Not of values."""
        return self.kind != "regression"


def _origin_of(content: Any) -> Any:
    """The origin of what is known of data, validated or as it is stored; None where nothing is known."""
    if isinstance(content, DataContent):
        return content.origin.model_dump()
    return content.get("origin") if isinstance(content, Mapping) else None


def _function(entry: str) -> Callable[..., Any]:
    try:
        return function_named(entry)
    except OwnCodeError as error:
        raise ValueError(str(error)) from None


@lru_cache(maxsize=16)
def _tensors(content: DataContent, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs (N, L) or (N, L, D) and targets (N, Q) on a device, once a process; on the CPU they are mapped."""
    import torch

    arrays = opened(content)
    inputs = torch.from_numpy(arrays.inputs).to(device)
    if arrays.targets is None:
        return inputs[:, :-1], inputs[:, 1:]
    return inputs, torch.from_numpy(arrays.targets).to(device)


@lru_cache(maxsize=64)
def _items_of(
    content: DataContent, num_train: int, num_held_out: int, split_seed: int, split: Split, device: torch.device
) -> Tensor:
    """(n,) int64, on a device: the numbers of a split's items, in the order of their hashes."""
    import torch

    from pipeline.numerics.streams import Draws, stream_key

    key_12 = torch.tensor([stream_key(_SPLIT_STREAM, split_seed)])
    words = Draws(key_12, torch.zeros(1, dtype=torch.int64), content.num_items).words(1, 0)
    order = np.argsort(words.numpy().ravel(), kind="stable")
    given = opened(content).is_held_out
    is_held_out = np.arange(len(order)) >= len(order) - num_held_out if given is None else given[order] == 1
    held_out, middle = order[is_held_out], num_held_out - num_held_out // 2
    parts = {"train": order[~is_held_out][:num_train], "label": held_out[:middle], "probe": held_out[middle:]}
    return torch.from_numpy(parts[split]).to(device)
