"""Settings and runs: everything that determines the weights of one training run, and the ids derived from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field, PlainSerializer, PlainValidator, model_validator

from pipeline.spec.fitting import misfits
from pipeline.spec.forks.lineage import Lineage
from pipeline.spec.forks.weights import WEIGHTS, parent_problems
from pipeline.spec.identity import canonical_json, digest, flatten, plain, run_digests
from pipeline.spec.parameters import Parameters, Registered
from pipeline.spec.registered import Problem, declared, located, reader, unknown

if TYPE_CHECKING:
    from pipeline.models.base import Model
    from pipeline.optimisers.base import Optimiser
    from pipeline.schedules.base import Schedule
    from pipeline.tasks.base import Task

    TaskField = Task
    ModelField = Model
    OptimiserField = Optimiser
    ScheduleField = Schedule
else:
    TaskField = Annotated[Registered, PlainValidator(reader("task")), PlainSerializer(declared)]
    ModelField = Annotated[Registered, PlainValidator(reader("model")), PlainSerializer(declared)]
    OptimiserField = Annotated[Registered, PlainValidator(reader("optimiser")), PlainSerializer(declared)]
    ScheduleField = Annotated[Registered, PlainValidator(reader("schedule")), PlainSerializer(declared)]

MAX_SEED = 2**63 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
StreamName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{1,128}$")]
SECTIONS = ("task", "model", "optimiser", "schedule")


def _constant() -> Schedule:
    """The default schedule."""
    return cast("Schedule", reader("schedule")({"name": "constant"}))


class Setting(Parameters):
    """The hyperparameters of a run, without its seeds. `streams` maps a stream to the seed that it has in every run."""

    task: TaskField
    model: ModelField
    optimiser: OptimiserField
    schedule: ScheduleField = Field(default_factory=_constant)
    batch_size: int = Field(gt=0, lt=2**31)
    dtype: Literal["float32", "float64"] = "float32"
    streams: dict[StreamName, Seed] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Setting:
        if wrong := misfits(self):
            raise located(wrong)
        return self

    @property
    def is_pinned(self) -> bool:
        """Whether runs of other seeds may draw the same: a stream is pinned, or the weights are a checkpoint's."""
        return bool(self.streams) or not self.model.draws_weights

    def seeds_used(self) -> tuple[bool, bool]:
        """Whether init_seed, and whether data_seed, seeds any stream of a run: not if `streams` pins all of them."""
        inits, data = self._stream_names
        return any(name not in self.streams for name in inits), any(name not in self.streams for name in data)

    @cached_property
    def _stream_names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The streams of the initial weights, and those that data_seed seeds."""
        specs = self.model.parameter_specs(self.task.shape()) if self.model.draws_weights else ()
        return tuple(f"init/{spec.name}" for spec in specs), self.data_streams

    @property
    def data_streams(self) -> tuple[str, ...]:
        """The streams of the task, and those of noise in training."""
        return (*self.task.streams, *self.model.noise_streams(self.task.shape()))

    @cached_property
    def _unseeded(self) -> str:
        """Canonical JSON of every field but the streams."""
        return canonical_json({name: value for name, value in self.as_dict.items() if name != "streams"})

    def draws(self, init_seed: int, data_seed: int, has_init: bool = True) -> str:
        """Canonical text of what a run draws and what it does with that: each stream's own seed, and the other fields.

        Equal for pairs of seeds, and for settings, that differ only in what `streams` pins. A run that starts from
        another's weights draws none (`has_init` False).
        """
        inits, data = self._stream_names
        seeds = {name: init_seed for name in inits if has_init} | dict.fromkeys(data, data_seed)
        seeds |= {name: seed for name, seed in self.streams.items() if name in seeds}
        return f"{canonical_json(seeds)}{self._unseeded}"

    @classmethod
    def from_hyperparameters(cls, hyperparameters: Mapping[str, Any]) -> Setting:
        """The setting whose leaves these are, by dotted path, as `RunConfig.hyperparameters` has them.

        Raises pydantic's ValueError where they make none.
        """
        data: dict[str, Any] = {}
        for path, value in hyperparameters.items():
            section, _, name = path.partition(".")
            # Names of streams have dots of their own.
            *outer, last = [section, name] if section == "streams" else path.split(".")
            inside = data
            for key in outer:
                inside = inside.setdefault(key, {})
            inside[last] = value
        data.pop("fork", None)
        return cls.model_validate(data)

    @cached_property
    def as_dict(self) -> dict[str, Any]:
        """Every field in plain dicts, lists and scalars; validates back to an equal setting."""
        named = {section: declared(getattr(self, section)) for section in SECTIONS}
        rest = {"batch_size": self.batch_size, "dtype": self.dtype, "streams": dict(self.streams)}
        whole: dict[str, Any] = plain(named | rest)
        return whole

    @cached_property
    def canonical(self) -> str:
        """Canonical JSON of every field; equal settings share it."""
        return canonical_json(self.as_dict)

    @cached_property
    def setting_id(self) -> str:
        """16 hex digits: a hash of the setting, as runs that are no forks have it."""
        return digest("setting", self.canonical)

    @cached_property
    def static_key(self) -> str:
        """Canonical JSON of what the runs of one pack share."""
        parts: dict[str, Any] = {"batch_size": self.batch_size, "dtype": self.dtype}
        for section in SECTIONS:
            parameters: Registered = getattr(self, section)
            values = self.as_dict[section]
            parts[section] = {"name": parameters.name} | {name: values[name] for name in parameters.static_fields()}
        return canonical_json(parts)

    def paths(self) -> tuple[str, ...]:
        """Dotted paths that may be changed, except streams, whose names depend on the model's size."""
        inside = [f"{part}.{name}" for part in SECTIONS for name in type(getattr(self, part)).model_fields]
        return (*inside, *SECTIONS, "batch_size", "dtype")

    def changed(self, changes: Mapping[str, Any]) -> Setting:
        """The setting with values put at dotted paths, in order. Raises pydantic's ValueError if it is not valid."""
        data: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        for path, value in changes.items():
            section, _, name = path.partition(".")
            if name:
                inside = data[section]
                value = {**(declared(inside) if isinstance(inside, Registered) else inside), name: value}
            data[section] = value
        return Setting.model_validate(data)

    def at(self, path: str) -> Any:
        """The plain value at a dotted path."""
        section, _, name = path.partition(".")
        return self.as_dict[section][name] if name else self.as_dict[section]


