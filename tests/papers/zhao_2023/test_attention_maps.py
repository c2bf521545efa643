"""Claims on attention maps on Zhao (2023): of different models, of other depths, and of single runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED
from analysis.claims.sweeps import Sweeps
from analysis.figures.figures import to_svg
from sweeps.zhao_2023.attention_maps.across_models import similarity_by_model
from sweeps.zhao_2023.attention_maps.by_query import VALUES
from sweeps.zhao_2023.attention_maps.depths import share_by_layer
from sweeps.zhao_2023.attention_maps.single_runs import LikenessOfRuns
from sweeps.zhao_2023.figures.across_models import attention_across_depths
from sweeps.zhao_2023.figures.by_query import attention_of_single_runs
from tests.figure_texts import overlaps
from tests.papers.zhao_2023.planted import Elsewhere, circuits, depths, judge, models, setting_a


def test_models_that_look_elsewhere_are_not_alike_though_the_runs_of_each_are():
    found = models()
    mixed = replace(found, snapshots=Elsewhere(found.snapshots, lambda run_id: run_id.startswith("24")))
    name = "different_models_attend_alike_from_values"
    assert judge(name, models=found).verdict == HOLDS
    assert (judge(name, models=mixed).verdict, judge(name, models=mixed).num_runs) == (DOES_NOT, 30)
    labels, mean_MM = similarity_by_model(Sweeps({"models": mixed}), queries=VALUES)
    assert labels == ["width=16, head_width=4", "width=16, head_width=8", "width=24, head_width=4"]
    assert (mean_MM[[0, 1, 2], [0, 0, 2]] > 0.9).all()
    assert (mean_MM[2, :2] < 0.5).all()
    # As many runs of each: of all pairs of different models, the mean is that over models.
    between = mean_MM[~np.eye(3, dtype=bool)].mean()
    assert judge(name, models=mixed).estimate.value == pytest.approx(between, abs=1e-9)
    assert "least alike: width=16, head_width=" in judge(name, models=mixed).evidence.note


def test_models_of_other_depth_that_look_back_in_another_layer_are_alike_there_and_not_in_the_first():
    mixed = depths(looks_back=lambda depth: 0 if depth == 2 else 1)
    first, chosen = (
        judge(f"models_of_other_depth_attend_alike_{where}", depths=mixed)
        for where in ("in_the_first_layer", "where_they_look_back")
    )
    assert (first.verdict, chosen.verdict) == (DOES_NOT, HOLDS)
    assert (first.num_runs, chosen.num_runs) == (30, 30)
    assert first.evidence.unit == "groups of runs that share a seed"
    shares = {depth: share_L.tolist() for depth, share_L in share_by_layer(mixed).items()}
    assert shares == {2: [1, 0], 3: [0, 1, 0], 4: [0, 1, 0, 0]}
    name = "models_of_other_depth_attend_alike_in_the_first_layer"
    without = judge(name, depths=replace(mixed, snapshots=None))
    assert (without.verdict, without.reason) == (UNDECIDED, "no attention map was kept")


def test_runs_that_attend_unlike_the_others_are_counted_and_named():
    found, name = setting_a(), "hardly_any_run_attends_unlike_the_others"
    odd = {run.run_id for run in found.history.runs[:15]}
    mixed = replace(found, snapshots=Elsewhere(found.snapshots, odd.__contains__))
    assert (judge(name, setting_a=found).verdict, judge(name, setting_a=found).estimate.value) == (HOLDS, 0)
    assert (judge(name, setting_a=mixed).verdict, judge(name, setting_a=mixed).estimate.value) == (DOES_NOT, 0.15)
    assert "of its values .25 look back" in judge(name, setting_a=mixed).evidence.note
    likeness = LikenessOfRuns.of(mixed)
    assert {run.run_id for run, at in zip(likeness.runs, likeness.likeness_R, strict=True) if at <= 0.6} == odd
    assert np.all(likeness.looking_back_R[15:] == 1)


def test_figures_by_depth_and_of_single_runs_have_the_estimates_in_their_titles():
    sweeps = {"depths": depths(looks_back=lambda depth: depth - 2), "setting_a": setting_a(40), "circuits": circuits()}
    drawn = [figure(Sweeps(sweeps)) for figure in (attention_across_depths, attention_of_single_runs)]
    of_depths, of_runs = drawn
    for where in ("in_the_first_layer", "where_they_look_back"):
        found = judge(f"models_of_other_depth_attend_alike_{where}", depths=sweeps["depths"])
        assert found.estimate.concise() in of_depths.title
    assert of_runs.title.startswith("A share of .00 (.00-.09) of the converged runs")
    ticks = of_runs.chart.to_dict()["datasets"].values()
    assert {row["sweep"] for rows in ticks for row in rows if "sweep" in row} == {"setting_a (n=40)", "circuits (n=40)"}
    assert not any(overlaps(to_svg(figure)) for figure in drawn)
