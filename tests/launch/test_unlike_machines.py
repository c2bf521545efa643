"""Packs are computed by the machines that can; what none here can compute is listed, and the rest goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from pipeline.launch.inline import launch_inline
from pipeline.launch.launched import Launched
from pipeline.launch.placement import Placement
from pipeline.launch.planned import plan_on
from pipeline.numerics.compiler import instruction_sets, toolchain
from pipeline.planning.packs import Machine, Numerics, Pack
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import unfinished
from pipeline.training import open_pack
from pipeline.training.abilities import Abilities, NotHereError
from sweeps.command.how import How
from sweeps.command.launching import run_resume, train_spec
from sweeps.command.terminal.concluding import not_computed
from tests.support import opened, rows, tiny, trained, weights
from tests.sweeps.test_cli import run

V3, V4 = "x86-64-v3", "x86-64-v4"
needs_avx2 = pytest.mark.skipif(
    toolchain() is None or V3 not in instruction_sets(), reason="needs g++ and a processor with AVX2"
)
needs_avx512 = pytest.mark.skipif(
    toolchain() is None or V4 not in instruction_sets(), reason="needs g++ and a processor with AVX-512"
)


def compiled(instruction_set, num_seeds=4, **changes):
    resources = {"engine": "auto", "slots": 2, "instruction_set": instruction_set}
    return tiny(resources=resources, seeds={"together": list(range(num_seeds))}, **changes)


def engines(store):
    return [pack["numerics"]["engine"].partition("x86")[2] for pack in store.plan["packs"]]


def only(monkeypatch, instruction_set):
    """This machine has no larger instruction set than this one from now on."""
    monkeypatch.setenv("SEEDBED_INSTRUCTION_SET", instruction_set)


def abilities(*names, processor="p", torch="2.0.0"):
    return Abilities(torch, "query-only.4", False, tuple(names), processor)


def pack(run_id, engine="torch"):
    return Pack((run_id,), Numerics(1, "float32", "cpu", 1, "2.0.0", "query-only.4", engine))


@needs_avx512
@pytest.mark.native
def test_programs_of_avx2_give_the_same_bits_on_a_machine_with_more_and_others_than_its_own(tmp_path, monkeypatch):
    more = trained(compiled(V3), tmp_path / "more")
    own = trained(compiled("auto"), tmp_path / "own")
    assert engines(more) == ["-64-v3"]
    assert engines(own) == ["-64-v4"]
    only(monkeypatch, V3)
    less = trained(compiled("auto"), tmp_path / "less")
    assert engines(less) == ["-64-v3"]
    assert rows(less) == rows(more)
    assert weights(less) == weights(more) != weights(own)
    answers = [next(iter(store.newest_records().values())).answer for store in (less, more, own)]
    assert answers[0] == answers[1] != answers[2]


@needs_avx512
@pytest.mark.native
def test_a_machine_trains_the_packs_that_it_can_compute_and_the_launch_names_the_others(tmp_path, monkeypatch):
    """A sweep of two toolchains: begun for AVX2, with seeds added for AVX-512."""
    folder, out, how = tmp_path / "r", Console(record=True, width=400), How(is_inline=True)
    opened(compiled(V3, 2), folder)
    store = opened(compiled(V4), folder)
    assert engines(store) == ["-64-v3", "-64-v4"]
    theirs, ours = store.pack_ids()
    only(monkeypatch, V3)
    assert train_spec(compiled(V3), folder, "", how, out) == 3
    assert unfinished(store) == [ours]
    assert not store.pack(ours).folder.exists()
    text = out.export_text()
    assert f"not computed here: 1 pack ({ours}), planned for programs of compiled-g++" in text
    assert f"x86-64-v4, and this machine ({store.newest_records()[theirs].processor}) has compiled-g++" in text
    assert f"on a machine that can compute them: seedbed resume {folder}" in text
    assert "failed" not in text
    monkeypatch.delenv("SEEDBED_INSTRUCTION_SET")
    assert run_resume(store, how, out) == 0
    assert not unfinished(store)


def test_a_pack_that_others_began_to_other_bits_is_left_to_them_and_the_rest_goes_on(tmp_path, monkeypatch):
    spec = tiny(resources={"slots": 2})
    store = opened(spec, tmp_path / "r", num_workers=2)
    first, second = store.pack_ids()
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.training.worker._StopFile.__call__", lambda self: True)
        launch_inline(store, [first], lambda pack_id, progress: None)
    monkeypatch.setattr(open_pack, "_answer", lambda pack, config: "other")
    launched = launch_inline(store, [first, second], lambda pack_id, progress: None)
    assert unfinished(store) == [first]
    assert launched.failures == {}
    assert launched.elsewhere.keys() == {first}
    assert launched.elsewhere[first].startswith("begun on a processor")
    assert store.pack(first).newest_attempt() == 1


def test_verify_names_what_it_cannot_train_again(tmp_path, monkeypatch, capsys):
    store = trained(tiny(), tmp_path / "r")
    assert run(monkeypatch, capsys, "verify", tmp_path / "r", "--retrain", "2")[0] == 0
    here = Abilities.here()
    monkeypatch.setattr(Abilities, "here", staticmethod(lambda: replace(here, torch="1.0.0")))
    code, printed = run(monkeypatch, capsys, "verify", store.folder, "--retrain", "2")
    assert code == 3
    assert "trained again: 0 runs, 0 differ" in printed
    assert "not trained again here: 2 runs, planned for torch" in printed


def test_an_instruction_set_that_this_machine_lacks_is_refused_at_planning(monkeypatch):
    monkeypatch.setattr("pipeline.training.calibration.instruction_sets", lambda: (V3, "x86-64"))
    with pytest.raises(StoreError, match="instruction_set is x86-64-v4, and this machine has x86-64-v3, x86-64"):
        plan_on(compiled(V4), Machine.cpu(1))


def test_each_node_of_a_cluster_gets_the_packs_that_it_can_compute():
    torch, small, large = pack("a"), pack("b", "v3"), pack("c", "v4")
    placement = Placement([torch, small, large])
    placement.add_nodes({"old": abilities("v3"), "new": abilities("v4", "v3"), "bare": abilities()})
    alive = ["old", "new", "bare", "unknown"]
    assert not placement.barred(torch.pack_id, alive)
    assert placement.barred(small.pack_id, alive).keys() == {"bare"}
    barred = placement.barred(large.pack_id, alive)
    assert barred.keys() == {"old", "bare"}
    assert barred["old"] == (
        "planned for programs of v4, and this machine (p) has v3: bits may differ; use that compiler and kind of "
        "processor"
    )
    assert not placement.idle(alive)


def test_a_node_that_can_compute_no_pack_is_idle():
    placement = Placement([pack("a", "v4"), pack("b", "v4")])
    placement.add_nodes({"old": abilities("v3"), "new": abilities("v4")})
    assert placement.idle(["old", "new"]).keys() == {"old"}


def test_a_pack_that_a_node_sent_back_goes_to_no_other_node_of_that_kind():
    one, other = pack("a"), pack("b")
    placement = Placement([one, other])
    placement.add_nodes({"x": abilities(), "twin": abilities(), "y": abilities(processor="q")})
    alive = ["x", "twin", "y", "unknown"]
    placement.send_back(one.pack_id, "x", "begun elsewhere")
    placement.send_back(one.pack_id, "unknown", "begun elsewhere")
    assert placement.barred(one.pack_id, alive).keys() == {"x", "twin", "unknown"}
    assert not placement.barred(other.pack_id, alive)


def test_a_pack_that_one_node_sends_back_twice_is_tried_no_more():
    one, other = pack("a"), pack("b")
    placement = Placement([one, other])
    placement.send_back(one.pack_id, "strange", "begun elsewhere")
    assert not placement.barred(one.pack_id, ["x", "y"])
    placement.send_back(one.pack_id, "strange", "begun elsewhere")
    assert placement.barred(one.pack_id, ["x", "y"]) == {"x": "begun elsewhere", "y": "begun elsewhere"}
    assert not placement.barred(other.pack_id, ["x", "y"])


def test_packs_that_cannot_be_computed_are_listed_by_reason(tmp_path):
    elsewhere = dict.fromkeys("abcdefg", "planned for a GPU") | {"h": "begun on p"}
    lines = list(not_computed(Launched({}, elsewhere, {"node7": "planned for programs of v4"}), tmp_path / "a b"))
    assert lines[0] == "not computed here: 7 packs (a, b, c, d, e, ...), planned for a GPU"
    assert lines[1] == "not computed here: 1 pack (h), begun on p"
    assert lines[2] == f"on a machine that can compute them: seedbed resume '{tmp_path / 'a b'}'"
    assert lines[3].startswith("node7 could compute none of the packs, planned for programs of v4; a new sweep")
    assert not list(not_computed(Launched({}), tmp_path))
    (line,) = not_computed(Launched({}, {}, {"node7": "planned for torch 1.0.0"}), tmp_path)
    assert line == "node7 could compute none of the packs, planned for torch 1.0.0"


def test_the_reason_survives_the_way_from_a_worker():
    import pickle

    error = pickle.loads(pickle.dumps(NotHereError("abc", "planned for a GPU")))
    assert (error.pack_id, error.reason) == ("abc", "planned for a GPU")
    assert str(error) == "pack abc was planned for a GPU, or start the sweep in another folder"
