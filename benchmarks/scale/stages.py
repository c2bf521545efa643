"""Stages of a large sweep, each a function of its number of runs and a folder: planning, packs, records, reading."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measure import alone
from benchmarks.page.stub_sweep import BUDGET, METRICS, commit, planned
from benchmarks.scale.cores import cores, launch
from benchmarks.scale.crossed import crossed

_LSA: dict[str, Any] = {
    "task": {"name": "linear_regression", "dim": 10, "num_pairs": 10, "input_range": 0.5},
    "model": {"name": "linear_self_attention", "num_layers": 1},
    "optimiser": {"name": "adamw", "lr": 3e-3, "beta1": 0.9, "beta2": 0.98, "clip": 1e-3},
    "batch_size": 32,
    "budget": 200,
    "grid": {"chunk": 50, "eval_every": 50, "eval_items": 256, "probe_items": 64},
    # As a plan for more of them would choose, whatever their number here.
    "resources": {"engine": "compiled"},
}
_LOOKUP: dict[str, Any] = {
    "task": {"name": "dictionary_lookup", "num_keys": 8, "num_values": 8, "num_pairs": 8},
    "model": {"name": "attention_only", "width": 16, "head_width": 4},
    "optimiser": {"name": "adamw", "lr": 3e-3, "beta1": 0.9, "beta2": 0.98, "clip": 1.0},
    "batch_size": 64,
    "budget": 200,
    "grid": {"chunk": 50, "eval_every": 50},
}
_TRAINED = {"lsa": _LSA, "lookup": _LOOKUP}


def plan(num_runs: int, folder: Path) -> dict[str, float]:
    """A sweep of so many seeds: read, expanded, planned and written."""
    from pipeline.launch.planned import plan_on
    from pipeline.planning.open_sweep import open_results
    from pipeline.planning.packs import Machine
    from pipeline.spec.sweep import SweepSpec

    machine = Machine("cpu", 2, _torch())
    # Compiles the program.
    plan_on(SweepSpec.model_validate(_planned_only(8)), machine)
    before_mib, began_s = _peak_mib(), time.process_time()
    open_results(plan_on(SweepSpec.model_validate(_planned_only(num_runs)), machine), folder, "")
    return {
        "plan_s": time.process_time() - began_s,
        "plan_mib": _peak_mib() - before_mib,
        "document_mib": _bytes_in(folder) / 2**20,
    }


def pack(num_runs: int, folder: Path) -> dict[str, float]:
    """What a worker does before the first step of a pack, in a process that did it for another pack before."""
    from pipeline.store.sweep_store import SweepStore
    from pipeline.training.open_pack import open_pack

    if not folder.exists():
        plan(num_runs, folder)
    pack_ids = SweepStore(folder).pack_ids()
    seconds = []
    for pack_id in pack_ids[:4]:
        began_s = time.process_time()
        open_pack(SweepStore(folder), pack_id)
        seconds.append(time.process_time() - began_s)
    return {"first_pack_s": seconds[0], "pack_s": sorted(seconds[1:])[len(seconds) // 2 - 1], "packs": len(pack_ids)}


def status(num_runs: int, folder: Path) -> dict[str, float]:
    """`status` of a sweep whose runs have all ended, read from the store."""
    from pipeline.store.records.ends import Ended
    from pipeline.store.records.record import Record
    from pipeline.store.sweep_store import SweepStore

    if not folder.exists():
        plan(num_runs, folder)
    store = SweepStore(folder)
    sweep_id = store.sweep["sweep_id"]
    for entry in store.plan["packs"]:
        of_pack = store.pack(entry["pack_id"])
        if of_pack.newest_attempt():
            continue
        attempt = of_pack.claim_attempt()
        ends = {run_id: Ended("budget", 200, "0" * 64, False, ("0" * 16,)) for run_id in entry["run_ids"]}
        of_pack.commit(Record(sweep_id, entry["pack_id"], attempt, 1, ends=ends, run_steps=200 * len(ends)))
    seconds = [alone(partial(_status_once, folder)) for _ in range(3)]
    return {"status_s": sorted(seconds)[1], "records_mib": _bytes_in(folder / "packs") / 2**20}


def _status_once(folder: Path) -> float:
    from pipeline.store.sweep_store import SweepStore
    from sweeps.command.status import show_status

    with open(os.devnull, "w") as nowhere:
        began_s = time.process_time()
        show_status(SweepStore(folder), with_runs=False, as_json=False, out=Console(file=nowhere))
        return time.process_time() - began_s


def train(name: str, num_runs: int, folder: Path) -> dict[str, float]:
    """Every pack of a sweep of 200 steps trained here; book-keeping is all processor time but the block's training."""
    from pipeline.engine.block import Block
    from pipeline.launch.planned import plan_on
    from pipeline.planning.open_sweep import open_results
    from pipeline.planning.packs import Machine
    from pipeline.spec.sweep import SweepSpec
    from pipeline.store.sweep_store import SweepStore
    from pipeline.training.worker import run_pack

    spent = {"train": 0.0, "evaluate": 0.0, "probe": 0.0, "start": 0.0}

    def timed(method: str) -> None:
        inner = getattr(Block, method)

        def call(*given: Any, **named: Any) -> Any:
            began_s = time.thread_time()
            try:
                return inner(*given, **named)
            finally:
                spent[method] += time.thread_time() - began_s

        setattr(Block, method, call)

    for method in spent:
        timed(method)
    # Compiling, imports and the first pack's checks are no part of what a run costs.
    warm = {"name": "warm", **_TRAINED[name], "seeds": {"together": {"range": [10**6, 10**6 + 8]}}}
    data = {"name": f"trained-{num_runs}", **_TRAINED[name], "seeds": {"together": {"range": [0, num_runs]}}}
    for spec, to in ((warm, folder / "warm"), (data, folder / "whole")):
        spent.update(dict.fromkeys(spent, 0.0))
        began_s = time.thread_time()
        store = open_results(plan_on(SweepSpec.model_validate(spec), Machine("cpu", 2, _torch())), to, "")
        planned_s = time.thread_time() - began_s
        for pack_id in store.pack_ids():
            run_pack(store.folder, pack_id, lambda progress: None)
        whole_s = time.thread_time() - began_s
    store = SweepStore(folder / "whole")
    began_s = time.thread_time()
    store.history()
    read_s = time.thread_time() - began_s
    return {
        "ms_a_run": 1e3 * whole_s / num_runs,
        "bookkeeping_ms_a_run": 1e3 * (whole_s - sum(spent.values())) / num_runs,
        "plan_ms_a_run": 1e3 * planned_s / num_runs,
        **{f"{method}_ms_a_run": 1e3 * seconds / num_runs for method, seconds in spent.items()},
        "history_ms_a_run": 1e3 * read_s / num_runs,
        "packs": float(len(store.pack_ids())),
        "bytes_a_run": _bytes_in(folder / "whole") / num_runs,
        "files_per_1000_runs": 1e3 * _files_in(folder / "whole") / num_runs,
        **{f"{kind}_bytes_a_run": _bytes_in(folder / "whole", kind) / num_runs
           for kind in ("snapshots", "history", "record", "plan", "checkpoint")},
    }  # fmt: skip


