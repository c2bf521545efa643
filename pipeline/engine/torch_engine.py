"""Engine in torch, batched over slots: the reference implementation, used on GPUs and without a compiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from pipeline.engine.norms import clip, norm
from pipeline.engine.probes import attention_entropy, attention_mass, per_head
from pipeline.engine.slots import SlotArrays, Slots
from pipeline.engine.step_graph import GraphRecorder, RecordedStep, recorder_for
from pipeline.models.base import Output
from pipeline.numerics.streams import Draws
from pipeline.tasks.base import Batch, Task

# Items of an evaluation are computed in pieces of at most this many, the same for every number of slots.
_EVALUATION_PIECE = 512
# Only the requested slots are evaluated or probed, gathered into blocks of at most this many.
_MEASURING_SLOTS = {"cpu": 8, "cuda": 64}

NamedTensors = Mapping[str, Tensor]


class TorchEngine:
    """Trains all slots of a block in one batch; evaluates and probes the requested slots only."""

    def __init__(self, block: Slots) -> None:
        self.block = block
        self.num_query_positions = block.task.shape().num_query_positions
        initial, gradients = block.layout.views(block.initial_SP), block.layout.views(block.grad_SP)
        trained = [spec.name for spec in block.layout.specs if spec.trainable]
        self._leaves = [block.parameters[name].requires_grad_(True) for name in trained]
        self._gradients = [gradients[name] for name in trained]
        fixed = [spec.name for spec in block.layout.specs if not spec.trainable and not spec.is_state]
        self._kept = [(block.parameters[name], initial[name]) for name in fixed]
        self._noise_streams = block.model.noise_streams(block.task.shape())
        self._last_batch: tuple[object, Batch] | None = None
        # By whether a step is the last before the block is looked at, which has more to tell.
        self.steps = self._steps(recorder_for(block.device))

    def _steps(self, recorder: GraphRecorder | None) -> dict[bool, Callable[[], None]]:
        block = self.block
        steps = {is_last: partial(self._step, is_last) for is_last in (False, True)}
        if recorder is None:
            return {**steps}
        everything = {slot: slot for slot in range(block.num_slots)}

        def put(arrays: SlotArrays) -> None:
            block.put(arrays, everything)

        return {is_last: RecordedStep(step, recorder, block.copy, put) for is_last, step in steps.items()}

    def train(self, num_steps: int, slots: Sequence[int]) -> None:
        """Run `num_steps` optimiser steps on all slots, whichever are requested."""
        for index in range(num_steps):
            self.steps[index == num_steps - 1]()

    def _step(self, with_update_norm: bool) -> None:
        block = self.block
        batch = block.sample("train", block.steps_S, block.template.batch_size)
        noise = {name: Draws(block.keys[name], block.steps_S, 1) for name in self._noise_streams}
        loss_S, state = block.model.training_losses(block.parameters, block.task, batch, block.steps_S, noise)
        # Summed, never averaged: a run's gradient must not depend on the number of slots.
        gradients = torch.autograd.grad(loss_S.sum(), self._leaves)
        with torch.no_grad():
            for target, gradient in zip(self._gradients, gradients, strict=True):
                target.copy_(gradient)
            norm_S = norm(block.grad_SP)
            clip(block.grad_SP, norm_S, block.columns["clip"])
            before_SP = block.weights_SP.clone() if with_update_norm else None
            fraction_S1 = block.schedule.fraction(block.steps_S, block.schedule_columns)
            columns = {**block.columns, "lr": block.columns["lr"] * fraction_S1}
            block.optimiser.update(block.weights_SP, block.grad_SP, block.state, columns)
            for weights, initial in self._kept:
                weights.copy_(initial)
            for name, value in state.items():
                block.parameters[name].copy_(value)
            block.steps_S += 1
            if before_SP is not None:
                block.last["train_loss"].copy_(loss_S)
                block.last["grad_norm"].copy_(norm_S)
                block.last["update_norm"].copy_(norm(block.layout.only_parameters(block.weights_SP - before_SP)))

    @torch.no_grad()
    def evaluate(self, num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        """Mean loss, and accuracy and reference_loss where the task has them, (n,) each, at each slot's step."""

        def measure(parameters: NamedTensors, group: list[int]) -> dict[str, Tensor]:
            steps_S = self.block.steps_S[group]
            pieces = []
            for first in range(0, num_items, _EVALUATION_PIECE):
                rows = min(_EVALUATION_PIECE, num_items - first)
                batch = self.block.sample("label", steps_S, rows, first, slots=group)
                pieces.append(self._item_metrics(parameters, batch))
            return {name: torch.cat([piece[name] for piece in pieces], 1).mean(1) for name in pieces[0]}

        return self._gathered(slots, measure)

    def _item_metrics(self, parameters: NamedTensors, batch: Batch) -> dict[str, Tensor]:
        found = self.block.model.evaluated(parameters, self.block.task, batch)
        reference = self.block.task.reference_losses(batch)
        return found if reference is None else {**found, "reference_loss": reference}

    def probe(self, num_items: int, slots: Sequence[int]) -> dict[str, Tensor]:
        """Metric name -> (n,): loss, attention, and the probes of task and model, on the items of step 0."""
        return self._gathered(slots, lambda parameters, group: self._probe(parameters, num_items, group))

    def _probe(self, parameters: NamedTensors, num_items: int, group: list[int]) -> dict[str, Tensor]:
        task, model = self.block.task, self.block.model
        batch = self._probe_batch(num_items, group)
        if not model.gives_predictions:
            with torch.no_grad():
                measured = model.evaluated(parameters, task, batch)
            return {f"probe_{name}": value.mean(1) for name, value in measured.items()}
        apply, targets = self._apply(parameters), task.attention_targets(batch)
        has_own_probes = type(task).probes is not Task.probes
        with_attention = model.has_softmax or bool(targets)
        if has_own_probes and not with_attention and batch.inputs.is_floating_point():
            # One pass forward for all that is measured.
            batch, apply = _computed_once(batch, apply)
            output = Output(apply(batch.inputs).detach())
        else:
            with torch.no_grad():
                output = model.forward(
                    parameters, batch.inputs, with_attention=True, num_query_positions=self.num_query_positions
                )
        with torch.no_grad():
            found = {"probe_loss": task.losses(output.predictions, batch.targets).mean(1)}
            correct = task.correct(output.predictions, batch.targets)
            if correct is not None:
                found["probe_accuracy"] = correct.mean(1)
            for layer, attention in enumerate(output.attention):
                if model.has_softmax:
                    found |= per_head("attention_entropy", layer, attention_entropy(attention))
                for name, mask in targets.items():
                    found |= per_head(name, layer, attention_mass(attention, mask))
            found |= model.probes(parameters, batch.inputs)
        return found | task.probes(apply, batch)

    def _apply(self, parameters: NamedTensors) -> Callable[[Tensor], Tensor]:
        return lambda inputs: self.block.model.predict(parameters, inputs, self.num_query_positions)

    def attention_maps(self, num_items: int, slots: Sequence[int]) -> list[Tensor]:
        """Per layer (n, num_items, H, L, L), on the items of step 0."""
        if not self.block.model.gives_predictions:
            return []

        @torch.no_grad()
        def measure(parameters: NamedTensors, group: list[int]) -> dict[str, Tensor]:
            inputs = self._probe_batch(num_items, group).inputs
            maps = self.block.model.forward(
                parameters, inputs, with_attention=True, num_query_positions=self.num_query_positions
            ).attention
            return {str(layer): attention for layer, attention in enumerate(maps)}

        return list(self._gathered(slots, measure).values())

    def _probe_batch(self, num_items: int, group: list[int]) -> Batch:
        """The items of step 0 for these slots: those of the last call where they are the same."""
        key = self._probe_batch_key(num_items, group)
        if key is None or self._last_batch is None or self._last_batch[0] != key:
            # Drawn for each slot: they may differ in vector parameters of the task, such as label noise.
            steps_S = torch.zeros_like(self.block.steps_S[group])
            self._last_batch = key, self.block.sample("probe", steps_S, num_items, slots=group)
        return self._last_batch[1]

    def _probe_batch_key(self, num_items: int, group: list[int]) -> object:
        """What the items of slots depend on; None where asking would take a GPU longer than drawing them."""
        if self.block.device.type != "cpu":
            return None
        vectors = (values[group].numpy().tobytes() for values in self.block.task_vectors.values())
        return num_items, len(group), *vectors

    def _gathered(
        self, slots: Sequence[int], measure: Callable[[NamedTensors, list[int]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """`measure` on copies of these slots, in groups of equal size, the last one padded; (n, ...) each."""
        size = min(_MEASURING_SLOTS[self.block.device.type], self.block.num_slots)
        found = []
        for first in range(0, len(slots), size):
            group = list(slots[first : first + size])
            padded = group + group[-1:] * (size - len(group))
            rows_SP = self.block.weights_SP[padded]
            metrics = measure(self.block.layout.views(rows_SP), padded)
            found.append({name: value[: len(group)].detach() for name, value in metrics.items()})
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def _computed_once(batch: Batch, apply: Callable[[Tensor], Tensor]) -> tuple[Batch, Callable[[Tensor], Tensor]]:
    """The batch with inputs that gradients can be asked for, and `apply`, which has been called for these already."""
    inputs = batch.inputs.detach().requires_grad_(True)
    with torch.enable_grad():
        predictions = apply(inputs)
    return Batch(inputs, batch.targets), lambda given: predictions if given is inputs else apply(given)
