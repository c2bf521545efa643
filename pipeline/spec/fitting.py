"""Whether the parts of a setting fit together: its task, model, optimiser, schedule, streams and dtype."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, cast

from pipeline.spec.parameters import Registered
from pipeline.spec.registered import Problem, registry, unknown

if TYPE_CHECKING:
    from pipeline.models.base import Model
    from pipeline.spec.run_config import Setting
    from pipeline.tasks.base import Task

# Largest finite number of each dtype.
_LARGEST = {"float32": (2 - 2**-23) * 2.0**127, "float64": (2 - 2**-52) * 2.0**1023}
_SECTIONS = ("task", "model", "optimiser", "schedule")


def misfits(setting: Setting) -> list[Problem]:
    """What does not fit: the first kind of problem alone, since others may follow from it."""
    kinds = (_of_the_model, _of_what_it_configures, _of_the_dtype, _of_the_streams)
    return next((wrong for find in kinds if (wrong := list(find(setting)))), [])


def _of_the_model(setting: Setting) -> Iterator[Problem]:
    task, model = setting.task, setting.model
    message = model.incompatibility(task)
    if message is not None:
        models = cast("Mapping[str, type[Model]]", registry("model"))
        names = ", ".join(name for name, other in models.items() if other.incompatibility(task) is None)
        yield ("model", "name"), f"{message} (models that fit: {names or _none_fits(task)})", model.name
        return
    try:
        model.parameter_specs(task.shape())
    except ValueError as error:
        yield ("model",), str(error), model.name


def _none_fits(task: Task) -> str:
    template = "data" if task.shape().kind == "vectors" else "model"
    return f"none that is here; `seedbed new {template} NAME` writes one, to be edited"


def _of_what_it_configures(setting: Setting) -> Iterator[Problem]:
    unfit = dict(setting.model.unfit_parts(setting.optimiser, setting.schedule))
    for section, part in (("optimiser", setting.optimiser), ("schedule", setting.schedule)):
        if section in unfit:
            yield (section,), unfit[section], part.name
            continue
        try:
            part.for_model(setting.model)
        except ValueError as error:
            yield (section,), f"configure_optimizers {error}", part.name


def schedule_problems(settings: Iterable[Setting], budgets: Iterable[int]) -> list[tuple[str, int]]:
    """What is wrong with budgets beyond the end of a setting's schedule, and the budget; each once."""
    wrong: dict[tuple[str, int], None] = {}
    for setting, budget in zip(settings, budgets, strict=True):
        most = setting.schedule.for_model(setting.model).num_updates()
        if most is not None and budget > most:
            wrong[f"is more than the {most} updates for which the model's scheduler has a rate", budget] = None
    return list(wrong)


def _of_the_dtype(setting: Setting) -> Iterator[Problem]:
    """The vector hyperparameters that their dtype cannot hold."""
    largest = _LARGEST[setting.dtype]
    for section in _SECTIONS:
        parameters: Registered = getattr(setting, section)
        for name in parameters.vector_fields():
            value = getattr(parameters, name)
            if value is not None and abs(value) > largest:
                yield (section, name), f"is more than {setting.dtype} can hold ({largest:.3g})", value


def _of_the_streams(setting: Setting) -> Iterator[Problem]:
    if setting.streams:
        specs = setting.model.parameter_specs(setting.task.shape())
        valid = (*setting.data_streams, *(f"init/{spec.name}" for spec in specs))
        for name in setting.streams:
            if name not in valid:
                yield ("streams", name), unknown("stream", name, valid), name
