"""Steps that are recorded once and replayed, on tapes of operations in place of CUDA graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.contracts.runs import spec_of
from pipeline.contracts.small_sweeps import same
from pipeline.engine.block import Block
from pipeline.engine.step_graph import recorder_for
from pipeline.numerics import streams
from pipeline.optimisers.sgd import SGD
from tests.engine.on_a_gpu import covering, recorded

NUM_SLOTS = 3


def loaded(runs):
    block = Block(runs[0], NUM_SLOTS, torch.device("cpu"))
    block.load_runs({slot: (run, block.start(run)) for slot, run in enumerate(runs[:NUM_SLOTS])})
    return block


@pytest.fixture(autouse=True)
def draws_by_torch(monkeypatch):
    # Compiled draws are no operations of torch, so a tape would not repeat them.
    monkeypatch.setattr(streams, "compiled_kernels", lambda: None)


@pytest.mark.parametrize("case", covering())
def test_a_recorded_step_repeats_every_bit_of_what_training_does(case):
    """So nothing that the host computes in a step depends on the step, the slots or the runs in them."""
    runs = spec_of(**covering()[case]).runs()
    eager, replayed = loaded(runs), loaded(runs)
    tape = recorded(replayed)
    for num_steps in (1, 2):
        # Another run in a slot is another run of the same graph.
        eager.load_run(1, runs[-num_steps], eager.start(runs[-num_steps]))
        replayed.load_run(1, runs[-num_steps], replayed.start(runs[-num_steps]))
        eager.train(num_steps)
        replayed.train(num_steps)
        assert all(map(same, eager.run_states(range(NUM_SLOTS)), replayed.run_states(range(NUM_SLOTS))))
    assert tape.num_replays == 3


def test_a_tape_shows_what_the_host_decides_at_a_step(monkeypatch):
    runs = spec_of(optimiser="sgd").runs()
    update, calls = SGD.update, []

    def planted(self, weights_SP, grad_SP, state, columns):
        calls.append(None)
        update(self, weights_SP * 1.0 if len(calls) < 3 else weights_SP, grad_SP, state, columns)

    monkeypatch.setattr(SGD, "update", planted)
    eager, replayed = loaded(runs), loaded(runs)
    recorded(replayed)
    eager.train(6)
    calls.clear()
    replayed.train(6)
    assert not same(eager.run_state(0), replayed.run_state(0))


def test_steps_that_cannot_be_recorded_are_called_as_they_are():
    runs = spec_of().runs()
    eager, plain = loaded(runs), loaded(runs)
    tape = recorded(plain, why_not="planted")
    eager.train(4)
    plain.train(4)
    assert tape.num_replays == 0
    assert plain.engine.steps[True].why_not == "planted"
    assert same(eager.run_state(0), plain.run_state(0))


@pytest.mark.parametrize(("error", "is_raised"), [(RuntimeError("planted"), False), (torch.OutOfMemoryError(), True)])
def test_steps_whose_recording_fails_are_called_as_they_are_unless_memory_is_short(error, is_raised, capsys):
    block = loaded(spec_of().runs())
    tape = recorded(block)

    def fails(step):
        raise error

    tape.record = fails
    if is_raised:
        with pytest.raises(torch.OutOfMemoryError):
            block.train(2)
        return
    block.train(2)
    assert np.array_equal(block.standing()[0], [2, 2, 2])
    assert "launched kernel by kernel" in capsys.readouterr().err


def test_steps_are_recorded_on_gpus_alone_and_not_where_the_user_forbids_it(monkeypatch):
    monkeypatch.setattr("pipeline.engine.step_graph.CudaRecorder", lambda device: device)
    gpu = torch.device("cuda")
    assert recorder_for(gpu, {}) == gpu
    assert recorder_for(gpu, {"SEEDBED_CUDA_GRAPHS": "0"}) is None
    assert recorder_for(torch.device("cpu"), {}) is None
