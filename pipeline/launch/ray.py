"""Runs packs as Ray Tune trials, in rounds until no pack is left that a node could take."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.launch.launched import MOST_RETRIES, Failed, Launched, OnProgress
from pipeline.launch.nodes import abilities_of, alive_nodes, elsewhere
from pipeline.launch.placement import Placement
from pipeline.launch.ray_errors import cause
from pipeline.launch.ray_folder import private_folder
from pipeline.launch.ray_leaving import LeftError, leaver_of
from pipeline.launch.ray_loss import ends_when_ray_is_lost
from pipeline.launch.ray_processes import shut_down
from pipeline.launch.ray_session import connect
from pipeline.launch.watch import last_hang, log_size
from pipeline.launch.watched import watched_from_outside
from pipeline.own_code.copies import work_from_copies
from pipeline.own_code.imported import allow, allowed
from pipeline.planning.packs import packs_of
from pipeline.spec.sections import Resources
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import Progress
from pipeline.store.sweep_store import SweepStore
from pipeline.training.abilities import NotHereError
from pipeline.training.worker import run_pack

# Text, since Tune keeps statistics of every number that it is told.
_FAILURE, _PROGRESS, _SENT_BACK, _LEFT = "failure", "progress", "sent_back", "left"
# Of Tune's own folder, on a cluster below that of the sweep.
_SCRATCH = "seedbed-tune-"


def launch_ray(
    store: SweepStore, pack_ids: Sequence[str], resources: Resources, address: str | None, on_progress: OnProgress
) -> Launched:
    """Run packs as Ray Tune trials, on a local Ray that ends with this call, or on the cluster at `address`.

    On a cluster the sweep's folder must be on a path that all nodes share, and packs are placed on the nodes that can
    compute them. A pack that fails is tried again twice.
    """
    if address is not None:
        # What a launch left that was killed; the driver's lock is held.
        for left in store.folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=store.folder.resolve()))
        try:
            ray, tune = connect(address)
            return _launch(ray, _Trials(tune, store, resources, scratch, on_progress), pack_ids, is_cluster=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    with private_folder() as folder:
        ray, tune = connect(None, folder)
        trials = _Trials(tune, store, resources, folder / "tune", on_progress)
        return _launch(ray, trials, pack_ids, is_cluster=False)


@ends_when_ray_is_lost
def _launch(ray: Any, trials: _Trials, pack_ids: Sequence[str], is_cluster: bool) -> Launched:
    """Trains in rounds: a pack that a node sent back is placed on another, until none is left that could take it.

    Nodes that have joined since are looked at before each round. Every further round bars a kind of machine for each of
    its packs, so there are no more of them than kinds.
    """
    store, left, failures = trials.store, list(pack_ids), dict[str, str]()
    placement = Placement(pack for pack in packs_of(store.plan) if pack.pack_id in set(pack_ids))
    try:
        while True:
            alive = alive_nodes(ray)
            if is_cluster:
                placement.add_nodes(abilities_of(ray, alive.keys() - placement.nodes.keys()))
            barred = {pack_id: placement.barred(pack_id, alive) for pack_id in left}
            possible = [pack_id for pack_id in left if len(barred[pack_id]) < len(alive)]
            if not possible or store.stop_file.exists():
                break
            reporter = trials.run(possible, barred)
            failures |= reporter.failures
            for pack_id, (node_id, reason) in reporter.sent_back.items():
                placement.send_back(pack_id, node_id, reason)
            left = [pack_id for pack_id in left if pack_id not in possible or pack_id in reporter.sent_back]
        impossible = [pack_id for pack_id in left if pack_id not in possible]
        idle = {alive[node_id]: reason for node_id, reason in placement.idle(alive).items()} if is_cluster else {}
        return Launched(failures, {pack: "; ".join(dict.fromkeys(barred[pack].values())) for pack in impossible}, idle)
    finally:
        shut_down(ray, is_local=not is_cluster)


@dataclass(frozen=True)
class _Trials:
    """Ray Tune, and what all packs of a launch have in common. `scratch` is Tune's own folder."""

    tune: Any
    store: SweepStore
    resources: Resources
    scratch: Path
    on_progress: OnProgress

    def run(self, pack_ids: Sequence[str], barred: Mapping[str, Collection[str]]) -> Any:
        """Trains packs, none on a node that is barred to it; what its reporter was told, lost trials as failures."""
        tune, reporter = self.tune, _reporter(self.tune, self.on_progress)
        leaver = leaver_of(tune, self.store, pack_ids)
        space = {
            "pack_id": tune.grid_search(list(pack_ids)),
            "folder": str(self.store.folder.resolve()),
            "allowed": sorted(allowed()),
        }
        tuner = tune.Tuner(
            tune.with_resources(_trial, self._resources(barred)),
            param_space=space,
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name=self.store.sweep["sweep_id"],
                storage_path=str(self.scratch),
                failure_config=tune.FailureConfig(max_failures=MOST_RETRIES),
                callbacks=[reporter, leaver],
                verbose=0,
            ),
        )
        folder, logged = self.store.folder, {pack_id: log_size(self.store.folder, pack_id) for pack_id in pack_ids}
        try:
            errors = {(r.config or {}).get("pack_id", "?"): r.error for r in tuner.fit() if r.error is not None}
        except LeftError:
            errors = leaver.errors
        hung = {pack_id: last_hang(folder, pack_id, logged.get(pack_id, 0)) for pack_id in errors}
        lost = {pack_id: hung[pack_id] or cause(error) for pack_id, error in errors.items()}
        reporter.failures = lost | reporter.failures
        return reporter

    def _resources(self, barred: Mapping[str, Collection[str]]) -> Any:
        per_pack: dict[str, float] = {"cpu": self.resources.cpus_per_pack}
        if self.store.plan["packs"][0]["numerics"]["device"] == "cuda":
            per_pack["gpu"] = self.resources.gpus_per_pack or 1
        if not any(barred.values()):
            return per_pack
        factory, bundle = self.tune.PlacementGroupFactory, {name.upper(): share for name, share in per_pack.items()}
        return lambda config: factory([bundle], bundle_label_selector=elsewhere(barred[config["pack_id"]]))


