"""A block's arithmetic as a compiled program, run by run: bits depend neither on slots nor on the width."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from pipeline.engine.program import Program
from pipeline.engine.slots import Slots
from pipeline.engine.torch_engine import EagerEngine
from pipeline.models.base import Model
from pipeline.tasks.base import Task

_SCORES = ("loss", "accuracy", "reference_loss")


@dataclass(frozen=True)
class _Masks:
    """Attention targets as program.cpp's `Masks` has them; `num_asked[name]` counts the queries that have one."""

    num_asked: Mapping[str, float]
    starts: Tensor
    places: Tensor
    cells: Tensor

    @staticmethod
    def of(targets: Mapping[str, Tensor], dtype: torch.dtype, num_lanes: int) -> _Masks:
        """`targets[name]`: (B, L, L)."""
        if not targets:
            return _Masks.none()
        places, cells = [], []
        for mask_BLL in targets.values():
            mask_BC = mask_BLL.flatten(1)
            used = mask_BC.any(0).nonzero().squeeze(1)
            places.append(used)
            cells.append(torch.nn.functional.pad(mask_BC[:, used].to(dtype), (0, 0, 0, -len(mask_BC) % num_lanes)))
        # (blocks, cells, lanes): lanes are the examples of a block.
        together = torch.cat(cells, 1)
        stacked = together.view(-1, num_lanes, together.shape[1]).transpose(1, 2).contiguous()
        starts = torch.tensor([0, *(len(used) for used in places)]).cumsum(0)
        asked = {name: float(mask_BLL.any(-1).sum()) for name, mask_BLL in targets.items()}
        return _Masks(asked, starts, torch.cat(places), stacked)

    @staticmethod
    def none() -> _Masks:
        nothing = torch.zeros(1, dtype=torch.int64)
        return _Masks({}, nothing, nothing, nothing)


class NativeEngine:
    """Computes on the arrays of `block`, which must not move; what the program does not know of is left to torch."""

    def __init__(self, block: Slots, program: Program) -> None:
        self.block, self.program = block, program
        self._arrays = addresses(block)
        interface = block.task.interface()
        task, model = type(block.task), type(block.model)
        self._has = {
            "loss": True,
            "accuracy": task.correct is not Task.correct,
            "reference_loss": task.reference_losses is not Task.reference_losses,
        }
        self._probes_itself = model.has_softmax and task.probes is Task.probes and model.probes is Model.probes
        self._length, self._num_heads = interface.length, getattr(block.model, "num_heads", 1)
        self._num_layers = getattr(block.model, "num_layers", 1)
        self._masks: dict[int, _Masks] = {}

    @cached_property
    def _eager(self) -> EagerEngine:
        return EagerEngine(self.block)

    def train(self, num_steps: int, slots: Sequence[int]) -> None:
        self.program.train(self._arrays, *_list(slots), ctypes.c_int64(num_steps), self._num_threads())

    def evaluate(self, keys: Mapping[str, Tensor], num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        found = torch.empty(len(slots), len(_SCORES), dtype=torch.float64)
        arguments = (*_list(slots), _keys(keys), ctypes.c_int64(num_items), _at(found), self._num_threads())
        self.program.evaluate(self._arrays, *arguments)
        return self._named(found)

    def probe(self, keys: Mapping[str, Tensor], num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        if not self._probes_itself:
            return self._eager.probe(keys, num_items, slots)
        masks = self._attention_masks(keys, num_items)
        found = self._probe(keys, num_items, slots, masks, 0, None)
        metrics = {f"probe_{name}": value for name, value in self._named(found).items() if name != "reference_loss"}
        column = len(_SCORES)
        for layer in range(self._num_layers):
            for head in range(self._num_heads):
                entropy = found[:, column] / (num_items * self._length)
                metrics[f"attention_entropy.l{layer}h{head}"] = entropy
                for index, (name, num_asked) in enumerate(masks.num_asked.items()):
                    metrics[f"{name}.l{layer}h{head}"] = found[:, column + 1 + index] / num_asked
                column += 1 + len(masks.num_asked)
        return metrics

    def attention_maps(self, keys: Mapping[str, Tensor], num_items: int, slots: Sequence[int]) -> list[Tensor]:
        if not self.block.model.has_softmax:
            return self._eager.attention_maps(keys, num_items, slots)
        shape = (len(slots), self._num_layers, num_items, self._num_heads, self._length, self._length)
        maps = torch.zeros(shape, dtype=self.block.dtype)
        self._probe(keys, num_items, slots, _Masks.none(), num_items, maps)
        return list(maps.unbind(1))

    def _probe(
        self,
        keys: Mapping[str, Tensor],
        num_items: int,
        slots: Sequence[int],
        masks: _Masks,
        map_items: int,
        maps: Tensor | None,
    ) -> Tensor:
        num_masks = len(masks.num_asked)
        width = len(_SCORES) + self._num_layers * self._num_heads * (1 + num_masks)
        found = torch.empty(len(slots), width, dtype=torch.float64)
        self.program.probe(
            self._arrays,
            *_list(slots),
            _keys(keys),
            ctypes.c_int64(num_items),
            ctypes.c_int64(num_masks),
            *(_at(array) for array in (masks.starts, masks.places, masks.cells, found)),
            ctypes.c_int64(map_items),
            _at(maps),
            self._num_threads(),
        )
        return found

    def _named(self, found: Tensor) -> dict[str, Tensor]:
        return {name: found[:, index] for index, name in enumerate(_SCORES) if self._has[name]}

    def _num_threads(self) -> ctypes.c_int64:
        return ctypes.c_int64(self.block.threads)

    def _attention_masks(self, keys: Mapping[str, Tensor], num_items: int) -> _Masks:
        """The task's attention targets on the statistics set; fixed, as its items are."""
        if num_items not in self._masks:
            steps_S = torch.zeros(1, dtype=torch.int64)
            batch = self.block.sample({name: key[:1] for name, key in keys.items()}, steps_S, num_items, slots=[0])
            targets = self.block.task.attention_targets(batch)
            self._masks[num_items] = _Masks.of(
                {name: mask[0] for name, mask in targets.items()}, self.block.dtype, self.program.num_lanes
            )
        return self._masks[num_items]


def addresses(block: Slots) -> object:
    """A mirror of `Arrays` in program.cpp."""
    arrays = [
        block.weights_SP,
        *(block.state[name] for name in block.optimiser.moments),
        None,
        *(block.state[name] for name in block.optimiser.scalars),
        None,
        block.steps_S,
        *(block.last[name] for name in ("train_loss", "grad_norm", "update_norm")),
        *block.columns.values(),
        *block.schedule_columns.values(),
        *block.task_vectors.values(),
        None,
        *block.keys.values(),
    ]
    assert all(array is None or array.is_contiguous() for array in arrays)
    return (ctypes.c_void_p * len(arrays))(*(None if array is None else array.data_ptr() for array in arrays))


def _keys(keys: Mapping[str, Tensor]) -> object:
    return (ctypes.c_void_p * len(keys))(*(key.data_ptr() for key in keys.values()))


def _list(slots: Sequence[int]) -> tuple[object, ctypes.c_int64]:
    return (ctypes.c_int64 * len(slots))(*slots), ctypes.c_int64(len(slots))


def _at(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
