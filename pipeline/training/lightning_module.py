"""A pack under a Lightning Trainer: one training step is one step of the pack's loop; callbacks commit and report."""

from __future__ import annotations

import itertools
import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

import lightning
import torch

from pipeline.training.pack_loop import PackLoop


class PackModule(lightning.LightningModule):
    """A pack's loop as a LightningModule without parameters: the runs' weights are in the loop's block."""

    def __init__(self, loop: PackLoop) -> None:
        super().__init__()
        # The block's own in-place updates are the optimisation: Lightning's would clip and average across runs.
        self.automatic_optimization = False
        self.loop = loop

    def configure_optimizers(self) -> None:
        """None: the block optimises."""
        return

    def training_step(self, batch: object, batch_index: int) -> None:
        """One chunk of optimiser steps, with what is measured after it."""
        self.loop.step()


class Committer(lightning.Callback):
    """Commits every `interval_s` seconds, at the end, and as soon as `should_leave()`; then ends the fit.

    Calls `on_progress` every `report_interval_s` seconds at most, and before the fit ends.
    """

    def __init__(
        self,
        interval_s: float,
        should_leave: Callable[[], bool],
        on_progress: Callable[[], None],
        report_interval_s: float = 1.0,
    ) -> None:
        self.interval_s, self.report_interval_s = interval_s, report_interval_s
        self.should_leave, self.on_progress = should_leave, on_progress
        self._committed = self._reported = time.monotonic()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *_: object, **__: object
    ) -> None:
        """Commit, report and end the fit when due."""
        assert isinstance(pl_module, PackModule)
        now = time.monotonic()
        is_leaving = pl_module.loop.is_done or self.should_leave()
        if is_leaving or now - self._committed >= self.interval_s:
            pl_module.loop.commit()
            self._committed = time.monotonic()
        if is_leaving or now - self._reported >= self.report_interval_s:
            self.on_progress()
            self._reported = now
        if is_leaving:
            trainer.should_stop = True


class _KeepSignals(lightning.Callback):
    """Puts back handlers that Lightning replaces by ones that end the fit, or queue a Slurm job, without a commit."""

    def __init__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)
            if trainer.received_sigterm:
                # After the next step Lightning would end the process, with exit code 0. Where there was a handler, it
                # was called, too; without one the signal does now what it would have done.
                trainer._signal_connector.received_sigterm = False
                if self._before[signal.SIGTERM] is signal.SIG_DFL:
                    signal.raise_signal(signal.SIGTERM)


class _Chunks:
    """Endless dummy dataloader: data are drawn inside the step, from its counter."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


def fit(loop: PackLoop, callbacks: Sequence[lightning.Callback], device: torch.device) -> None:
    """Train a pack to its end, or until a callback leaves, under a Trainer with per-step features disabled."""
    if loop.is_done:
        return
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*configure_optimizers.*returned .None.*")
        # Lightning 2.6 on torch 2.13; goes when Lightning stops using LeafSpec.
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*")
        # Inside a Slurm job Ray places the packs, and srun starts Ray.
        warnings.filterwarnings("ignore", message=r".*`srun` command is available.*")
        trainer = lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            barebones=False,
            callbacks=[*callbacks, _KeepSignals()],
        )
        trainer.fit(PackModule(loop), train_dataloaders=_Chunks())
