"""SweepSpec: a sweep file, validated as a whole, and the runs that it declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from pipeline.own_code.data_folders import data_beside
from pipeline.own_code.entries import Imports, import_problems
from pipeline.spec import messages as spec_errors
from pipeline.spec.budget_steps import BudgetSteps
from pipeline.spec.criteria.judged_by import Criteria, refuse_unmet
from pipeline.spec.criterion import Criterion
from pipeline.spec.errors import Mistake, SpecError, dotted
from pipeline.spec.fitting import schedule_problems
from pipeline.spec.forks.section import Fork
from pipeline.spec.grid import Grid
from pipeline.spec.identity import canonical_json, differences, digest, plain
from pipeline.spec.overrides import spec_source
from pipeline.spec.parameters import Parameters, Registered
from pipeline.spec.presence import OF_A_SETTING, misplaced, rest_of, with_defaults
from pipeline.spec.reading_names import DEFAULT_READINGS, reading_problems
from pipeline.spec.registered import Problem, declared, located, reader
from pipeline.spec.run_config import (
    ModelField,
    OptimiserField,
    RunConfig,
    ScheduleField,
    Seed,
    Setting,
    StreamName,
    TaskField,
)
from pipeline.spec.sections import (
    DEFAULT_WINDOWS,
    Budget,
    Converged,
    GridSpec,
    MetricBound,
    Resources,
    Snapshots,
    Tracking,
    WindowShares,
)
from pipeline.spec.seeds import Seeds, equal_runs
from pipeline.spec.vary.expansion import BUDGET, Expansion, expanded
from pipeline.spec.vary.factors import FactorField
from pipeline.spec.yaml_source import to_yaml

if TYPE_CHECKING:
    from pipeline.stopping.base import StoppingRule

    StoppingField = StoppingRule
else:
    StoppingField = Annotated[Registered, PlainValidator(reader("stopping")), PlainSerializer(declared)]

__all__ = ["RunConfig", "Setting", "SpecError", "SweepSpec", "diff", "load_spec"]

MAX_RUNS = 1_000_000
STORED = {"is_stored": True}
_DEFAULT_RULE = {"name": "after_convergence"}
_NOT_IDENTITY = ("description", "imports", "criteria", "resources", "tracking")


class SweepSpec(Parameters):
    """A sweep: the base setting, the factors that vary it, the seeds, and how runs are evaluated and ended.

    The base must be valid by itself. `budget` is that of the settings to which no factor gives another; it is no part
    of a run. With `fork`, the runs start from another sweep's: their settings and seeds are the parents', so that task,
    model, optimiser, schedule, batch_size, dtype, streams, vary and seeds must be left out.
    Raises pydantic's ValidationError, a ValueError, with every mistake at its place. In the context STORED, of a spec
    in a results folder, it takes seeds that give a run several times, as earlier versions did.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")
    description: str = ""
    imports: Imports = ()
    task: TaskField | None = None
    model: ModelField | None = None
    optimiser: OptimiserField | None = None
    schedule: ScheduleField | None = None
    batch_size: int | None = Field(None, gt=0, lt=2**31)
    dtype: Literal["float32", "float64"] | None = None
    streams: dict[StreamName, Seed] = Field(default_factory=dict)
    budget: Budget
    vary: Annotated[tuple[FactorField, ...], Field(strict=False)] = ()
    seeds: Seeds | None = None
    grid: GridSpec = Field(default_factory=GridSpec)
    windows: WindowShares = DEFAULT_WINDOWS
    readings: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    converged: Converged = Field(default_factory=lambda: Converged(at_most=0.02))
    criteria: Criteria
    stopping: StoppingField = Field(default_factory=lambda: cast("StoppingRule", reader("stopping")(_DEFAULT_RULE)))
    snapshots: Snapshots = Field(default_factory=Snapshots)
    resources: Resources = Field(default_factory=Resources)
    tracking: Tracking = Field(default_factory=Tracking)
    fork: Fork | None = None

    _expansion: Expansion = PrivateAttr(Expansion((), (), {}))

    @model_validator(mode="wrap")
    @classmethod
    def _every_mistake(
        cls, data: Any, handler: ModelWrapValidatorHandler[SweepSpec], info: ValidationInfo
    ) -> SweepSpec:
        """Report all mistakes together."""
        if not isinstance(data, Mapping):
            return handler(data)
        whole = with_defaults(data)
        wrong = [*import_problems(whole.get("imports")), *misplaced(whole)]
        try:
            spec = handler(whole)
        except ValidationError as error:
            wrong = [*spec_errors.spec_problems(error, cls, whole), *wrong]
            spec = None
        bad = {place[0] if place else "" for place, _, _ in wrong}
        if spec is None:
            spec = rest_of(whole, bad, handler)
        if spec is not None:
            wrong += spec._resolve(bad, is_stored=bool(info.context))
        if wrong or spec is None:
            raise located(wrong)
        return spec

    def _resolve(self, bad: set[str | int], is_stored: bool) -> list[Problem]:
        """Expand the settings; returns the problems across fields, without those in `bad`."""
        wrong: list[Problem] = []

        def attempt(check: Callable[[], None], spoils: str, *needs: str) -> None:
            if bad.isdisjoint({spoils, *needs}):
                try:
                    check()
                except ValidationError as error:
                    found = spec_errors.spec_problems(error, type(self), {})
                    bad.update({spoils, *(place[0] for place, _, _ in found)})
                    wrong.extend(found)

        if self.fork is None:
            attempt(self._resolve_settings, "vary", *OF_A_SETTING, "fork")
            attempt(self._check_count, "seeds", *OF_A_SETTING, "vary", "fork")
            if not is_stored:
                attempt(self._check_pinned, "seeds", *OF_A_SETTING, "vary", "fork")
                attempt(self._check_schedules, "budget", *OF_A_SETTING, "vary", "fork")
        attempt(lambda: self._for_each_budget(self._grid_of, self.budget), "budget", "grid")
        attempt(self._check_criteria, "converged", "criteria", "budget", "grid", "task")
        attempt(self._check_readings, "readings", "windows", *OF_A_SETTING, "vary")
        attempt(self._check_steps, "snapshots", "budget", "grid", "windows", "fork")
        attempt(lambda: self._for_each_budget(self._check_stopping), "stopping", "budget", "grid", "converged")
        return wrong

    def _grid_of(self, budget: int) -> Grid:
        return self.grid.resolved(budget, max(budget, *self.budgets))

    def _check_stopping(self, budget: int) -> None:
        problems = self.stopping.problems(budget, self.criterion, self._grid_of(budget))
        if problems:
            raise located([(("stopping", parameter), message, self.stopping.name) for parameter, message in problems])

    def _check_criteria(self) -> None:
        settings = self.expanded_settings
        tasks = [setting.task for setting in settings] or ([] if self.task is None else [self.task])
        fewest = min(len(self._grid_of(budget).eval_steps_T) for budget in self.budgets)
        places: dict[tuple[str, ...], MetricBound] = {("converged",): self.converged}
        places |= {("criteria", name): given for name, given in self.criteria.items()}
        refuse_unmet(places, tasks, fewest)

    def _check_steps(self) -> None:
        self._for_each_budget(self.steps)
        if self.fork is not None:
            self.fork.check_steps(self.grid.chunk, self.budget)

    def _for_each_budget(self, check: Callable[[int], object], *others: int) -> None:
        """Raises what `check` finds wrong with each budget (and `others`), where the spec states that budget, once."""
        wrong: list[Problem] = []
        for budget in dict.fromkeys((*others, *self.budgets)):
            try:
                check(budget)
            except ValidationError as error:
                for place, message, given in spec_errors.spec_problems(error, type(self), {}):
                    stated = self._expansion.places.get(budget, place) if place == (BUDGET,) else place
                    wrong += [(stated, message, given)] * ((stated, message, given) not in wrong)
        if wrong:
            raise located(wrong)

    def _check_readings(self) -> None:
        if wrong := list(reading_problems(self.readings or (), bool(self.windows), self.expanded_settings)):
            raise located(wrong)

    def _resolve_settings(self) -> None:
        self._expansion, wrong = expanded(self.base, self.budget, self.vary)
        if wrong:
            raise located(wrong)

    def _check_count(self) -> None:
        if (total := self.num_runs) > MAX_RUNS:
            raise located([(("seeds",), f"{total} runs; a sweep holds at most {MAX_RUNS}", total)])

    def _check_pinned(self) -> None:
        assert self.seeds is not None
        for used in sorted({setting.seeds_used() for setting in self.expanded_settings if setting.is_pinned}):
            if message := equal_runs(self.seeds.pairs(), used):
                raise located([(("seeds",), message, len(self.seeds))])

    def _check_schedules(self) -> None:
        if wrong := schedule_problems(self.expanded_settings, self.expanded_budgets):
            raise located([(self._expansion.places.get(given, (BUDGET,)), message, given) for message, given in wrong])

    @property
    def base(self) -> Setting:
        """The setting that factors vary. Raises ValueError for a fork, whose settings are its parents'."""
        if self.fork is not None:
            raise ValueError(f"sweep {self.name} forks {self.fork.sweep}: its settings are those of its parents")
        return Setting.model_validate({name: getattr(self, name) for name in OF_A_SETTING})

    @property
    def expanded_settings(self) -> tuple[Setting, ...]:
        """Every setting, in declared order, the last factor moving fastest; empty for a fork."""
        return self._expansion.settings

    @property
    def expanded_budgets(self) -> tuple[int, ...]:
        """The budget of every setting, in the same order."""
        return self._expansion.budgets

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budgets that its runs have, increasing."""
        return tuple(sorted(set(self.expanded_budgets))) or (self.budget,)

    def budget_of(self, run: RunConfig) -> int:
        """The most steps that a run of this sweep may take; of a fork its parent's are counted too."""
        return self.budget if self.fork is not None else self._budget_by_setting[run.setting.canonical]

    @cached_property
    def _budget_by_setting(self) -> dict[str, int]:
        settings = (setting.canonical for setting in self.expanded_settings)
        return dict(zip(settings, self.expanded_budgets, strict=True))

    def steps(self, budget: int) -> BudgetSteps:
        """When its runs of this budget are evaluated, probed and kept."""
        return BudgetSteps.of(budget, max(budget, *self.budgets), self.grid, self.windows, self.snapshots)

    @property
    def num_runs(self) -> int:
        """How many runs it declares; 0 for a fork, whose parents' folder says."""
        return 0 if self.seeds is None else len(self.expanded_settings) * len(self.seeds)

    @property
    def reading_names(self) -> tuple[str, ...]:
        """Names of the readings that are taken at the windows, of models that they can read; the default filled in."""
        if self.readings is not None:
            return self.readings
        return DEFAULT_READINGS if self.windows else ()

    @property
    def criterion(self) -> Criterion:
        """When a run of this sweep counts as converged."""
        return self.converged.criterion

    def runs(self, parents: Iterable[RunConfig] = ()) -> list[RunConfig]:
        """Every run, setting by setting and seeds within; for a fork, parent by parent, of those that it names.

        Raises ValueError where a fork's parent is missing or cannot be changed so.
        """
        if self.fork is None:
            assert self.seeds is not None
            return [run for setting in self.expanded_settings for run in self.seeds.runs_of(setting)]
        known = {parent.run_id: parent for parent in parents}
        wanted = list(known) if self.fork.runs == "all" else self.fork.runs
        missing = [run_id for run_id in wanted if run_id not in known]
        if missing or not wanted:
            raise ValueError(f"fork.runs: {self.fork.sweep} has no run {', '.join(missing) or 'at all'}")
        return [run for run_id in wanted for run in self.fork.forks_of(known[run_id], known)]

    def identity(self) -> dict[str, Any]:
        """Every field in plain dicts, lists and scalars; those that came later only where they are given."""
        absent = {"fork"} if self.fork is None else {*OF_A_SETTING, "vary", "seeds"}
        # Versions without them read the documents of sweeps that have none.
        absent |= set() if self.criteria else {"criteria"}
        whole: dict[str, Any] = plain(self.model_dump(exclude=absent))
        if self.snapshots.last is None:
            del whole["snapshots"]["last"]
        if self.fork is not None and not self.fork.alternatives:
            del whole["fork"]["alternatives"]
        return whole

    @property
    def sweep_id(self) -> str:
        """Hash of every field but description, imports, criteria, resources and tracking."""
        kept = {name: value for name, value in self.identity().items() if name not in _NOT_IDENTITY}
        return digest("sweep", canonical_json(kept))

    def to_yaml(self) -> str:
        """Text that loads as an equal spec, defaults written out."""
        return to_yaml(self.identity())


