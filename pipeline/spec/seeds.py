"""The seeds of a sweep: pairs of (init_seed, data_seed), declared together, crossed or zipped."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, PlainSerializer, PlainValidator, TypeAdapter, model_serializer, model_validator

from pipeline.spec.identity import digest, run_digests
from pipeline.spec.parameters import Parameters
from pipeline.spec.registered import located
from pipeline.spec.run_config import MAX_SEED, RunConfig, Seed, Setting
from pipeline.spec.vary.factors import MAX_SEEDS, MAX_VALUES, Listed, Range, by_key, check_length, dump_axis


def read_seeds(value: Any) -> Range | Listed:
    """A list of seeds or {range: [a, b]}, from 0 up. Raises ValueError."""
    if isinstance(value, Listed):
        return read_seeds(value.listed)
    if isinstance(value, (list, tuple)):
        check_length(len(value), "list", MAX_SEEDS)
        numbers: tuple[int, ...] = _SEEDS.validate_python(value)
        return Listed(listed=numbers)
    axis: Range = by_key(value, (Range,), "a list of whole numbers or {range: [0, 96]}")
    if axis.range[0] < 0:
        raise located([(("range", 0), f"seeds must be from 0 up, given {axis.range[0]}", axis.range[0])])
    return axis


_SEEDS = TypeAdapter(Annotated[tuple[Seed, ...], Field(strict=False)], config=ConfigDict(strict=True))
SeedsField = Annotated[Range | Listed, PlainValidator(read_seeds), PlainSerializer(dump_axis)]


class Fresh(Parameters):
    """So many data seeds of each parent's own: hashes of its run id and a number, so that parents share no stream."""

    fresh: int = Field(gt=0, le=MAX_VALUES)

    def seeds_of(self, parent: str) -> tuple[int, ...]:
        """The data seeds of the forks of run `parent`; a larger `fresh` appends."""
        return tuple(int(digest("fork data seed", f"{parent}:{n}"), 16) & MAX_SEED for n in range(self.fresh))


def read_fork_seeds(value: Any) -> Range | Listed | Fresh:
    """The seeds that all parents' forks have, as `read_seeds` takes them, or {fresh: 20}. Raises ValueError."""
    if isinstance(value, Fresh):
        return value
    return Fresh.model_validate(value) if isinstance(value, Mapping) and "fresh" in value else read_seeds(value)


ForkSeedsField = Annotated[Range | Listed | Fresh, PlainValidator(read_fork_seeds), PlainSerializer(dump_axis)]


class SeedPair(Parameters):
    """Lists of equal kind for the two seeds of a run: `init_seed` draws weights, `data_seed` draws batches."""

    init_seed: SeedsField
    data_seed: SeedsField


class Seeds(Parameters):
    """Pairs of (init_seed, data_seed): equal (together), every combination (crossed), or side by side (zipped)."""

    together: SeedsField | None = None
    crossed: SeedPair | None = None
    zipped: SeedPair | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Seeds:
        given = [name for name in ("together", "crossed", "zipped") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of together, crossed, zipped, given {' and '.join(given) or 'none'}")
        if self.zipped is not None:
            lengths = [len(self.zipped.init_seed.values()), len(self.zipped.data_seed.values())]
            if lengths[0] != lengths[1]:
                raise ValueError(f"zipped seeds need equal lengths, given {lengths[0]} and {lengths[1]}")
        if len(self) > MAX_SEEDS:
            raise ValueError(f"gives {len(self)} pairs of seeds; at most {MAX_SEEDS} are taken")
        # The numbers of a range differ, and so do the pairs of a million of them.
        if not all(isinstance(axis, Range) for axis in self._axes()):
            check_distinct(self.pairs(), "pair (init_seed, data_seed)")
        return self

    def _axes(self) -> tuple[Range | Listed, ...]:
        """The axes that are given, one for seeds that are equal."""
        if self.together is not None:
            return (self.together,)
        pair = self.zipped if self.crossed is None else self.crossed
        assert pair is not None
        return pair.init_seed, pair.data_seed

    @model_serializer(mode="plain")
    def _only_the_form_given(self) -> dict[str, Any]:
        if self.together is not None:
            return {"together": dump_axis(self.together)}
        name = "crossed" if self.crossed is not None else "zipped"
        return {name: getattr(self, name).model_dump()}

    def __len__(self) -> int:
        if self.crossed is not None:
            return len(self.crossed.init_seed.values()) * len(self.crossed.data_seed.values())
        axis = self.together if self.zipped is None else self.zipped.init_seed
        assert axis is not None
        return len(axis.values())

    def pairs(self) -> list[tuple[int, int]]:
        """(init_seed, data_seed) in declared order; crossed: data_seed moves fastest."""
        if self.together is not None:
            return [(seed, seed) for seed in self.together.values()]
        if self.crossed is not None:
            data = self.crossed.data_seed.values()
            return [(init, seed) for init in self.crossed.init_seed.values() for seed in data]
        assert self.zipped is not None
        return list(zip(self.zipped.init_seed.values(), self.zipped.data_seed.values(), strict=True))

    def runs_of(self, setting: Setting) -> list[RunConfig]:
        """The runs of a setting under these seeds, in declared order.

        As `RunConfig` makes them one by one, with their ids, in less time: the seeds were checked when they were read.
        """
        new, pairs, found = RunConfig.__new__, self.pairs(), []
        run_ids = run_digests(pairs, f'null,"setting":{setting.canonical}}}')
        for (init_seed, data_seed), run_id in zip(pairs, run_ids, strict=True):
            run = new(RunConfig)
            run.__dict__.update(setting=setting, init_seed=init_seed, data_seed=data_seed, lineage=None, run_id=run_id)
            found.append(run)
        return found


def equal_runs(pairs: Sequence[tuple[int, int]], used: tuple[bool, bool]) -> str | None:
    """Why some pairs of seeds give the same run, if only the used ones of (init_seed, data_seed) seed a stream.

    Such runs would be counted as independent. None where every pair gives another run.
    """
    num_different = len({tuple(itertools.compress(pair, used)) for pair in pairs})
    if num_different == len(pairs):
        return None
    unused = itertools.compress(("init_seed", "data_seed"), (not is_used for is_used in used))
    names = " or ".join(unused)
    return f"{len(pairs)} pairs give {num_different} different runs: nothing that a run draws is seeded by {names}"


def check_distinct(values: Sequence[Any], what: str) -> None:
    """Raises ValueError naming a value that occurs twice, since it would give the same runs twice."""
    if len(set(values)) != len(values):
        again, times = Counter(values).most_common(1)[0]
        raise ValueError(f"each {what} must occur once, given {again} {times} times")
