"""SweepSpec: a sweep file, validated as a whole, and the runs that it declares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from pipeline.spec import messages as spec_errors
from pipeline.spec.criterion import Criterion
from pipeline.spec.errors import Mistake, SpecError, dotted
from pipeline.spec.expansion import expanded
from pipeline.spec.factors import FactorField
from pipeline.spec.grid import Grid, window_steps
from pipeline.spec.identity import canonical_json, differences, digest, plain
from pipeline.spec.overrides import apply_overrides
from pipeline.spec.parameters import Parameters, Registered
from pipeline.spec.reading_names import DEFAULT_READINGS, reading_problems
from pipeline.spec.registered import Problem, declared, located, reader
from pipeline.spec.renamed import respell
from pipeline.spec.run_config import (
    SECTIONS,
    Lineage,
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
    MAX_STEPS,
    Converged,
    Fork,
    GridSpec,
    Resources,
    Snapshots,
    Tracking,
    WindowShares,
)
from pipeline.spec.seeds import Seeds, equal_runs
from pipeline.spec.yaml_source import read_spec_file, to_yaml

if TYPE_CHECKING:
    from pipeline.stopping.base import StoppingRule

    StoppingField = StoppingRule
else:
    StoppingField = Annotated[Registered, PlainValidator(reader("stopping")), PlainSerializer(declared)]

__all__ = ["Lineage", "RunConfig", "Setting", "SpecError", "SweepSpec", "diff", "load_spec"]

MAX_RUNS = 1_000_000
_OF_A_SETTING = (*SECTIONS, "batch_size", "dtype", "streams")
_NOT_IDENTITY = ("description", "resources", "tracking")


class SweepSpec(Parameters):
    """A sweep: the base setting, the factors that vary it, the seeds, and how runs are evaluated and ended.

    The base must be valid by itself. With `fork`, the runs start from another sweep's: their settings and seeds are the
    parents', so that task, model, optimiser, schedule, batch_size, dtype, streams, vary and seeds must be left out.
    Raises pydantic's ValidationError, a ValueError, with every mistake at its place.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")
    description: str = ""
    task: TaskField | None = None
    model: ModelField | None = None
    optimiser: OptimiserField | None = None
    schedule: ScheduleField | None = None
    batch_size: int | None = Field(None, gt=0, lt=2**31)
    dtype: Literal["float32", "float64"] | None = None
    streams: dict[StreamName, Seed] = Field(default_factory=dict)
    budget: int = Field(gt=0, le=MAX_STEPS)
    vary: Annotated[tuple[FactorField, ...], Field(strict=False)] = ()
    seeds: Seeds | None = None
    grid: GridSpec = Field(default_factory=GridSpec)
    windows: WindowShares = DEFAULT_WINDOWS
    readings: Annotated[tuple[str, ...] | None, Field(strict=False)] = None
    converged: Converged = Field(default_factory=lambda: Converged(at_most=0.02))
    stopping: StoppingField = Field(default_factory=lambda: _default_stopping())
    snapshots: Snapshots = Field(default_factory=Snapshots)
    resources: Resources = Field(default_factory=Resources)
    tracking: Tracking = Field(default_factory=Tracking)
    fork: Fork | None = None

    _settings: tuple[Setting, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _every_mistake(cls, data: Any, handler: ModelWrapValidatorHandler[SweepSpec]) -> SweepSpec:
        """Report mistakes within fields and across fields together."""
        if not isinstance(data, Mapping):
            return handler(data)
        filled = _filled(data)
        wrong = list(_misplaced(filled))
        try:
            spec = handler(filled)
        except ValidationError as error:
            wrong = [*spec_errors.spec_problems(error, cls, filled), *wrong]
            spec = None
        bad = {place[0] if place else "" for place, _, _ in wrong}
        if spec is None:
            spec = _rest_of(filled, bad, handler)
        if spec is not None:
            wrong += spec._resolve(bad)
        if wrong or spec is None:
            raise located(wrong)
        return spec

    def _resolve(self, bad: set[str | int]) -> list[Problem]:
        """Expand the settings; returns the problems across fields, without those in `bad`."""
        wrong: list[Problem] = []

        def attempt(check: Callable[[], None], *needs: str) -> None:
            if bad.isdisjoint(needs):
                try:
                    check()
                except ValidationError as error:
                    found = spec_errors.spec_problems(error, type(self), {})
                    bad.update(place[0] for place, _, _ in found)
                    wrong.extend(found)

        if self.fork is None:
            attempt(self._resolve_settings, *_OF_A_SETTING, "vary", "fork")
            attempt(self._check_count, *_OF_A_SETTING, "vary", "seeds", "fork")
            attempt(self._check_pinned, *_OF_A_SETTING, "vary", "seeds", "fork")
        attempt(self._check_grid, "budget", "grid")
        attempt(self._check_criterion, "budget", "grid", "converged", "task")
        attempt(self._check_readings, "readings", "windows", *_OF_A_SETTING, "vary")
        attempt(self._check_steps, "budget", "grid", "windows", "snapshots", "fork")
        attempt(self._check_stopping, "budget", "grid", "converged", "stopping")
        return wrong

    def _check_grid(self) -> None:
        self.grid.resolved(self.budget)

    def _check_stopping(self) -> None:
        problems = self.stopping.problems(self.budget, self.criterion, self.time_grid)
        if problems:
            raise located([(("stopping", parameter), message, self.stopping.name) for parameter, message in problems])

    def _check_criterion(self) -> None:
        tasks = [setting.task for setting in self._settings] or ([] if self.task is None else [self.task])
        blind = next((task.name for task in tasks if not task.has_accuracy()), None)
        if self.converged.metric == "label_accuracy" and blind is not None:
            message = f"task {blind} has no accuracy; use label_excess or label_loss"
            raise located([(("converged", "metric"), message, self.converged.metric)])
        num_evaluations = len(self.time_grid.eval_steps_T)
        if self.converged.evaluations > num_evaluations:
            message = f"asks for {self.converged.evaluations} successive evaluations, the grid has {num_evaluations}"
            raise located([(("converged", "evaluations"), message, self.converged.evaluations)])

    def _check_steps(self) -> None:
        _ = self.snapshot_steps
        if self.fork is not None:
            self.fork.check_steps(self.grid.chunk, self.budget)

    def _check_readings(self) -> None:
        if wrong := list(reading_problems(self.readings or (), bool(self.windows), self._settings)):
            raise located(wrong)

    def _resolve_settings(self) -> None:
        settings, wrong = expanded(self.base, self.vary)
        if wrong:
            raise located(wrong)
        self._settings = tuple(settings)

    def _check_count(self) -> None:
        assert self.seeds is not None
        total = len(self._settings) * len(self.seeds)
        if total > MAX_RUNS:
            raise located([(("seeds",), f"{total} runs; a sweep holds at most {MAX_RUNS}", total)])

    def _check_pinned(self) -> None:
        assert self.seeds is not None
        for used in sorted({setting.seeds_used() for setting in self._settings if setting.streams}):
            if message := equal_runs(self.seeds.pairs(), used):
                raise located([(("seeds",), message, len(self.seeds))])

    @property
    def base(self) -> Setting:
        """The setting that factors vary. Raises ValueError for a fork, whose settings are its parents'."""
        if self.fork is not None:
            raise ValueError(f"sweep {self.name} forks {self.fork.sweep}: its settings are those of its parents")
        return Setting.model_validate({name: getattr(self, name) for name in _OF_A_SETTING})

    @property
    def expanded_settings(self) -> tuple[Setting, ...]:
        """Every setting, in declared order, the last factor moving fastest; empty for a fork."""
        return self._settings

    @property
    def time_grid(self) -> Grid:
        """eval_steps and probe_steps as arrays."""
        return self.grid.resolved(self.budget)

    @property
    def window_steps(self) -> tuple[tuple[float, int], ...]:
        """(share of the budget, step) of each window, rounded to chunks; see `pipeline.spec.grid.window_steps`."""
        return window_steps(self.windows, self.grid.chunk, self.budget)

    @property
    def reading_names(self) -> tuple[str, ...]:
        """Names of the readings that are taken at the windows, of models that they can read; the default filled in."""
        if self.readings is not None:
            return self.readings
        return DEFAULT_READINGS if self.windows else ()

    @property
    def criterion(self) -> Criterion:
        """When a run of this sweep counts as converged."""
        given = self.converged
        return Criterion(given.metric, given.at_most, given.at_least, given.evaluations)

    @property
    def snapshot_steps(self) -> dict[str, tuple[int, ...]]:
        """{"states": steps, "weights": steps, "attention": steps}, defaults filled in."""
        window_steps = tuple(step for _, step in self.window_steps)
        return self.snapshots.resolved(self.grid.chunk, self.budget, window_steps)

    def runs(self, parents: Iterable[RunConfig] = ()) -> list[RunConfig]:
        """Every run, setting by setting and seeds within; for a fork, parent by parent, of those that it names.

        Raises ValueError where a fork's parent is missing or cannot be changed so.
        """
        if self.fork is None:
            assert self.seeds is not None
            pairs = self.seeds.pairs()
            return [RunConfig(setting, init, data) for setting in self._settings for init, data in pairs]
        known = {parent.run_id: parent for parent in parents}
        wanted = list(known) if self.fork.runs == "all" else self.fork.runs
        missing = [run_id for run_id in wanted if run_id not in known]
        if missing or not wanted:
            raise ValueError(f"fork.runs: {self.fork.sweep} has no run {', '.join(missing) or 'at all'}")
        return [run for run_id in wanted for run in _forks(self.fork, known[run_id])]

    def identity(self) -> dict[str, Any]:
        """Every field in plain dicts, lists and scalars."""
        whole: dict[str, Any] = plain(self.model_dump(exclude=self._misplaced_now()))
        return whole

    def _misplaced_now(self) -> set[str]:
        return {*_OF_A_SETTING, "vary", "seeds"} if self.fork is not None else {"fork"}

    @property
    def sweep_id(self) -> str:
        """Hash of every field but description, resources and tracking."""
        kept = {name: value for name, value in self.identity().items() if name not in _NOT_IDENTITY}
        return digest("sweep", canonical_json(kept))

    def to_yaml(self) -> str:
        """Text that loads as an equal spec, defaults written out."""
        return to_yaml(self.identity())


def _forks(fork: Fork, parent: RunConfig) -> list[RunConfig]:
    try:
        return parent.forks(fork.steps, fork.seeds_of(parent.run_id), fork.changes_of(parent.setting))
    except ValidationError as error:
        found = spec_errors.spec_problems(error, Setting, parent.as_dict())
        lines = [f"fork.changes of run {parent.run_id}: {dotted(place)}: {message}" for place, message, _ in found]
        raise ValueError("\n".join(lines)) from None


def _default_stopping() -> StoppingRule:
    rule: Any = reader("stopping")({"name": "after_convergence"})
    return cast("StoppingRule", rule)


def diff(old: SweepSpec | Mapping[str, Any], new: SweepSpec | Mapping[str, Any]) -> list[str]:
    """Fields in which two specs, or their `identity()`, differ, such as "budget: 1200 -> 1500"."""
    before, after = (spec.identity() if isinstance(spec, SweepSpec) else spec for spec in (old, new))
    return differences(before, after)


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> SweepSpec:
    """The spec in a YAML file, with values put in place by overrides such as "optimiser.lr=1e-2".

    Raises SpecError with every mistake, each at its line or override.
    """
    source = read_spec_file(path)
    respell(source)
    apply_overrides(source, overrides)
    try:
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


def _filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` with the defaults of a setting, which a fork does not have."""
    defaults = {"schedule": {"name": "constant"}, "dtype": "float32"} if data.get("fork") is None else {}
    return {**data, **{name: value for name, value in defaults.items() if data.get(name) is None}}


def _misplaced(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Required fields that are missing, and fields that have no effect in a fork."""
    if data.get("fork") is None:
        needed = ("task", "model", "optimiser", "batch_size", "seeds")
        for name in needed:
            if data.get(name) is None:
                yield (name,), "required, but missing", None
    else:
        for name in (*_OF_A_SETTING, "vary", "seeds"):
            if data.get(name):
                yield (name,), "has no effect beside fork, whose runs have their parents'; leave it out", data[name]


def _rest_of(
    data: Mapping[str, Any], bad: set[str | int], handler: ModelWrapValidatorHandler[SweepSpec]
) -> SweepSpec | None:
    """The spec without its invalid fields, so that the others can be checked against each other."""
    stand_ins = {"name": "stand-in", "budget": 1}
    kept = {key: value for key, value in data.items() if key not in bad}
    try:
        return handler({**{key: value for key, value in stand_ins.items() if key in bad}, **kept})
    except ValidationError:
        return None
