"""Runs that are one under two ids, since `streams` pins their seeds, count once: in intervals, scores and claims."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from analysis.claims.sweeps import Sweeps
from analysis.outcomes.equal_runs import distinct_history, distinct_runs, draw_keys_of
from analysis.summary.analyse import analyse
from analysis.tables.sweep import Sweep
from pipeline.planning.packs import expand, stored_spec
from pipeline.spec.draws import draw_keys, run_that_counts
from pipeline.spec.run_config import Setting
from pipeline.spec.sweep import STORED, SweepSpec
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.progress import CommittedProgress
from pipeline.training.worker import run_pack
from sweeps.command.analysing import analysis_of
from sweeps.command.sources import read_source
from sweeps.command.watch.live_page import live_pages
from tests.support import opened, tiny, trained
from tests.sweeps.test_cli import run

# All runs meet it.
EASY = {"metric": "label_loss", "at_most": 100.0, "evaluations": 2}


def pinned(streams, inits, datas, **changes):
    """A sweep as earlier versions took it: every pair of these seeds, though `streams` pins some of what they seed."""
    seeds = {"crossed": {"init_seed": list(inits), "data_seed": list(datas)}}
    return SweepSpec.model_validate(tiny().identity() | changes | {"streams": streams, "seeds": seeds}, context=STORED)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One sweep of three seeds whose every run stands there four times, and the same without the copies."""
    folder = tmp_path_factory.mktemp("equal")
    trained(pinned({"data": 5}, range(3), range(4), converged=EASY), folder / "copies")
    trained(pinned({"data": 5}, range(3), [0], converged=EASY), folder / "once")
    return folder


def test_runs_are_equal_if_and_only_if_they_draw_the_same():
    runs = pinned({"data": 5}, range(3), range(4)).runs()
    assert len({run.run_id for run in runs}) == 12
    assert len({run.draws_id for run in runs}) == 3
    assert len({run.draws_id for run in pinned({}, range(3), range(4)).runs()}) == 12
    # A pin that has the value of the seed itself.
    (own,) = pinned({"data": 5}, [7], [0]).runs()
    (same,) = pinned({}, [7], [5]).runs()
    (other,) = pinned({}, [7], [6]).runs()
    assert own.draws_id == same.draws_id != other.draws_id
    faster = pinned({"data": 5}, [7], [0], optimiser={"name": "adamw", "lr": 0.5}).runs()
    assert own.draws_id != faster[0].draws_id


def test_forks_are_equal_by_parent_step_and_data_streams():
    (parent,) = pinned({"data": 5}, [7], [0]).runs()
    (free,) = pinned({}, [7], [5]).runs()
    assert len({fork.draws_id for fork in parent.forks([10, 20], [1, 2, 3])}) == 2
    assert len({fork.draws_id for fork in free.forks([10, 20], [1, 2, 3])}) == 6
    assert len({fork.draws_id for fork in free.forks([10], [1, 2, 3], {"streams.data": 4})}) == 1


@pytest.mark.parametrize("task", ["dictionary_lookup", "linear_regression", "modular_addition"])
def test_a_setting_comes_back_from_its_hyperparameters(task):
    base = tiny(task)
    streams = {"init/" + base.runs()[0].model.parameter_specs(base.runs()[0].task.shape())[0].name: 3}
    for spec in (base, SweepSpec.model_validate(base.identity() | {"streams": streams})):
        run_config = spec.runs()[0]
        found = Setting.from_hyperparameters({**run_config.hyperparameters(), "fork.step": 10})
        assert found.canonical == run_config.setting.canonical


def test_copies_change_no_figure_and_are_told(folders, monkeypatch, capsys):
    copies, once = (analysis_of([SweepStore(folders / name)]) for name in ("copies", "once"))
    assert len(copies.history.runs) == len(once.history.runs) == 3
    documents = [analysis.to_json() for analysis in (copies, once)]
    assert documents[0]["provenance"]["num_equal_runs"] == 9
    assert "num_equal_runs" not in documents[1]["provenance"]
    for document in documents:
        del document["provenance"]
    assert documents[0] == documents[1]
    sentence = "9 runs left out that equal others, which count once."
    assert sentence in copies.summary()
    assert "left out" not in once.summary()
    code, printed = run(monkeypatch, capsys, "analyse", folders / "copies")
    assert (code, sentence in printed) == (0, True)


