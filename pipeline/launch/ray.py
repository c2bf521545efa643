"""Runs packs as Ray Tune trials, on a local Ray that ends with the launch or on an existing cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.imports import quick_imports
from pipeline.launch.launched import MOST_RETRIES, NOTICES, Failed, Launched, OnProgress
from pipeline.launch.nodes import abilities_of, alive_nodes, elsewhere
from pipeline.launch.placement import Placement
from pipeline.launch.ray_errors import cause, first_line
from pipeline.launch.ray_folder import private_folder
from pipeline.launch.ray_leaving import LeftError, leaver_of
from pipeline.launch.ray_loss import ends_when_ray_is_lost
from pipeline.launch.ray_processes import shut_down
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

# The folder that holds the package `pipeline`.
_ROOT = Path(__file__).resolve().parents[2]
# Text, since Tune keeps statistics of every number that it is told.
_FAILURE, _PROGRESS, _SENT_BACK, _LEFT = "failure", "progress", "sent_back", "left"
_CONNECT_TIMEOUT_S = 5.0
# Named after the systems on which a Ray that listens on loopback alone is the default.
_ON_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
# Of Tune's own folder, on a cluster below that of the sweep.
_SCRATCH = "seedbed-tune-"
# Without these, glibc returns large buffers to the system at every step, and page faults take half the time.
_WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "OMP_NUM_THREADS": "1",
}


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


def connect(address: str | None, folder: Path | None = None) -> tuple[Any, Any]:
    """Connect; returns (ray, ray.tune). A local Ray has no dashboard and requires a random token of its clients.

    `folder` is where a local Ray puts its session. Raises StoreError where one would be open to others.
    """
    prepare(address)
    if address is not None:
        _require_answer(address)
    with quick_imports():
        import ray
        from ray import tune

    if not ray.is_initialized():
        _init(
            ray,
            # "local": otherwise Ray joins any cluster that it finds from this machine.
            address=address or "local",
            include_dashboard=None if address else False,
            _temp_dir=None if folder is None else str(folder / "r"),
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": _WORKER_ENVIRONMENT},
        )
    # Failed packs are reported once, after the launch.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    return ray, tune


def prepare(address: str | None) -> None:
    """Set what Ray reads when it is imported: to be called before, wherever a launch follows. Raises StoreError."""
    if address is None:
        _close_to_others()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # The driver handles Ctrl-C: packs commit and stop, then it prints how to resume.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")


def _close_to_others() -> None:
    """Have a local Ray ask for a token and listen on loopback. Raises StoreError where Ray was imported too early.

    Ray reads both when it is imported; later it would start without the token that its own processes then ask for.
    """
    if "ray" in sys.modules and _ON_LOOPBACK not in os.environ:
        raise StoreError(
            "this process imported ray before the launch, which cannot close a local Ray to others any more: launch "
            "from a process that has not, or train without Ray (launch_inline, --inline)"
        )
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray then takes 127.0.0.1 for the address of this computer, and listens there alone.
    os.environ.setdefault(_ON_LOOPBACK, "0")
    # Workers that it starts ahead lack our environment, so that no trial gets one of them.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")


def _init(ray: Any, **options: Any) -> None:
    """`ray.init` that keeps this process's signal handlers and makes workers import this copy of the package.

    A Ray that does not start is tried again twice. Raises StoreError.
    """
    for number in range(1, MOST_RETRIES + 2):
        try:
            # Ray puts the driver's current folder first on its workers' path: a folder there that is named as one of
            # our packages would be imported in its place.
            with _signals_kept(), contextlib.chdir(_ROOT):
                ray.init(**options)
                return
        except ConnectionError as error:
            raise StoreError(f"no Ray cluster answers: {first_line(error)}") from None
        except (RuntimeError, TimeoutError, AssertionError) as error:
            ray.shutdown()
            if number > MOST_RETRIES:
                raise StoreError(
                    f"Ray did not start in {number} tries ({first_line(error)}); this machine may be too busy: launch "
                    "again later, or train without Ray, with --inline"
                ) from None


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Ignore NOTICES inside the block, which processes started there inherit; restore all signal handlers afterwards.

    Ray handles SIGTERM by ending the driver, and its workers with it, before they have committed. Whoever sends a
    notice signals Ray's processes, too: they must stay alive until the driver has asked packs to commit and stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, *NOTICES)}
    for number in NOTICES:
        signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_answer(address: str) -> None:
    """Raises StoreError if nothing listens at HOST:PORT; Ray itself would wait for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not host:
        raise StoreError(f"--address must be auto or HOST:PORT, given {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise StoreError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None


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
