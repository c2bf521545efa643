"""The worker: takes one pack of a sweep's folder from its newest commit to its end. Needs neither Ray nor wandb."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from pipeline.engine.block import Block
from pipeline.engine.program import native_mode
from pipeline.engine.slots import RunState
from pipeline.numerics.matmul import set_rounding
from pipeline.planning.packs import PROGRAM, Pack, expand, packs_of, stored_spec
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import Progress
from pipeline.store.sweep_store import SweepStore
from pipeline.training.pack import Committer, PackModule, Protocol, fit
from pipeline.training.recorder import Recorder

# A minute of work is what a kill can cost; shorter only for tests and for machines that are often taken away.
COMMIT_INTERVAL_S = float(os.environ.get("SEEDBED_COMMIT_S", "60"))
_POLL_INTERVAL_S = 0.5


def run_pack(
    folder: Path, pack_id: str, on_progress: Callable[[Progress], None], commit_interval_s: float = COMMIT_INTERVAL_S
) -> Progress:
    """Train a pack until all its runs have ended, or until the sweep's stop file appears.

    Starts from the newest whole commit, or from nothing. Raises StoreError when this machine's numerics are not those
    of the plan, FencedError when a later attempt took over.
    """
    store = SweepStore(folder)
    spec, document = stored_spec(store), store.plan
    pack = next(pack for pack in packs_of(document) if pack.pack_id == pack_id)
    configs = {config.run_id: config for config in expand(spec)}
    configs = {run_id: configs[run_id] for run_id in pack.run_ids}
    device = prepare(pack, next(iter(configs.values())))
    recorder = Recorder(store.pack(pack_id), store.sweep["sweep_id"], pack_id, spec.budget)
    source = FirstStates(store, spec, recorder.continued)
    module = PackModule(configs, pack.numerics, protocol_of(spec), recorder, source)
    committer = Committer(commit_interval_s, _StopFile(store.stop_file), lambda: on_progress(module.progress()))
    fit(module, [committer], device)
    return module.progress()


def prepare(pack: Pack, config: RunConfig) -> torch.device:
    """Set this process to the numerics of a pack, of which `config` is a run. Raises StoreError if it cannot."""
    wanted = pack.numerics
    found = torch.__version__.partition("+")[0]
    if wanted.torch.partition("+")[0] != found:
        raise StoreError(
            f"pack {pack.pack_id} was planned for torch {wanted.torch}, this process has {found}: bits may differ; "
            "install that version, or start the sweep in another folder"
        )
    if wanted.program != PROGRAM:
        raise StoreError(
            f"pack {pack.pack_id} was planned for the arithmetic {wanted.program!r}, and this seedbed computes "
            f"{PROGRAM!r}: bits may differ; go on with the version that began it, or start the sweep in another folder"
        )
    if wanted.device == "cuda" and not torch.cuda.is_available():
        raise StoreError(f"pack {pack.pack_id} was planned for a GPU, and this process sees none")
    if wanted.mode != "eager" and (here := native_mode(config)) != wanted.mode:
        raise StoreError(
            f"pack {pack.pack_id} was planned for programs of {wanted.mode}, and this machine has {here or 'none'}: "
            "bits may differ; use that compiler and kind of processor, or start the sweep in another folder "
            "(resources.mode=eager asks for none)"
        )
    torch.set_num_threads(wanted.threads)
    set_rounding(wanted.products)
    if wanted.device == "cuda":
        torch.use_deterministic_algorithms(True)
    return torch.device(wanted.device)


def protocol_of(spec: SweepSpec) -> Protocol:
    """How a sweep's runs are looked at and ended."""
    steps = spec.snapshot_steps
    return Protocol(
        grid=spec.time_grid,
        budget=spec.budget,
        eval_items=spec.grid.eval_items,
        probe_items=spec.grid.probe_items,
        criterion=spec.criterion,
        stopping=spec.stopping,
        state_steps=frozenset(steps["weights"]),
        attention_steps=frozenset(steps["attention"]),
        keeps_last_attention=spec.snapshots.attention is None,
    )


class FirstStates:
    """Where each run starts: from its last state if a larger budget continues it, its parent's if it is a fork."""

    def __init__(self, store: SweepStore, spec: SweepSpec, continued: Mapping[str, int]) -> None:
        self.continued = continued
        self._own = store.snapshots() if continued else None
        self._parents = None if spec.fork is None else SweepStore(Path(spec.fork.sweep)).snapshots()

    def __call__(self, run_id: str, config: RunConfig, block: Block) -> RunState:
        if run_id in self.continued:
            assert self._own is not None
            step = self.continued[run_id]
            return RunState(step, self._own.read(run_id, step))
        if config.lineage is None or config.lineage.step == 0:
            return block.start(config)
        assert self._parents is not None
        return RunState(config.lineage.step, self._parents.read(config.lineage.parent, config.lineage.step))


class _StopFile:
    """Whether the driver asked everybody to leave; looks at the disk twice a second at most."""

    def __init__(self, path: Path) -> None:
        self._path, self._looked, self._found = path, 0.0, False

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._found and now - self._looked >= _POLL_INTERVAL_S:
            self._looked, self._found = now, self._path.exists()
        return self._found