def test_an_interval_is_that_of_the_runs_without_the_copies(tmp_path):
    """Four seeds of one set of weights: as if independent, they would give a narrower interval."""
    setting = tiny().runs()[0].setting
    streams = {f"init/{each.name}": 5 for each in setting.model.parameter_specs(setting.task.shape())} | {"data": 5}

    def stored(num_seeds):
        seeds = {"together": list(range(num_seeds))}
        identity = tiny(converged=EASY).identity() | {"streams": streams, "seeds": seeds}
        return trained(SweepSpec.model_validate(identity, context=STORED), tmp_path / str(num_seeds))

    copies, once = stored(4), stored(1)
    expected = analysis_of([once]).settings[0].converged_text()
    assert analysis_of([copies]).settings[0].converged_text() == expected
    as_if_independent = analyse(copies.history(), stored_spec(copies).criterion).settings[0].converged_text()
    assert as_if_independent != expected


def test_claims_read_each_run_once(folders):
    sweep = Sweeps({"a": folders / "copies"})["a"]
    assert len(sweep.history.runs) == 3
    assert sweep.provenance["num_equal_runs"] == 9


def test_in_several_folders_equal_runs_count_once_and_the_one_that_is_furthest_stays(folders, tmp_path, monkeypatch):
    begun = opened(pinned({}, [1, 2], [5], converged=EASY), tmp_path / "begun")
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.training.worker._StopFile.__call__", lambda self: True)
        run_pack(begun.folder, begun.pack_ids()[0], lambda progress: None)
    assert begun.history().values
    found = read_source([begun, SweepStore(folders / "copies")])
    assert len(found.history.runs) == 3
    assert {end.reason for end in found.history.ends} == {"budget"}
    assert found.notes == ("11 runs left out that equal others, which count once.",)
    twice = read_source([SweepStore(folders / "once"), SweepStore(folders / "once")])
    assert len(twice.history.runs) == 3
    assert twice.provenance["num_equal_runs"] == 3


def test_a_run_that_was_stopped_gives_way_to_one_that_ended(folders):
    store = SweepStore(folders / "once")
    whole = store.history()
    stopped = replace(whole, ends=tuple(replace(end, reason="stopped") for end in whole.ends))
    first, second = distinct_runs([stopped, whole], [store, store])
    assert (len(first.runs), len(second.runs)) == (0, 3)


def test_new_sweeps_of_equal_runs_are_refused(tmp_path):
    with pytest.raises(ValueError, match="12 pairs give 3 different runs"):
        SweepSpec.model_validate(pinned({"data": 5}, range(3), range(4)).identity())
    store = trained(pinned({"data": 5}, [7], [0]), tmp_path / "parents")
    fork = {"sweep": str(store.folder), "steps": [0], "data_seed": {"range": [0, 4]}}
    kept = ("name", "grid", "tracking", "resources")
    data = {name: value for name, value in tiny().identity().items() if name in kept}
    forks = SweepSpec.model_validate(data | {"name": "forks", "budget": 30, "fork": fork})
    assert len({config.draws_id for config in expand(forks)}) == 1
    with pytest.raises(StoreError, match="4 forks are 1 different run"):
        opened(forks, tmp_path / "forks")


def test_an_older_folder_is_read_and_goes_on(folders):
    store = SweepStore(folders / "copies")
    assert len(stored_spec(store).runs()) == 12
    assert len(distinct_history(store).runs) == 3
    assert len(store.history().runs) == 12
    assert json.dumps(store.plan["runs"])


def test_forks_of_equal_parents_are_equal_where_the_parents_are_there_to_be_read(tmp_path):
    parents = trained(pinned({"data": 5}, [7, 8], [0, 1]), tmp_path / "parents")
    kept = ("name", "grid", "tracking", "resources")
    data = {name: value for name, value in tiny().identity().items() if name in kept}
    fork = {"sweep": str(parents.folder), "steps": [0], "changes": {"optimiser.lr": 0.5}}
    forks = opened(SweepSpec.model_validate(data | {"name": "forks", "budget": 30, "fork": fork}), tmp_path / "forks")
    again = {"sweep": str(forks.folder), "steps": [0], "changes": {"optimiser.lr": 0.25}}
    spec = SweepSpec.model_validate(data | {"name": "again", "budget": 30, "fork": again})
    grandchildren = opened(spec, tmp_path / "again")
    for store in (forks, grandchildren):
        keys = draw_keys_of([store])
        seeds = [(keys[row["run_id"]], row["init_seed"]) for row in store.plan["runs"]]
        assert len(seeds) == 4
        assert len({key for key, _ in seeds}) == len(set(seeds)) == 2
    assert len(set(draw_keys_of([parents, forks, grandchildren]).values())) == 6
    parents.folder.rename(tmp_path / "elsewhere")
    assert len(set(draw_keys_of([forks]).values())) == 4


