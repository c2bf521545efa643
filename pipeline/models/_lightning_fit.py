"""One run of a LightningModule under a real Trainer, which can be left between two steps and gone on with."""

from __future__ import annotations

import io
import logging
import random
import sys
import threading
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor, nn

# An epoch that never ends. A loader without a length would be asked for a batch too many.
_ENDLESS = 2**40
# Seconds between looks at whether an error was sent to the thread that waits.
_PATIENCE_S = 0.5


class Step(NamedTuple):
    """One step: its batch, inputs (B, ...) and targets (B,) or (B, Q), and what its random numbers are seeded with."""

    inputs: Tensor
    targets: Tensor
    seed: int


class LastStep(NamedTuple):
    """Of the last step: the loss that training_step returned, None if none; the norm of the gradients before clipping.

    The norm is over all optimisers that stepped, NaN where none did.
    """

    loss: float | None
    grad_norm: float


class TrainerEndedError(RuntimeError):
    """A Trainer ended its fit by itself, before its run was to end."""


class _AbandonedError(BaseException):
    """Ends a fit that nobody goes on with; its hooks for a proper end are not called."""


class Fit:
    """`Trainer.fit` of a module, in a thread of its own that runs only inside `advance` and `close`.

    It stands between two steps when the Trainer asks for the next batch, so all hooks of the last step, and of its
    epoch, have been called. `checkpoint`, from an earlier fit, is what it goes on from. Every step seeds the generators
    of torch, numpy and Python anew; those of the caller are left as they are. `steps_per_epoch` None: an endless epoch.
    """

    def __init__(
        self,
        module: nn.Module,
        device: torch.device,
        clip: float | None = None,
        steps_per_epoch: int | None = None,
        checkpoint: bytes | None = None,
    ) -> None:
        self._kept, self._observer, self._baton = _InMemory(checkpoint), _Observer(), _Baton()
        self._trainer = _trainer(
            device,
            max_epochs=-1,
            limit_val_batches=0,
            gradient_clip_val=clip,
            plugins=[self._kept],
            callbacks=[self._observer],
        )
        self._module, self._checkpoint = module, checkpoint
        steps = _Steps(self._baton, steps_per_epoch or _ENDLESS, self._trainer)
        arguments = (self._trainer, module, steps, self._baton, None if checkpoint is None else "memory")
        self._thread = threading.Thread(target=_fit, args=arguments, daemon=True, name="fit")
        self._end = weakref.finalize(self, self._baton.abandon)
        self._end.atexit = False

    def advance(self, steps: Iterable[Step]) -> LastStep:
        """Train these steps. Raises what the module's code raises, after which the fit is over; TrainerEndedError."""
        with _apart():
            if not self._baton.is_begun:
                self._thread.start()
            self._baton.run(iter(steps))
        if self._baton.error is not None:
            raise self._baton.error
        if self._baton.is_over:
            said = "the Trainer stopped by itself; a run ends at its budget, or by the sweep's `stopping`"
            raise TrainerEndedError(said)
        return self._observer.last

    def checkpoint(self) -> bytes | None:
        """The Trainer's own checkpoint, as torch.save writes it; None before the first step."""
        if not self._baton.is_begun:
            return self._checkpoint
        with _apart():
            self._trainer.save_checkpoint("memory")
        return self._kept.content

    def close(self) -> None:
        """End the fit as a Trainer does, with the hooks for the end of an epoch, and of training."""
        if self._baton.is_begun and not self._baton.is_over:
            with _apart():
                self._baton.finish()
            if self._baton.error is not None:
                raise self._baton.error


