"""`analyse` and `report` on several folders: read as one sweep, named one by one, refused where they do not fit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.forecasting.folds import held_out_seeds
from analysis.outcomes.outcomes import decide_outcomes
from analysis.outcomes.subsets import evaluated_every, joined, joined_outcomes
from analysis.summary.text import describe_provenance
from pipeline.store.pack_store import StoreError
from pipeline.store.sweep_store import SweepStore
from sweeps.command import analysing
from sweeps.command.sources import read_source
from tests.analysis.synthetic import drop_runs, synthetic_history
from tests.support import tiny, trained
from tests.sweeps.test_cli import run
from tests.tracking.tracked import Sweep

WHOLE = synthetic_history(2, 12)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three sweeps: two that differ by seeds, and one that shares seeds with the first and has other rates."""
    folder = tmp_path_factory.mktemp("several")
    trained(tiny(), folder / "a")
    trained(tiny(name="later", seeds={"together": [4, 5, 6]}), folder / "b")
    trained(tiny(name="faster", vary=[{"optimiser.lr": [0.01]}]), folder / "c")
    return folder


def test_several_sweeps_are_one_analysis_that_names_them_all(folders, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "analyse", folders / "a", folders / "b", folders / "c")
    assert code == 0
    assert "tiny + later + faster: 11 runs of 2 settings" in printed
    document = json.loads((folders / "a+b+c" / "analysis.json").read_bytes())
    sources = document["provenance"]["sources"]
    assert {name: (source["folder"], source["runs"]) for name, source in sources.items()} == {
        "tiny": (str(folders / "a"), 4),
        "later": (str(folders / "b"), 3),
        "faster": (str(folders / "c"), 4),
    }
    assert all(source["sweep_id"] in " ".join(printed.split()) for source in sources.values())
    assert len(document["runs"]) == 11
    assert not (folders / "a" / "analysis.json").exists()


def test_a_report_of_several_sweeps_is_written_where_it_was_asked_for(folders, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("analysis.report.report.figures", lambda analysis: [])
    monkeypatch.setattr("analysis.report.report.render_html", lambda analysis, *_, **__: analysis.history.name)
    code, printed = run(monkeypatch, capsys, "report", folders / "a", folders / "b", "--out", tmp_path / "both")
    assert (code, f"report: {tmp_path / 'both/report/report.html'}" in printed) == (0, True)
    assert (tmp_path / "both" / "report" / "report.html").read_text() == "tiny + later"
    code, printed = run(monkeypatch, capsys, "analyse", folders / "a", folders / "b", "--out", folders / "c")
    assert (code, "holds a sweep of its own" in printed) == (2, True)


def test_sweeps_of_one_name_are_told_apart_by_folder(tmp_path):
    stores = [trained(tiny(seeds={"together": [seed]}), tmp_path / f"s{seed}") for seed in (0, 1)]
    found = read_source(stores)
    assert found.history.name == f"tiny ({tmp_path / 's0'}) + tiny ({tmp_path / 's1'})"
    assert describe_provenance(found.provenance).count("sweep_id") == 2


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"budget": 300}, "different budgets.*/a: 400 steps; .*/b: 300 steps"),
        ({"converged": 0.5}, "different criteria.*/a: label_excess <= 0.02 .*/b: label_excess <= 0.5"),
    ],
    ids=["budget", "criterion"],
)
def test_sweeps_that_do_not_fit_are_refused_by_name(other, said, tmp_path, monkeypatch):
    one = Sweep(tmp_path / "a", mode="disabled")
    two = Sweep(tmp_path / "b", budget=other.get("budget", 400), mode="disabled")
    for sweep in (one, two):
        for run_id in sweep.run_ids:
            sweep.train(run_id, 100)
        sweep.commit()
    if "converged" in other:
        body = two.store.sweep
        body["spec"]["converged"]["at_most"] = other["converged"]
        two.store.write_documents(body, two.store.plan, is_shared=False)
    with pytest.raises(StoreError, match=said):
        read_source([one.store, two.store])


def test_runs_are_judged_by_the_evaluations_of_their_own_sweep():
    first, second = (drop_runs(WHOLE, np.arange(24) % 2 == half) for half in (0, 1))
    rare = evaluated_every(second, 100)
    kinds = [decide_outcomes(history).kind_R for history in (first, rare)]
    found = joined_outcomes([decide_outcomes(history) for history in (first, rare)])
    np.testing.assert_array_equal(found.kind_R, np.concatenate(kinds))
    assert np.sum(found.kind_R == "converged") > np.sum(decide_outcomes(joined([first, rare])).kind_R == "converged")
    lax = decide_outcomes(rare, replace(found.criterion, at_most=0.1))
    with pytest.raises(ValueError, match="different criteria"):
        joined_outcomes([decide_outcomes(first), lax])


def test_seeds_that_two_sweeps_share_stay_in_one_fold():
    again = replace(WHOLE, runs=tuple(replace(run, run_id=f"{run.run_id}'", setting_id="other") for run in WHOLE.runs))
    whole = joined([WHOLE, again])
    for fold in held_out_seeds(whole.runs).folds:
        seeds = [{run.init_seed for run, use in zip(whole.runs, half_R, strict=True) if use}
                 for half_R in (fold.train_R, fold.test_R)]  # fmt: skip
        assert not seeds[0] & seeds[1]


def test_the_ceiling_of_a_sweep_is_read_for_its_own_budget_and_for_it_alone(folders, monkeypatch):
    rows = [{"window": 0.0, "step": 0, "auroc": 0.9, "low": None, "high": None, "parents": 64, "children": 20}]
    found = {"budget": 30, "rows": rows}
    monkeypatch.setattr(analysing, "read_ceiling", lambda folder: found)
    stores = [SweepStore(folders / name) for name in "ab"]
    assert analysing.analysis_of(stores[:1]).ceiling == tuple(rows)
    assert analysing.analysis_of(stores).ceiling == ()
    found["budget"] = 60
    assert analysing.analysis_of(stores[:1]).ceiling == ()