def path_problem(path: str, setting: Setting, others: tuple[str, ...] = ()) -> str | None:
    """Why `path` cannot be changed in a setting of this shape; None if it can. `others` are valid paths outside it."""
    section, _, name = path.partition(".")
    if section in SECTIONS and name == "name":
        return f"another {section} has other parameters: give whole mappings, {section}: [{{name: ...}}, ...]"
    if section == "streams" and name:
        return None
    valid = (*setting.paths(), *others)
    return None if path in valid else unknown("path", path, (*valid, "streams.<stream>"))


def _is_seed(seed: Any) -> bool:
    return type(seed) is int and 0 <= seed <= MAX_SEED


@dataclass(frozen=True)
class RunConfig:
    """One training run: a setting under one pair of seeds, and for a fork its lineage.

    `run_id` is a hash of exactly what determines the weights. `setting_id` is shared by runs that differ by seeds
    alone, those of single streams that a fork changes included. Raises ValueError for seeds outside [0, 2^63).
    """

    setting: Setting
    init_seed: int
    data_seed: int
    lineage: Lineage | None = None

    def __post_init__(self) -> None:
        if not (_is_seed(self.init_seed) and _is_seed(self.data_seed)):
            name = "data_seed" if _is_seed(self.init_seed) else "init_seed"
            raise ValueError(f"{name} must be a whole number from 0 to 2^63 - 1, given {getattr(self, name)!r}")

    @property
    def task(self) -> Task:
        """The setting's task."""
        return self.setting.task

    @property
    def model(self) -> Model:
        """The setting's model."""
        return self.setting.model

    @cached_property
    def optimiser(self) -> Optimiser:
        """The setting's optimiser, or that which its model asks for."""
        return self.setting.optimiser.for_model(self.model)

    @cached_property
    def schedule(self) -> Schedule:
        """The setting's learning-rate schedule, or that which its model asks for."""
        return self.setting.schedule.for_model(self.model)

    @property
    def batch_size(self) -> int:
        """Examples per optimiser step."""
        return self.setting.batch_size

    @property
    def dtype(self) -> str:
        """ "float32" or "float64"."""
        return self.setting.dtype

    @property
    def streams(self) -> Mapping[str, int]:
        """Stream -> the seed that it has in every run of the setting."""
        return self.setting.streams

    @cached_property
    def run_id(self) -> str:
        """16 hex digits: a hash of everything that determines the weights of this run."""
        lineage = None
        if self.lineage is not None:
            lineage = {"parent": self.lineage.parent, "step": self.lineage.step, "changes": self.lineage.changes}
        end = "null" if lineage is None else canonical_json(lineage)
        (run_id,) = run_digests([(self.init_seed, self.data_seed)], f'{end},"setting":{self.setting.canonical}}}')
        return run_id

    @property
    def setting_id(self) -> str:
        """16 hex digits: a hash of the setting, for a fork with its step and changes."""
        return self.setting.setting_id if self.lineage is None else self._setting_id_of_fork

    @cached_property
    def _setting_id_of_fork(self) -> str:
        assert self.lineage is not None
        changes = {path: value for path, value in self.lineage.changes.items() if not path.startswith("streams.")}
        reseeded = {path.removeprefix("streams.") for path in self.lineage.changes}
        whole = self.setting.as_dict
        streams = {name: seed for name, seed in whole["streams"].items() if name not in reseeded}
        lineage = {"parent_setting": self.lineage.parent_setting, "step": self.lineage.step, "changes": changes}
        return digest("setting", canonical_json({**whole, "streams": streams, "lineage": lineage}))

    @cached_property
    def draws_id(self) -> str:
        """16 hex digits, equal for runs that are one and the same under two ids, since `streams` pins their seeds.

        Of forks: those of one parent and step under equal settings and data streams, which took the same weights.
        """
        start = "" if self.lineage is None else f"{self.lineage.parent} {self.lineage.step} "
        if self.lineage is not None and self.lineage.taken:
            start += canonical_json(self.lineage.taken)
        return digest("draws", start + self.setting.draws(self.init_seed, self.data_seed, self.lineage is None))

    def draws_state_at(self, step: int) -> bool:
        """Whether its state at this step follows from its config alone, so that none need have been kept."""
        return step == 0 and (self.lineage is None or self.lineage.is_drawn)

    def static_key(self) -> str:
        """Canonical JSON by which runs are grouped into packs."""
        return self.setting.static_key

    def hyperparameters(self) -> dict[str, Any]:
        """Dotted path -> value of every leaf except seeds, such as {"optimiser.lr": 0.003}; "fork.step" for a fork."""
        flat = {path: value for path, value in flatten(self.setting.as_dict).items() if value != {}}
        return flat if self.lineage is None else {**flat, "fork.step": self.lineage.step}

    def stream_seed(self, stream: str) -> int:
        """The seed of a stream: explicit in `streams`, else init_seed for init/... and data_seed for the others."""
        if stream in self.streams:
            return self.streams[stream]
        return self.init_seed if stream.startswith("init/") else self.data_seed

    def as_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars, from which `from_dict` gives an equal run."""
        lineage = None if self.lineage is None else plain(asdict(self.lineage))
        seeds = {"init_seed": self.init_seed, "data_seed": self.data_seed}
        return {**self.setting.as_dict, **seeds, "lineage": lineage}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunConfig:
        """The inverse of `as_dict`. Raises ValueError for anything that `as_dict` could not return."""
        unknown_keys = data.keys() - {*Setting.model_fields, "init_seed", "data_seed", "lineage"}
        if unknown_keys or not {"init_seed", "data_seed"} <= data.keys():
            raise ValueError(f"not a run: unknown keys {sorted(unknown_keys)}, or no seeds")
        setting = Setting.model_validate({name: data[name] for name in Setting.model_fields if name in data})
        lineage = data.get("lineage")
        return cls(setting, data["init_seed"], data["data_seed"], None if lineage is None else Lineage(**lineage))

    def forks(
        self, steps: Iterable[int], data_seeds: Iterable[int] | None = None, changes: Mapping[str, Any] | None = None
    ) -> list[RunConfig]:
        """Runs that start from this one's state at each of `steps`, under each of `data_seeds`, with changed values.

        Steps move slowest. None keeps the data seed. Raises ValueError for a change that does not fit the state, or
        that has no effect. Whether weights of other runs fit the state is for those who know these runs.
        """
        stated = {path: value for path, value in (changes or {}).items() if path != WEIGHTS}
        taken = {WEIGHTS: dict(changes[WEIGHTS])} if changes and WEIGHTS in changes else {}
        found = {path: fork_problem(path, self.setting) for path in stated}
        wrong: list[Problem] = [
            ((path,), problem, stated[path]) for path, problem in found.items() if problem is not None
        ]
        wrong += parent_problems(taken.get(WEIGHTS, {}), self)
        if wrong:
            raise located(wrong)
        setting = self.setting.changed(stated) if stated else self.setting
        valid = {path: setting.at(path) for path in stated} | taken
        seeds = (self.data_seed,) if data_seeds is None else tuple(data_seeds)
        # What starts at step 0 of a run starts from that run's weights, taken ones among them.
        is_drawn = not taken and (self.lineage is None or self.lineage.is_drawn)
        return [
            RunConfig(setting, self.init_seed, seed, Lineage(self.run_id, step, valid, self.setting_id, is_drawn))
            for step in steps
            for seed in seeds
        ]


def fork_problem(path: str, setting: Setting) -> str | None:
    """Why a fork cannot change `path` of a parent with this setting; None if it can."""
    problem = path_problem(path, setting)
    if problem is not None:
        return problem
    section, _, name = path.partition(".")
    if path == "model.init_scale" or path.startswith("streams.init/"):
        return "has no effect: a fork starts from its parent's weights"
    if path == "batch_size" or section == "streams":
        return None
    if path == "schedule" or (name and name in getattr(setting, section).vector_fields()):
        return None
    return "a fork keeps its parent's shapes and state: only schedule, batch_size, streams and vector parameters change"