def validated(module: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Name -> (), of all that the validation hooks of a module log for one batch, under a Trainer."""
    trainer = _validator(inputs.device)
    with _apart():
        # It keeps those that the last module configured.
        trainer.callbacks = []  # type: ignore[attr-defined]
        _seed(0)
        trainer.validate(module, dataloaders=_One((inputs, targets)), verbose=False)  # type: ignore[arg-type]
    return {name: torch.as_tensor(value).detach().reshape(()) for name, value in trainer.callback_metrics.items()}


@cache
def _validator(device: torch.device) -> lightning.Trainer:
    """Making one takes as long as validating a small module."""
    return _trainer(device)


def _trainer(device: torch.device, **arguments: Any) -> lightning.Trainer:
    """Without what seedbed does itself: loggers, checkpoint files, progress."""
    with _apart():
        return lightning.Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **arguments,
        )


def _fit(trainer: lightning.Trainer, module: nn.Module, steps: _Steps, baton: _Baton, checkpoint: str | None) -> None:
    """The thread."""
    baton.wait()
    try:
        # The number of threads is one of each thread.
        torch.set_num_threads(baton.num_threads)
        trainer.fit(module, train_dataloaders=steps, ckpt_path=checkpoint, weights_only=True)  # type: ignore[arg-type]
    except _AbandonedError:
        pass
    except Exception as error:
        baton.error = error
    except SystemExit as error:
        baton.error = RuntimeError(f"the Trainer's thread was left by SystemExit({error})")
    finally:
        baton.is_over = True
        baton.give_back()


class _Baton:
    """Lets either the caller or the thread of a fit run, never both."""

    def __init__(self) -> None:
        self.steps: Iterator[Step] = iter(())
        self.is_begun = self.is_over = self.is_finishing = self.is_abandoned = False
        self.error: Exception | None = None
        self.num_threads = 1
        self._to_fit, self._to_caller = threading.Semaphore(0), threading.Semaphore(0)

    def run(self, steps: Iterator[Step]) -> None:
        """By the caller: let the thread train these steps, and wait until it asks for more, or is over."""
        self.is_begun, self.steps, self.num_threads = True, steps, torch.get_num_threads()
        self._to_fit.release()
        # With a limit, so that an error that is sent to this thread is raised in it.
        while not self._to_caller.acquire(timeout=_PATIENCE_S):
            pass
        self.steps = iter(())

    def finish(self) -> None:
        """By the caller: let the fit come to its end."""
        self.is_finishing = True
        self.run(iter(()))

    def abandon(self) -> None:
        """By the caller: let the thread end, without waiting for it."""
        self.is_abandoned = True
        self._to_fit.release()

    def wait(self) -> None:
        """By the thread."""
        self._to_fit.acquire()

    def give_back(self) -> None:
        """By the thread."""
        self._to_caller.release()


class _Steps:
    """The Trainer's loader: gives the steps of the baton, and hands it back where there are no more."""

    def __init__(self, baton: _Baton, length: int, trainer: lightning.Trainer) -> None:
        self._baton, self._length, self._trainer = baton, length, trainer

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        baton = self._baton
        while (step := next(baton.steps, None)) is None:
            baton.give_back()
            baton.wait()
            if baton.is_abandoned:
                raise _AbandonedError
            if baton.is_finishing:
                self._trainer.should_stop = True
                raise StopIteration
        _seed(step.seed)
        return step.inputs, step.targets

    def state_dict(self) -> dict[str, Any]:
        """Nothing: batches are functions of the step. That there is one tells the Trainer that it can resume."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Likewise."""


class _One:
    """A loader of one batch."""

    def __init__(self, batch: tuple[Tensor, Tensor]) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter((self._batch,))


class _Observer(lightning.Callback):
    """Keeps the loss and the gradient norm of the newest step."""

    def __init__(self) -> None:
        self._loss: Tensor | None = None
        self._squares: list[Tensor] = []

    @property
    def last(self) -> LastStep:
        """Of the newest step."""
        norm = float(torch.stack(self._squares).sum().sqrt()) if self._squares else float("nan")
        return LastStep(None if self._loss is None else float(self._loss), norm)

    def on_train_batch_start(self, *_: Any) -> None:
        """A new step."""
        self._loss, self._squares = None, []

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """The gradients that an optimiser is about to use, not clipped yet."""
        values = [value.grad for group in optimizer.param_groups for value in group["params"]]
        self._squares += [value.detach().double().square().sum() for value in values if value is not None]

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """What training_step returned."""
        given = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self._loss = given.detach() if isinstance(given, Tensor) and given.numel() == 1 else None


class _InMemory(CheckpointIO):
    """Checkpoints as bytes, which the run's store keeps. Read without running any code in them."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content

    def save_checkpoint(self, checkpoint: dict[str, Any], path: object, storage_options: object = None) -> None:
        stream = io.BytesIO()
        torch.save(_without_sharing(checkpoint), stream)
        self.content = stream.getvalue()

    def load_checkpoint(self, path: object, map_location: Any = None, weights_only: object = None) -> dict[str, Any]:
        assert self.content is not None
        found: dict[str, Any] = torch.load(io.BytesIO(self.content), map_location="cpu", weights_only=True)
        return found

    def remove_checkpoint(self, path: object) -> None:
        """Nothing to remove."""


def _without_sharing(value: Any) -> Any:
    """An equal value whose pickle depends on its contents alone, not on which of its parts are one object."""
    if isinstance(value, str):
        return sys.intern(value)
    if type(value) in (list, tuple):
        return type(value)(_without_sharing(item) for item in value)
    if type(value) in (dict, OrderedDict):
        copy = type(value)((_without_sharing(key), _without_sharing(item)) for key, item in value.items())
        if (versions := getattr(value, "_metadata", None)) is not None:
            copy._metadata = _without_sharing(versions)
        return copy
    return value.clone() if isinstance(value, Tensor) else value


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def _apart() -> Iterator[None]:
    """The generators of this process as they were before; nothing said of what a Trainer lacks on purpose."""
    logger = logging.getLogger("lightning.pytorch")
    level, states = logger.level, (random.getstate(), np.random.get_state())
    logger.setLevel(logging.ERROR)
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        logger.setLevel(level)
