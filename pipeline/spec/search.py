"""The section `search` of a sweep file: a space of settings, who searches it, and what is sought."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError

from pipeline.own_code.data_folders import data_beside
from pipeline.spec.errors import Mistake, Place, SpecError, dotted
from pipeline.spec.identity import canonical_json, digest
from pipeline.spec.messages import spec_problems
from pipeline.spec.overrides import spec_source
from pipeline.spec.parameters import Parameters
from pipeline.spec.run_config import path_problem
from pipeline.spec.sweep import SweepSpec
from pipeline.spec.vary.factors import MAX_VALUES, DistributionField

SECTION = "search"
_Model = TypeVar("_Model", bound=Parameters)
# Digits of a suggested decimal that are kept, as of random factors.
_DIGITS = 12


class Race(Parameters):
    """Settings of a round are tried with the first `first` seeds; a share `keep` of them, the best, gets all.

    Of the others each gets all seeds with probability `audit`, whatever it did: by these what the race loses is known.
    """

    first: int = Field(gt=0)
    keep: float = Field(0.5, gt=0, le=1)
    audit: float = Field(0.2, ge=0, le=1)

    def kept(self, values: Sequence[float]) -> list[bool]:
        """Whether each setting of a round is among the best, of larger values; NaN is the worst.

        >>> Race(first=2).kept([0.1, float("nan"), 0.7, 0.3])
        [False, False, True, True]
        """
        order = sorted(range(len(values)), key=lambda place: (math.isnan(values[place]), -values[place], place))
        best = set(order[: math.ceil(self.keep * len(values))])
        return [place in best for place in range(len(values))]

    def is_audited(self, setting: Mapping[str, Any], seed: int) -> bool:
        """Whether a setting gets all seeds whatever it does: by a hash of it, so independently of its results."""
        word = digest("search audit", canonical_json({"seed": seed, "setting": dict(setting)}))
        return int(word[:12], 16) / 16**12 < self.audit


class Search(Parameters):
    """A search over `space`: dotted path -> distribution, in rounds of a few settings, each under the sweep's seeds.

    `objective` is `converged` (share of runs), `time` (mean steps to convergence, up to the budget) or a metric of the
    label set, such as `label_loss` (its median last value). `seed` fixes what the searcher draws.
    """

    space: dict[str, DistributionField] = Field(min_length=1)
    searcher: Literal["optuna", "hyperopt", "bohb"] = "optuna"
    rounds: int = Field(gt=0, le=MAX_VALUES)
    settings_per_round: int = Field(gt=0, le=MAX_VALUES)
    objective: str = "converged"
    seed: int = Field(0, ge=0, lt=2**32)
    race: Race | None = None

    def document(self) -> dict[str, Any]:
        """What a search is, in plain values; more `rounds` are the same search."""
        whole: dict[str, Any] = self.model_dump(exclude={"rounds"}, warnings=False)
        return whole


def load_search(
    path: str | Path, overrides: Sequence[str] = (), imports: Sequence[str] = ()
) -> tuple[Search, SweepSpec]:
    """The search in a sweep file, and the sweep that it varies, as `load_spec` reads one.

    Raises SpecError with every mistake, each at its line or override.
    """
    source = spec_source(path, overrides, imports)
    mistakes = list(source.mistakes)
    with data_beside(Path(path).resolve().parent):
        search, of_search = _validated(Search, source.data.get(SECTION, {}), (SECTION,))
        of_sweep = {key: value for key, value in source.data.items() if key != SECTION}
        spec, problems = _validated(SweepSpec, of_sweep, ())
    problems = [*of_search, *problems]
    if search is not None and spec is not None:
        problems += _problems(search, spec)
    # What could not be read is said to be missing by the models as well.
    unread = {mistake.field for mistake in mistakes}
    found = [Mistake(source.locate(place), dotted(place), message) for place, message in problems]
    mistakes += [mistake for mistake in found if mistake.field not in unread]
    if mistakes or search is None or spec is None:
        raise SpecError(source.in_order(mistakes))
    return search, spec


def _validated(model: type[_Model], data: Any, prefix: Place) -> tuple[_Model | None, list[tuple[Place, str]]]:
    """The section, or None and what is wrong with it."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, [((*prefix, *place), message) for place, message, _ in spec_problems(error, model, data)]


def _problems(search: Search, spec: SweepSpec) -> Iterator[tuple[Place, str]]:
    """What the section and the sweep together have wrong."""
    if spec.fork is not None or spec.vary:
        field = "vary" if spec.fork is None else "fork"
        yield (field,), "is for sweeps whose settings are declared; a search suggests them from search.space"
        return
    for path in search.space:
        if (problem := path_problem(path, spec.base)) is not None:
            yield (SECTION, "space", path), problem
    num_seeds = 0 if spec.seeds is None else len(spec.seeds)
    if search.race is not None and search.race.first >= num_seeds:
        yield (SECTION, "race", "first"), f"must be fewer than the {num_seeds} seeds, given {search.race.first}"


def suggested(spec: SweepSpec, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """A suggested setting as a sweep file would say it, decimals to 12 digits; None where it is no valid setting."""
    setting = {path: float(f"{x:.{_DIGITS}g}") if isinstance(x, float) else x for path, x in values.items()}
    return setting if setting_problem(spec, setting) is None else None


def setting_problem(spec: SweepSpec, setting: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with a setting of the sweep, with its field; None where it is valid."""
    try:
        spec.base.changed(setting)
    except ValidationError as error:
        place, message, _ = spec_problems(error, type(spec.base), {})[0]
        return f"{dotted(place)} {message}"
    return None


def with_settings(spec: SweepSpec, settings: Sequence[Mapping[str, Any]]) -> SweepSpec:
    """The sweep of these settings, in their order, under all seeds of `spec`."""
    factor = {path: [setting[path] for setting in settings] for path in settings[0]}
    return SweepSpec.model_validate({**spec.identity(), "vary": [factor]})