def diff(old: SweepSpec | Mapping[str, Any], new: SweepSpec | Mapping[str, Any]) -> list[str]:
    """Fields in which two specs, or their `identity()`, differ, such as "budget: 1200 -> 1500"."""
    before, after = (spec.identity() if isinstance(spec, SweepSpec) else spec for spec in (old, new))
    return differences(before, after)


def load_spec(path: str | Path, overrides: Sequence[str] = (), imports: Sequence[str] = ()) -> SweepSpec:
    """The spec in a YAML file, with values put in place by overrides such as "optimiser.lr=1e-2", and more `imports`.

    Raises SpecError with every mistake, each at its line or override.
    """
    source = spec_source(path, overrides, imports)
    if "search" in source.data:
        del source.data["search"]
        message = "is for `seedbed search FILE`, which tries settings in rounds; other commands take a file without it"
        source.mistakes.append(Mistake(source.locate(("search",)), "search", message))
    try:
        with data_beside(Path(path).resolve().parent):
            spec = SweepSpec.model_validate(source.data)
    except ValidationError as error:
        refused = {mistake.field for mistake in source.mistakes}
        problems = spec_errors.spec_problems(error, SweepSpec, source.data)
        found = [Mistake(source.locate(place), dotted(place), message) for place, message, _ in problems]
        found = [mistake for mistake in found if mistake.field not in refused]
        raise SpecError(source.in_order([*source.mistakes, *found])) from None
    varied = {path for factor in spec.vary for path in factor.paths()}
    for override in overrides:
        path = override.partition("=")[0].strip()
        if path in varied:
            message = "has no effect: vary gives its values; override that, such as vary=[]"
            source.mistakes.append(Mistake(f"override {override!r}", path, message))
    if source.mistakes:
        raise SpecError(source.in_order(source.mistakes))
    return spec
