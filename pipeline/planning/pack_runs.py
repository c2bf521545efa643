"""A pack and its runs, as a worker needs them: read without the rest of the sweep where that can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.planning.packs import Numerics, Pack, expand, packs_of
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.documents import read_part_of_pack
from pipeline.store.sweep_store import SweepStore


@dataclass(frozen=True)
class PackRuns:
    """A pack, its runs by id in its order, and runs of the sweep that have every setting of it between them."""

    pack: Pack
    configs: Mapping[str, RunConfig]
    of_every_setting: Sequence[RunConfig]


def runs_of_pack(store: SweepStore, spec: SweepSpec, pack_id: str) -> PackRuns:
    """The runs of a pack of the sweep that `spec` declares.

    From the pack's own file, so that the cost does not depend on the number of runs in the sweep; from the plan for
    forks, for sweeps of few runs, and where the file does not hold what the ids of pack and runs say.
    """
    if spec.fork is None and (found := _from_its_file(store, spec, pack_id)) is not None:
        return found
    pack = next(pack for pack in packs_of(store.plan) if pack.pack_id == pack_id)
    runs = {config.run_id: config for config in expand(spec)}
    return PackRuns(pack, {run_id: runs[run_id] for run_id in pack.run_ids}, list(runs.values()))


def _from_its_file(store: SweepStore, spec: SweepSpec, pack_id: str) -> PackRuns | None:
    found = read_part_of_pack(store.pack(pack_id).files)
    if found is None:
        return None
    entry, rows = found
    pack = Pack(tuple(entry["run_ids"]), Numerics(**entry["numerics"]), entry["reason"])
    of_every_setting = [RunConfig(setting, 0, 0) for setting in spec.expanded_settings]
    settings = {run.setting_id: run.setting for run in of_every_setting}
    if any(row["setting_id"] not in settings for row in rows):
        return None
    runs = [RunConfig(settings[row["setting_id"]], row["init_seed"], row["data_seed"]) for row in rows]
    configs = {config.run_id: config for config in runs}
    is_true = pack.pack_id == pack_id and tuple(configs) == pack.run_ids
    return PackRuns(pack, configs, of_every_setting) if is_true else None