def stored(num_runs: int, folder: Path) -> dict[str, float]:
    """Bytes and files a run of a sweep of so many, by its defaults, whose first two packs are trained here.

    What the plan and its parts by pack take is counted of all runs, what packs commit of those that were trained.
    """
    from pipeline.launch.planned import plan_on
    from pipeline.planning.open_sweep import open_results
    from pipeline.planning.packs import Machine
    from pipeline.spec.sweep import SweepSpec
    from pipeline.store.sweep_store import SweepStore
    from pipeline.training.worker import run_pack

    data = {"name": f"stored-{num_runs}", **_LSA, "seeds": {"together": {"range": [0, num_runs]}}}
    store = open_results(plan_on(SweepSpec.model_validate(data), Machine("cpu", 2, _torch())), folder, "")
    planned_bytes, planned_files = _bytes_in(folder), _files_in(folder)
    trained = store.pack_ids()[:2]
    num_trained = sum(run_pack(folder, pack_id, lambda progress: None).num_done for pack_id in trained)
    of_packs = [SweepStore(folder).pack(pack_id).newest() for pack_id in trained]
    assert num_trained == sum(len(record.ends) for record in of_packs if record is not None)
    committed_bytes, committed_files = _bytes_in(folder) - planned_bytes, _files_in(folder) - planned_files
    return {
        "bytes_a_run": planned_bytes / num_runs + committed_bytes / num_trained,
        "planned_bytes_a_run": planned_bytes / num_runs,
        "committed_bytes_a_run": committed_bytes / num_trained,
        "files_per_1000_runs": 1e3 * (planned_files / num_runs + committed_files / num_trained),
        "trained": float(num_trained),
    }


def weights(num_runs: int, folder: Path) -> dict[str, float]:
    """The last weights of every run of a sweep, as one array."""
    from pipeline.store.sweep_store import SweepStore

    _write_drawn_weights(num_runs, folder)
    began_s = time.process_time()
    index = SweepStore(folder).snapshots()
    if hasattr(index, "stacked"):
        _, arrays = index.stacked(200)
        found = arrays["weights"]
    else:
        import numpy as np

        run_ids = [row["run_id"] for row in SweepStore(folder).plan["runs"]]
        found = np.stack([index.weights(run_id, 200) for run_id in run_ids])
    assert len(found) == num_runs
    return {"weights_s": time.process_time() - began_s}


