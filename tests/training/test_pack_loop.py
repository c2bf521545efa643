"""The loop of a pack by itself: what one step does, without a Trainer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace

import lightning
import torch

from pipeline.store.progress import Progress
from pipeline.training.lightning_module import Committer, fit
from pipeline.training.open_pack import open_pack
from pipeline.training.worker import run_pack
from tests.support import opened, rows, tiny, trained, weights

SPEC = tiny(seeds={"together": {"range": [0, 5]}}, resources={"slots": 2})

TRAIN = """
import json, sys
from pathlib import Path
from pipeline.store.sweep_store import SweepStore
from pipeline.training.open_pack import open_pack

store = SweepStore(Path(sys.argv[1]))
for pack_id in store.pack_ids():
    loop = open_pack(store, pack_id)
    while not loop.is_done:
        loop.step()
    loop.commit()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} & {"lightning", "ray", "wandb"})))
"""


def loop_of(spec, folder):
    store = opened(spec, folder)
    return open_pack(store, store.pack_ids()[0])


def test_a_pack_is_trained_without_lightning_to_the_bits_of_a_trainer(tmp_path):
    store = opened(SPEC, tmp_path / "a")
    command = [sys.executable, "-c", TRAIN, str(store.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    under_lightning = trained(SPEC, tmp_path / "b")
    assert weights(store) == weights(under_lightning)
    assert rows(store) == rows(under_lightning)


def test_a_pack_is_trained_with_the_threads_of_its_block_whatever_the_process_has(tmp_path):
    store, threads, seen = opened(SPEC, tmp_path / "r"), torch.get_num_threads(), set()
    torch.set_num_threads(2)
    try:
        run_pack(store, store.pack_ids()[0], lambda progress: seen.add(torch.get_num_threads()))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert seen == {1}


class AskedAtOnce(lightning.Callback):
    """SIGTERM before the first step, when Lightning's handler is in the place of another."""

    def on_train_start(self, trainer, pl_module):
        signal.raise_signal(signal.SIGTERM)


def test_a_sigterm_before_the_first_step_reaches_who_handled_it_and_ends_no_process(tmp_path):
    loop, asked = loop_of(SPEC, tmp_path / "r"), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        fit(loop, [AskedAtOnce(), Committer(0.0, lambda: bool(asked), lambda: None)], loop.block.device)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked == [signal.SIGTERM]
    assert loop.block.steps_S.tolist() == [10, 10]
    assert loop.progress().num_done == 0


def test_a_step_is_one_chunk_of_every_slot_and_slots_refill_at_its_start(tmp_path):
    loop = loop_of(SPEC, tmp_path / "r")
    first, second, third, fourth, _ = loop.configs
    assert loop.occupants == [None, None]
    loop.step()
    assert loop.occupants == [first, second]
    assert loop.block.steps_S.tolist() == [10, 10]
    loop.step()
    loop.step()
    assert loop.occupants == [None, None], "the budget is 30 steps"
    loop.step()
    assert loop.occupants == [third, fourth]
    assert loop.block.steps_S.tolist() == [10, 10]


def test_progress_counts_what_is_not_committed_yet(tmp_path):
    loop = loop_of(SPEC, tmp_path / "r")
    assert replace(loop.progress(), by_setting={}) == Progress(5, 0, 0, 0, 0, run_steps=0, steps_left=150)
    for _ in range(4):
        loop.step()
    expected = Progress(5, 2, 0, 0, 0, run_steps=80, steps_left=70, num_running=2)
    assert replace(loop.progress(), by_setting={}) == expected
    assert list(loop.progress().by_setting.values()) == [expected]
    assert Progress.decoded(loop.progress().encoded()) == loop.progress()


def test_a_loop_goes_on_where_the_newest_commit_left_it(tmp_path):
    loop = loop_of(SPEC, tmp_path / "r")
    loop.step()
    loop.commit()
    loop.step()
    again = loop_of(SPEC, tmp_path / "r")
    assert again.occupants == loop.occupants
    assert again.block.steps_S.tolist() == [10, 10]
    assert again.waiting == loop.waiting
