"""Ray Tune with one Lightning trial per seed: how a sweep over seeds is run with the usual tools.

Tuned as far as their documentation says how: one thread a trial, and everything of Lightning and Tune that costs per
step or per trial left out. `run_sweep` needs a separate process, since Ray reads its environment when it starts.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import lightning
import torch
from torch import Tensor

from benchmarks.peers.eager import ENVIRONMENT, EagerChoice, adamw
from benchmarks.peers.eager_models import draw, loss_of, model_of
from benchmarks.workloads import Workload

_VALIDATION_SEED = 2**31
_EVALUATIONS = 2


@dataclass(frozen=True)
class TuneSweep:
    """Seeds 0..num_seeds-1 of a workload, each trained for `budget` steps or until it has converged.

    A run has converged when its loss on `eval_items` items is at most `loss_at_most` at two successive evaluations,
    one every `eval_every` steps. `reuses_actors`: a worker goes on to the next trial, instead of starting afresh.
    """

    workload: Workload
    num_seeds: int
    budget: int
    loss_at_most: float
    reuses_actors: bool = True
    num_concurrent: int = 2
    eval_every: int = 100
    eval_items: int = 512
    choice: EagerChoice = field(default_factory=EagerChoice)


@dataclass(frozen=True)
class TrialTimes:
    """One trial: `begin_s` and `end_s` count from the call of `fit`, and hold what the trial itself did."""

    seed: int
    num_steps: int
    has_converged: bool
    loss: float
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class TuneTimes:
    """`ray_s`: until Ray was up. `first_trial_s`: from there to the first trial's first line. `fit_s`: all trials."""

    ray_s: float
    first_trial_s: float
    fit_s: float
    trials: tuple[TrialTimes, ...]

    @property
    def wall_s(self) -> float:
        """Seconds from the start of Ray to the end of the last trial."""
        return self.ray_s + self.fit_s

    @property
    def between_trials_s(self) -> float:
        """Of the time that workers had after the first trial began, what no trial used, for each trial."""
        used = sum(trial.end_s - trial.begin_s for trial in self.trials)
        num_workers = max(1, sum(trial.begin_s < min(t.end_s for t in self.trials) for trial in self.trials))
        return max(0.0, (self.fit_s - self.first_trial_s) * num_workers - used) / len(self.trials)

    @property
    def run_steps(self) -> int:
        """Steps of all runs together."""
        return sum(trial.num_steps for trial in self.trials)


class _Batches:
    """An endless stream of one run's batches."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.workload, self.generator = workload, torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield draw(self.workload, self.workload.batch_size, self.generator)


class _Items:
    """A stream of one batch."""

    def __init__(self, items: tuple[Tensor, Tensor]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield self.items

    def __len__(self) -> int:
        return 1


class RunModule(lightning.LightningModule):
    """One run, as Lightning's documentation has it."""

    def __init__(self, workload: Workload, choice: EagerChoice) -> None:
        super().__init__()
        self.workload, self.choice = workload, choice
        self.model = model_of(workload, choice.written)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Lightning's hook: the workload's AdamW."""
        return adamw(self.workload, self.model, self.choice)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Lightning's hook: the loss of a fresh batch."""
        inputs, targets = batch
        return loss_of(self.workload, self.model(inputs), targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> None:
        """Lightning's hook: the loss on the evaluation set."""
        inputs, targets = batch
        self.last_loss = loss_of(self.workload, self.model(inputs), targets).item()


class _Reporter(lightning.Callback):
    """Reports each evaluation, and ends the run when it has converged."""

    def __init__(self, sweep: TuneSweep, seed: int, begin: float) -> None:
        self.sweep, self.seed, self.begin, self.streak = sweep, seed, begin, 0

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        from ray import tune

        assert isinstance(module, RunModule)
        self.streak = self.streak + 1 if module.last_loss <= self.sweep.loss_at_most else 0
        trainer.should_stop = has_converged = self.streak >= _EVALUATIONS
        trial = TrialTimes(self.seed, trainer.global_step, has_converged, module.last_loss, self.begin, time.time())
        tune.report(asdict(trial))


def train(config: dict[str, Any]) -> None:
    """One trial."""
    sweep, seed, begin = config["sweep"], config["seed"], time.time()
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.manual_seed(seed)
    items = draw(sweep.workload, sweep.eval_items, torch.Generator().manual_seed(_VALIDATION_SEED))
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=sweep.budget,
        val_check_interval=sweep.eval_every,
        gradient_clip_val=sweep.workload.optimiser.clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[_Reporter(sweep, seed, begin)],
    )
    trainer.fit(RunModule(sweep.workload, sweep.choice), _Batches(sweep.workload, seed), _Items(items))


def run_sweep(sweep: TuneSweep) -> TuneTimes:
    """Train all seeds on a local Ray, which ends with this call."""
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    import ray
    from ray import tune

    begin = time.time()
    ray.init(
        address="local",
        num_cpus=sweep.num_concurrent,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": ENVIRONMENT},
    )
    up = time.time()
    scratch = tempfile.mkdtemp(prefix="seedbed-peer-")
    try:
        results = _tuner(tune, sweep, scratch).fit()
        end = time.time()
    finally:
        ray.shutdown()
        shutil.rmtree(scratch, ignore_errors=True)
    if results.errors:
        raise results.errors[0]
    trials = tuple(_times(result.metrics, up) for result in results)
    return TuneTimes(up - begin, min(trial.begin_s for trial in trials), end - up, trials)


def _tuner(tune: Any, sweep: TuneSweep, scratch: str) -> Any:
    return tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space={"seed": tune.grid_search(list(range(sweep.num_seeds))), "sweep": sweep},
        tune_config=tune.TuneConfig(reuse_actors=sweep.reuses_actors, max_concurrent_trials=sweep.num_concurrent),
        run_config=tune.RunConfig(storage_path=scratch, verbose=0),
    )


def _times(metrics: dict[str, Any], origin: float) -> TrialTimes:
    fields = {name: metrics[name] for name in TrialTimes.__dataclass_fields__}
    return TrialTimes(**fields | {"begin_s": fields["begin_s"] - origin, "end_s": fields["end_s"] - origin})