def _write_drawn_weights(num_runs: int, folder: Path) -> None:
    """A sweep whose runs have ended, with drawn weights."""
    import numpy as np

    from pipeline.engine.slots import RunState
    from pipeline.store.sweep_store import SweepStore
    from pipeline.training.recorder import Recorder

    plan(num_runs, folder)
    store = SweepStore(folder)
    rng = np.random.default_rng(0)
    sweep_id = store.sweep["sweep_id"]
    for entry in store.plan["packs"]:
        budgets = dict.fromkeys(entry["run_ids"], 200)
        recorder = Recorder(store.pack(entry["pack_id"]), sweep_id, entry["pack_id"], budgets)
        for run_id in entry["run_ids"]:
            drawn = rng.normal(size=(4, 256)).astype(np.float32)
            names = ("weights", "initial_weights", "first_moment", "second_moment")
            recorder.end(run_id, "budget", RunState(200, dict(zip(names, drawn, strict=True))), False)
        recorder.commit({})


def history(num_runs: int, folder: Path) -> dict[str, float]:
    """The history of drawn curves: processor time and peak memory of the process, of one metric of it and of all.

    Of more than 100,000 runs three metrics are drawn, and not all of them are read.
    """
    is_large = num_runs > 100_000
    store = planned(folder, num_runs)
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET, since=0, metrics=METRICS[:3] if is_large else METRICS)
    found = {"history_bytes_a_run": _bytes_in(folder / "packs", "history") / num_runs}
    wanted = {"one_metric": {"metrics": ["label_excess"], "dtype": "float32"}} | ({} if is_large else {"whole": {}})
    for name, named in wanted.items():
        seconds, peak_mib = alone(partial(_history_once, folder, named))
        found |= {f"{name}_s": seconds, f"{name}_peak_mib": peak_mib}
    return found


def _history_once(folder: Path, named: dict[str, Any]) -> tuple[float, float]:
    from pipeline.store.sweep_store import SweepStore

    began_s = time.process_time()
    SweepStore(folder).history(**named)
    return time.process_time() - began_s, _peak_mib()


def analyses(num_runs: int, folder: Path) -> dict[str, float]:
    """`analyse` and `report` of drawn curves: processor time and seconds by the clock, peak memory, and bytes."""
    store = planned(folder, num_runs)
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET, since=0)
    found = alone(partial(_analysed_once, folder))
    found |= {f"report_{name}": value for name, value in alone(partial(_reported_once, folder)).items()}
    found["report_mib"] = sum(path.stat().st_size for path in folder.rglob("report.html")) / 2**20
    return found | {"analyse_ms_a_run": 1e3 * found["analyse_s"] / num_runs}


def _analysed_once(folder: Path) -> dict[str, float]:
    from pipeline.store.sweep_store import SweepStore
    from sweeps.command.analysing import run_analyse

    began_s, began_wall_s = time.process_time(), time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        run_analyse([SweepStore(folder)], None, None, Console(file=nowhere))
    return {
        "analyse_s": time.process_time() - began_s,
        "analyse_wall_s": time.perf_counter() - began_wall_s,
        "analyse_peak_mib": _peak_mib(),
    }


def _reported_once(folder: Path) -> dict[str, float]:
    from pipeline.store.sweep_store import SweepStore
    from sweeps.command.reporting import run_report

    began_s, began_wall_s = time.process_time(), time.perf_counter()
    with open(os.devnull, "w") as nowhere:
        run_report([SweepStore(folder)], None, None, Console(file=nowhere))
    return {"s": time.process_time() - began_s, "wall_s": time.perf_counter() - began_wall_s, "peak_mib": _peak_mib()}


def _planned_only(num_runs: int) -> dict[str, Any]:
    seeds = {"together": {"range": [0, num_runs]}}
    return {"name": f"planned-{num_runs}", **_LOOKUP, "resources": {"engine": "compiled"}, "seeds": seeds}


def _torch() -> str:
    import torch

    return torch.__version__.partition("+")[0]


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _bytes_in(folder: Path, kind: str = "") -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if kind in path.name and path.is_file())


def _files_in(folder: Path) -> int:
    return sum(len(inner) for _, _, inner in os.walk(folder))


STAGES: dict[str, tuple[Callable[[int, Path], dict[str, float]], tuple[int, ...]]] = {
    "plan": (plan, (10_000, 100_000, 1_000_000)),
    "pack": (pack, (10_000, 100_000, 1_000_000)),
    "status": (status, (10_000, 100_000, 1_000_000)),
    "lsa": (partial(train, "lsa"), (2_500, 5_000, 10_000)),
    "lookup": (partial(train, "lookup"), (2_000,)),
    "stored": (stored, (100_001,)),
    "weights": (weights, (20_000,)),
    "history": (history, (10_000, 1_000_000)),
    "analyse": (analyses, (10_000, 100_000)),
    **{f"crossed_{name}": (partial(crossed, name), (192,)) for name in ("lsa_256", "lookup_a", "mlp_last")},
    **{f"cores_{name}": (partial(cores, name), (2,)) for name in ("lsa_256", "lookup_a", "mlp_all")},
    "launch_lookup_a": (partial(launch, "lookup_a"), (500,)),
}