def test_odd_plans_are_compared_by_ids():
    row = {"setting_id": "s", "init_seed": 0, "data_seed": 0, "fork_step": 0}
    rows = [{**row, "run_id": "a", "parent": "b"}, {**row, "run_id": "b", "parent": "a"}]
    circle = {"runs": rows, "settings": {"s": {**tiny().runs()[0].hyperparameters(), "streams.data": 5}}}
    assert len(set(draw_keys([circle]).values())) == 2
    unknown = {"runs": [{**row, "run_id": "a"}], "settings": {"s": {"task.name": "of_somebody", "streams.data": 5}}}
    assert draw_keys([unknown]) == {"a": "a"}


def test_the_table_of_runs_names_the_run_that_counts_for_each_of_its_copies(folders):
    sweep = Sweep(folders / "copies")
    rows = {row["run_id"]: row for row in sweep.runs().to_pylist()}
    equal = {row["run_id"]: row["equal_to"] for row in rows.values() if row["equal_to"] is not None}
    assert (len(rows), len(equal)) == (12, 9)
    assert not equal.keys() & set(equal.values())
    assert all(rows[run]["init_seed"] == rows[counts]["init_seed"] for run, counts in equal.items())
    assert sum(sweep.counts().values()) == 3
    assert "12 runs" in repr(sweep)
    assert repr(sweep).endswith("; 9 equal others, which count once)")
    assert sweep._repr_html_().count("<td>3</td>") == 1
    once = Sweep(folders / "once")
    assert once.runs()["equal_to"].null_count == 3
    assert "equal" not in repr(once)


def test_the_page_that_is_served_shows_each_run_once(folders):
    page = live_pages(SweepStore(folders / "copies"), None)[int(tiny().budget)]
    once = live_pages(SweepStore(folders / "once"), None)[int(tiny().budget)]
    sentence = "9 runs left out that equal others, which count once."
    assert sentence in page.html([], "")
    assert sentence not in once.html([], "")
    found, expected = page.changes(0, ["label_loss"]), once.changes(0, ["label_loss"])
    assert found == {"reload": True} == expected
    assert page.blob("metric_0") == once.blob("metric_0")
    assert [run.init_seed for run in page._history.runs] == [0, 1, 2]


def test_an_aggregate_in_wandb_is_over_different_runs(folders):
    found = []
    for name in ("copies", "once"):
        reader = CommitReader(SweepStore(folders / name))
        reader.refresh()
        (aggregate,) = [one for one in reader.tracked if one.job_type == "aggregate"]
        content = reader.content(aggregate, reader.progress(aggregate), -1)
        found.append(
            (len(reader.counted(aggregate)), [(row.step, row.values) for row in content.rows], content.summary)
        )
        assert content.config.get("num_equal_runs") == (9 if name == "copies" else None)
    assert found[0][0] == 3
    assert found[0] == found[1]


def test_in_wandb_too_the_furthest_of_equal_runs_counts(tmp_path):
    store = opened(pinned({"data": 5}, [7], range(3), converged=EASY, resources={"slots": 1}), tmp_path / "copies")
    reader = CommitReader(store)
    (aggregate,) = [one for one in reader.tracked if one.job_type == "aggregate"]
    run_ids = [row["run_id"] for row in store.plan["runs"]]
    assert reader.counted(aggregate) == run_ids[:1]
    ends = [CommittedProgress(step, reason) for step, reason in ((20, "running"), (10, "stopped"), (10, "diverged"))]
    for count, expected in ((1, 0), (2, 1), (3, 2)):
        assert reader._distinct(dict(zip(run_ids[:count], ends, strict=False))) == {run_ids[expected]}
        assert set(run_that_counts(run_ids[:count], ends[:count], reader._draw_keys)) == {expected}