def _trial(config: dict[str, Any]) -> None:
    """One Ray Tune trial: one pack, tried three times; the reason of a failure is reported as a result.

    If the exception were raised, Tune would retry on a reused actor and reject its state. A pack that this node cannot
    compute is sent back, with the node's id. Once the sweep is to stop, nothing is begun.
    """
    import ray
    from ray import tune

    # What the driver may import, since the user named it or has run it before.
    allow(config["allowed"])
    work_from_copies()

    def report(progress: Progress) -> None:
        tune.report({_PROGRESS: progress.encoded()})

    folder, pack_id, failure = Path(config["folder"]), config["pack_id"], ""
    if SweepStore(folder).stop_file.exists():
        # Tune hands out the packs that wait even then.
        tune.report({_LEFT: True})
        return
    for _ in range(1 + MOST_RETRIES):
        try:
            with watched_from_outside(folder, pack_id) as pulse:
                run_pack(folder, pack_id, report, beat=pulse.beat)
            return
        except NotHereError as error:
            node_id = ray.get_runtime_context().get_node_id()
            tune.report({_SENT_BACK: error.reason, "node_id": node_id})
            return
        except StoreError as error:
            # A retry would fail in the same way.
            failure = str(error)
            break
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
    tune.report({_FAILURE: failure})


def _reporter(tune: Any, on_progress: OnProgress) -> Any:
    class Reporter(tune.Callback):  # type: ignore[misc]
        """Passes trial reports to the driver's display, which is left out when Tune pickles the callback."""

        def __init__(self, on_progress: OnProgress) -> None:
            self.on_progress = on_progress
            self.failures: dict[str, str] = {}
            self.sent_back: dict[str, tuple[str, str]] = {}
            self._on_notice = signal.getsignal(signal.SIGUSR1)

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_step_begin(self, iteration: int, trials: Any, **_: Any) -> None:
            # Tune takes SIGUSR1 for itself, and ends workers before they have committed.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGUSR1, self._on_notice)

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            pack_id = trial.config["pack_id"]
            if _FAILURE in result:
                self.failures[pack_id] = result[_FAILURE]
                self.on_progress(pack_id, Failed(result[_FAILURE]))
            elif _SENT_BACK in result:
                self.sent_back[pack_id] = (result["node_id"], result[_SENT_BACK])
            elif _LEFT not in result:
                self.on_progress(pack_id, Progress.decoded(result[_PROGRESS]))

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            # Its worker has died once too often.
            error = trial.get_error()
            self.on_progress(trial.config["pack_id"], Failed("its worker died" if error is None else cause(error)))

    return Reporter(on_progress)
