"""A training step as a CUDA graph: its kernels are recorded once, and then launched all at once, step after step."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Protocol

import torch

from pipeline.engine.launches import Launches
from pipeline.engine.slots import SlotArrays
from pipeline.numerics.compiler import notice

# A graph takes memory for every kernel. Steps of more of them, such as those of modules that are computed slot by slot,
# are launched kernel by kernel.
_MOST_LAUNCHES = 5000

_Call = Callable[[], None]


class GraphRecorder(Protocol):
    """Interface of what records steps."""

    def warm_up(self, step: _Call) -> str:
        """Run a step as it will be recorded; why it cannot be, empty if it can."""
        ...

    def record(self, step: _Call) -> _Call:
        """What does the same as `step` without calling it, on the same arrays. Nothing is computed here.

        Raises RuntimeError where it cannot be recorded.
        """
        ...


class CudaRecorder:
    """Records steps on a GPU as CUDA graphs.

    They share their memory: what a step leaves is in arrays that were there before, and no two run at a time.
    """

    def __init__(self, device: torch.device) -> None:
        # Everything on one stream, since a recording must not wait for what was done on another.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, step: _Call) -> str:
        """One step, which compiles kernels and opens libraries; why it cannot be recorded.

        A graph repeats what the host did as it was recorded, so a step whose host reads numbers of the device cannot be
        one. Every other step is a function of the device's arrays alone, as the contracts of tasks, models, optimisers
        and schedules have it, and so is its graph.
        """
        with Launches() as seen:
            self._on_stream(step)
        if seen.waits:
            return f"the host waits for the device in {', '.join(dict.fromkeys(seen.waits))}"
        if seen.num_launches > _MOST_LAUNCHES:
            return f"it has {seen.num_launches:,} kernels"
        return ""

    def _on_stream(self, step: _Call) -> None:
        here = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            step()
        here.wait_stream(self._stream)

    def record(self, step: _Call) -> _Call:
        """The graph's launch."""
        graph = torch.cuda.CUDAGraph()
        with Launches() as seen, torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            step()
        return _Replay(graph, seen)


class _Replay:
    """A recorded graph, and what it reads, which must not be freed: it knows addresses, not tensors."""

    def __init__(self, graph: torch.cuda.CUDAGraph, seen: Launches) -> None:
        self._graph, self._read = graph, seen.read

    def __call__(self) -> None:
        self._graph.replay()


class RecordedStep:
    """A step that is recorded as it is called first, and replayed from then on.

    Before, it is run once on arrays that are put back, so that all steps of a run are replayed ones, wherever it is
    interrupted. Where it cannot be recorded, it is called as it is, and `why_not` says why.
    """

    def __init__(
        self,
        step: _Call,
        recorder: GraphRecorder,
        copy: Callable[[], SlotArrays],
        put: Callable[[SlotArrays], None],
    ) -> None:
        self._step, self._recorder, self._copy, self._put = step, recorder, copy, put
        self._replayed: _Call | None = None
        self.why_not = ""

    def __call__(self) -> None:
        """One step."""
        if self._replayed is None:
            self._replayed = self._recorded()
        self._replayed()

    def _recorded(self) -> _Call:
        before = self._copy()
        self.why_not = self._recorder.warm_up(self._step)
        self._put(before)
        if self.why_not:
            return self._step
        try:
            return self._recorder.record(self._step)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.why_not = f"it could not be recorded: {error}"
            notice(f"steps are launched kernel by kernel, since CUDA graphs fail here: {error}")
            return self._step


def recorder_for(device: torch.device, environment: Mapping[str, str] = os.environ) -> GraphRecorder | None:
    """What records steps on a device: on GPUs, unless SEEDBED_CUDA_GRAPHS is 0; None elsewhere."""
    if device.type != "cuda" or environment.get("SEEDBED_CUDA_GRAPHS") == "0":
        return None
    return CudaRecorder(device)
