"""The tables of the documents are those of the results that lie beside the benchmark."""

from __future__ import annotations

import json
import math

import pytest

from analysis.outcomes.outcomes import DEFAULT_CRITERION
from analysis.summary.analyse import analyse
from benchmarks import bench, docs, limits
from benchmarks.forecasts import learning_curve, scores
from benchmarks.measure import Pairs
from benchmarks.rows import Row, paired, table
from benchmarks.zoo import cuda
from tests.analysis.synthetic import synthetic_history


def test_the_speed_page_shows_what_was_measured_and_defines_the_workloads():
    text = bench.PAGE.read_text()
    assert bench.with_results(text) == text


def test_the_page_on_compiling_shows_what_kernels_take_as_kept():
    text = cuda.PAGE.read_text()
    assert cuda.with_cuda(text, bench.read(cuda.KEPT)) == text


def test_the_page_on_forecasts_shows_the_benchmark_as_kept():
    text = scores.PAGE.read_text()
    assert scores.with_table(text, scores.read(scores.KEPT)) == text


def test_the_benchmarks_table_has_a_line_for_each_predictor_and_for_the_ceiling():
    row = {
        "row": scores.RANKING,
        "predictor": scores.PRIMARY,
        "task": "a",
        "window": 0.05,
        "value": 0.8,
    }
    row |= {"low": 0.7, "high": 0.9, "n": 40, "ceiling": 0.95}
    lines = scores.table_lines([row, row | {"row": "coverage", "value": 0.1}])
    assert lines[2:] == [
        "| a (40) | ridge_time | .80 (.70-.90) |",
        "|  | best_statistic |  |",
        "|  | last_loss |  |",
        "| | attainable | .950 |",
    ]
    other = row | {"task": "b", "value": 0.6, "low": 0.4, "high": 0.8}
    assert scores.mean_lines([row, other])[2:] == ["| ridge_time | .70 (.59-.81) |"]


def test_the_page_on_forecasts_shows_the_learning_curve_as_kept():
    text = learning_curve.PAGE.read_text()
    assert learning_curve.with_curve(text, bench.read(learning_curve.KEPT)) == text


def test_a_learning_curve_has_a_line_for_each_predictor_and_number_of_runs():
    point = {"predictor": "a", "window": 0.0, "num_train": 40, "num_sets": 10, "value": 0.6, "low": 0.5, "high": 0.7}
    lines = learning_curve.curve_lines([point, point | {"num_train": 80, "num_sets": 1, "high": None}])
    assert lines[2:] == ["| a | 10 x 40 | .60 (.50-.70) |", "|  | 1 x 80 | .60 (n/a) |"]


def test_the_readme_shows_what_was_found():
    text = docs.README.read_text()
    assert docs.with_results(text, bench.read(docs.FORECASTS)) == text


def test_a_page_without_its_markers_is_refused_and_nothing_else_of_a_page_changes():
    assert bench.between("a\n<!-->\nold\n<!--.\nb", ("<!-->", "<!--."), ["new"]) == "a\n<!-->\n\nnew\n\n<!--.\nb"
    with pytest.raises(ValueError, match="unpack"):
        bench.between("a\nb", ("<!-->", "<!--."), ["new"])


def test_the_picture_puts_curves_beside_the_quality_of_forecasts():
    analysis = analyse(synthetic_history(2, 20, seed=1), DEFAULT_CRITERION, {"git_commit": "c", "sweep_id": "s"})
    chart = docs.curves_and_forecast(analysis).chart.to_dict()
    curves, quality = chart["hconcat"]
    assert "facet" in curves
    assert "AUROC" in json.dumps(quality)
    assert chart["title"]["text"].startswith("20 of 40 runs converge; at 25% of training")
    assert '"title": {"subtitle' not in json.dumps(chart["hconcat"])


def test_the_limit_study_shows_what_was_measured():
    documents = limits.read()
    assert documents
    assert all("\n".join(limits.lines(document)) in limits.PAGE.read_text() for document in documents)


@pytest.mark.parametrize(
    ("value", "is_limit", "verdict"),
    [
        (2.0, False, "holds"),
        (1.9, False, "missed"),
        (2.0, True, "holds"),
        (2.1, True, "missed"),
        (math.nan, False, "open"),
    ],
)
def test_a_target_is_judged_by_its_side(value, is_limit, verdict):
    (line,) = table([Row("S0", "something", 2.0, value, is_limit=is_limit).document()])[2:]
    assert line.endswith(f"| {verdict} |")


def test_a_paired_row_is_the_median_of_ratios_with_its_interval():
    import numpy as np

    row = paired("S0", "something", 1.0, Pairs(np.array([2.0, 4.0, 9.0]), np.array([1.0, 1.0, 3.0])))
    assert row.value == 3.0
    assert row.low <= 3.0 <= row.high
    assert row.details["num_pairs"] == 3
