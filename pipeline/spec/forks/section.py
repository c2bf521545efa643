"""The section `fork` of a spec: which runs forks start from, at which steps, and what is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from pipeline.spec.errors import dotted
from pipeline.spec.forks.weights import WEIGHTS, form_problems, source_problems
from pipeline.spec.messages import spec_problems
from pipeline.spec.parameters import Parameters
from pipeline.spec.registered import Problem, located, unknown
from pipeline.spec.run_config import SECTIONS, RunConfig, Setting
from pipeline.spec.sections import chunk_ends
from pipeline.spec.seeds import ForkSeedsField, Fresh, check_distinct

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Fork(Parameters):
    """Runs that start from others: every parent x step x data_seed, with the same `changes` (dotted path -> value).

    `data_seed` None keeps each parent's; {fresh: 20} gives every parent 20 of its own. A change {times: 4} multiplies
    the parent's number. The change `weights` maps parameters to the runs, of the same sweep, that they are taken from.
    `alternatives` are further changes: every fork is made once with each of them.
    """

    sweep: str = Field(min_length=1)
    runs: Literal["all"] | Annotated[tuple[RunId, ...], Field(strict=False, min_length=1)] = "all"
    steps: Annotated[tuple[int, ...], Field(strict=False, min_length=1)]
    data_seed: ForkSeedsField | None = None
    changes: dict[str, Any] = Field(default_factory=dict)
    alternatives: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _changes_something(self) -> Fork:
        if self.data_seed is None and not self.changes and not (self.alternatives and all(self.alternatives)):
            raise ValueError("needs data_seed, changes, or both")
        if self.data_seed is not None and not isinstance(self.data_seed, Fresh):
            check_distinct(self.data_seed.values(), "data_seed")
        stated: list[tuple[tuple[str | int, ...], dict[str, Any]]] = [(("changes",), self.changes)]
        stated += [(("alternatives", number), changes) for number, changes in enumerate(self.alternatives)]
        if wrong := [
            *self._twice(),
            *(problem for place, changes in stated for problem in _of_changes(place, changes)),
        ]:
            raise located(wrong)
        return self

    def _twice(self) -> Iterator[Problem]:
        for number, changes in enumerate(self.alternatives):
            if changes in self.alternatives[:number]:
                yield ("alternatives", number), "each of the alternatives must occur once", changes
            for path in changes.keys() & self.changes.keys():
                yield ("alternatives", number, path), "stands in fork.changes too: give it in one place", changes[path]

    def seeds_of(self, parent: str) -> tuple[int, ...] | None:
        """The data seeds of the forks of run `parent`; None if they keep its own."""
        if self.data_seed is None:
            return None
        return self.data_seed.seeds_of(parent) if isinstance(self.data_seed, Fresh) else tuple(self.data_seed.values())

    @property
    def each_changes(self) -> tuple[Mapping[str, Any], ...]:
        """All changes that forks are made with, one mapping for each alternative."""
        return tuple({**self.changes, **further} for further in self.alternatives or ({},))

    def forks_of(self, parent: RunConfig, known: Mapping[str, RunConfig]) -> list[RunConfig]:
        """The forks of a run, alternative by alternative. `known` are the runs of its sweep, by id.

        Raises ValueError, a line for each mistake, where it cannot be changed so.
        """
        return [fork for changes in self.each_changes for fork in self._forks_with(changes, parent, known)]

    def _forks_with(
        self, changes: Mapping[str, Any], parent: RunConfig, known: Mapping[str, RunConfig]
    ) -> list[RunConfig]:
        taken: Mapping[str, str] = changes.get(WEIGHTS, {})
        if missing := [run_id for run_id in dict.fromkeys(taken.values()) if run_id not in known]:
            raise ValueError(f"fork.changes.weights: {self.sweep} has no run {', '.join(missing)}")
        try:
            of_parent = changes_of(changes, parent.setting)
            forks = parent.forks(self.steps, self.seeds_of(parent.run_id), of_parent)
            if wrong := list(source_problems(taken, parent, known)):
                raise located(wrong)
            return forks
        except ValidationError as error:
            found = spec_problems(error, Setting, parent.as_dict())
            lines = [f"fork.changes of run {parent.run_id}: {dotted(place)}: {message}" for place, message, _ in found]
            raise ValueError("\n".join(lines)) from None

    def check_steps(self, chunk: int, budget: int) -> None:
        """Raises ValueError, with places, unless steps increase and are multiples of the chunk before the budget."""
        problems = [(("fork", "steps", *place), *rest) for place, *rest in chunk_ends(self.steps, chunk, budget - 1)]
        if problems:
            raise located(problems)


def changes_of(changes: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """Dotted path -> value for the forks of a parent with this setting. Raises ValueError, with places."""
    problems: list[Problem] = []
    found = dict(changes)
    for path, value in changes.items():
        if isinstance(value, Mapping) and value.keys() == {"times"} and path in setting.paths():
            before, factor = setting.at(path), value["times"]
            if _is_number(before) and _is_number(factor):
                found[path] = _product(before, factor)
            else:
                problems.append(((path,), f"times needs two numbers, given {before!r} times {factor!r}", value))
    if problems:
        raise located(problems)
    return found


def _of_changes(place: tuple[str | int, ...], changes: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with changes whatever the parents are; places inside the section."""
    valid = (*SECTIONS, "batch_size", "streams", WEIGHTS)
    for path in changes:
        if path.partition(".")[0] not in valid:
            yield (*place, path), unknown("section", path, valid), path
    for inner, message, given in form_problems(changes):
        yield (*place, *inner), message, given


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _product(before: float, factor: float) -> float:
    """The product to 12 significant digits, of a whole number again a whole one where it can be."""
    product = float(f"{before * factor:.12g}")
    return round(product) if isinstance(before, int) and product == round(product) else product
