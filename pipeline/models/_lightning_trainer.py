"""A LightningModule of the user's own under Trainers: `{name: lightning, module: my_pkg:Lit, trainer: true, ...}`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from pipeline.models._lightning import Lightning, examples_of
from pipeline.models._lightning_builder import LightningBuilder
from pipeline.models.base import Configuration, ParameterSpec, TrainingLosses
from pipeline.spec.parameters import static
from pipeline.tasks.base import Batch, Task, TaskShape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.arrays import Floats
    from pipeline.models._lightning_fit import Fit, Step
    from pipeline.models._module_slots import Example
    from pipeline.optimisers.base import Optimiser
    from pipeline.schedules.base import Schedule
    from pipeline.tasks.base import Streams


class LightningTrainer(Lightning):
    """A LightningModule of which every run is trained by a Trainer of its own, with its hooks and callbacks.

    What a pack refuses is trained so: manual optimisation, several optimisers, any torch.optim, hooks, `self.trainer`.
    What the runs record, and how they end and resume, is as for other models; they go on from the Trainer's own
    checkpoint, which their states hold. That their bits depend on the run alone is not promised: code of hooks may keep
    what is in no checkpoint. Buffers of the module's state_dict are state of the run. Evaluations are by
    `Trainer.validate`, so `validation_step` is needed; global_step and current_epoch are 0 in it. An epoch has
    `steps_per_epoch` steps, and without that it does not end.
    """

    trainer: Literal[True] = static(True)

    @property
    def builder(self) -> TrainerBuilder:
        """What makes its modules."""
        return TrainerBuilder(self.own_class, self._own(), self.monitor, self.input_shape, self.start_content)

    def own_engine(self) -> str:
        """Lightning's Trainer, by its version."""
        return trainer_engine()

    def parameter_specs(self, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
        """Parameters, and buffers of the state_dict, as (first axis, all others). Raises ValueError if a fit fails."""
        from pipeline.models._lightning_checks import trainer_problems

        self._require_inputs(task_shape)
        wrong = trainer_problems(self.builder, task_shape)
        if wrong:
            raise ValueError("; ".join(wrong))
        return _specs(self.builder, task_shape)

    def noise_streams(self, task_shape: TaskShape) -> tuple[str, ...]:
        """`noise`, which seeds torch's own generators at every step."""
        return ("noise",)

    def unfit_parts(self, optimiser: Optimiser, schedule: Schedule) -> Iterator[tuple[str, str]]:
        """A Trainer takes the optimisers, rates and schedulers of configure_optimizers alone."""
        for section, part in (("optimiser", optimiser), ("schedule", schedule)):
            if part.name != "configured":
                yield section, f"{part.name} has no effect beside model.trainer, which asks configure_optimizers"
        if optimiser.name == "configured" and optimiser.lr != 1:
            yield "optimiser", "lr has no effect beside model.trainer; vary a keyword of the class"
        if optimiser.clip is not None and _is_manual(self.builder):
            yield "optimiser", f"clip has no effect on {self.own_class.__name__}, which optimises by itself"

    def configuration(self) -> Configuration | None:
        """None: a Trainer asks configure_optimizers itself."""
        return None

    def lr_factors(self, num_steps: int) -> Floats | None:
        """None, likewise."""
        return None

    def num_lr_factors(self) -> int | None:
        """None, likewise: a scheduler that is stepped beyond its end raises by itself."""
        return None

    def training_losses(
        self, parameters: Mapping[str, Tensor], task: Task, batch: Batch, steps_S: Tensor, streams: Streams
    ) -> TrainingLosses:
        """Raises TypeError: a Trainer trains it, see `fit`."""
        raise TypeError(f"{self.module} is trained by a Trainer, not in a pack")

    def fit(
        self,
        parameters: Mapping[str, Tensor],
        clip: float | None,
        checkpoint: bytes | None,
    ) -> tuple[nn.Module, Fit]:
        """A run's module with its `parameters`, (rows, columns) each, and its fit, from a Trainer's `checkpoint` on."""
        from pipeline.models._lightning_fit import Fit
        from pipeline.models._module_slots import put_values

        module, some = self.builder.anew(), next(iter(parameters.values()))
        module = put_values(module.to(some.device, some.dtype), parameters).train()
        return module, Fit(module, some.device, clip, self.steps_per_epoch, checkpoint)

    def step(self, example: Example, seed: int) -> Step:
        """A step of a fit, its batch in the shape that the module takes; `seed` is of what the module draws in it."""
        from pipeline.models._lightning_fit import Step

        shaped = self.builder.shaped(example)
        return Step(shaped.inputs, shaped.targets, seed)

    def evaluated(self, parameters: Mapping[str, Tensor], task: Task, batch: Batch) -> dict[str, Tensor]:
        """What its validation hooks log of the whole batch, for each of its questions, (S, B * Q)."""
        import torch

        from pipeline.models._module_slots import with_values

        examples = examples_of(batch, task, [0] * len(batch.inputs))
        found = []
        for slot, example in enumerate(examples):
            module = self.builder.anew().to(batch.inputs.device, next(iter(parameters.values())).dtype)
            own = with_values(module, {name: value[slot] for name, value in parameters.items()})
            found.append(self.builder.metrics(own, example))
        return {
            name: torch.stack([metrics[name].double() for metrics in found])[:, None].expand(batch.targets.shape)
            for name in found[0]
        }

    def remark(self) -> str:
        """What a Trainer costs, and what it takes from the promise."""
        return (
            f"{self.module}: one run at a time, each under a Trainer of its own, which is slow: runs share nothing, "
            "and every step calls all hooks. That its bits depend on the run alone is not promised: code of hooks may "
            "keep what is in no checkpoint"
        )


def trainer_engine() -> str:
    """The `engine` of numerics of runs under Trainers, on this machine."""
    return f"lightning-{version('lightning')}"


class TrainerBuilder(LightningBuilder):
    """Makes modules that keep their Trainer."""

    def module(self, task_shape: TaskShape) -> nn.Module:
        """The module as its class makes it, with the weights that it starts from."""
        from pipeline.models._start import start_from

        made = self.own()
        if self.start is not None:
            start_from(made, *self.start)
        return made

    def anew(self) -> nn.Module:
        """A module whose weights are to be put in; torch's generator is left as it was."""
        import torch

        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(0)
            return self.own()

    def logged(self, module: nn.Module, example: Example) -> dict[str, Tensor]:
        """Name as logged by its validation hooks -> ()."""
        from pipeline.models._lightning_fit import validated

        shaped = self.shaped(example)
        return validated(module, shaped.inputs, shaped.targets)


@lru_cache(maxsize=64)
def _is_manual(builder: TrainerBuilder) -> bool:
    return not builder.anew().automatic_optimization


@lru_cache(maxsize=64)
def _specs(builder: TrainerBuilder, task_shape: TaskShape) -> tuple[ParameterSpec, ...]:
    from pipeline.models._module_slots import parameter_spec

    module = builder.anew()
    kept, parameters = module.state_dict().keys(), dict(module.named_parameters())
    found = [parameter_spec(builder, task_shape, name, value) for name, value in parameters.items()]
    buffers = ((name, value) for name, value in module.named_buffers() if name in kept)
    found += [parameter_spec(builder, task_shape, name, value, is_state=True) for name, value in buffers]
    return tuple(found)
