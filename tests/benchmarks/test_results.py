"""The tables of the documents are those of the results that lie beside the benchmark."""

from __future__ import annotations

import math

import pytest

from benchmarks import bench, limits
from benchmarks.measure import Pairs
from benchmarks.rows import Row, paired, table


def test_the_readme_shows_what_was_measured():
    text = bench.README.read_text()
    assert bench.with_table(text, bench.read(bench.FOLDER / "cpu.json")["rows"]) == text


def test_the_limit_study_shows_what_was_measured():
    assert "\n".join(limits.lines(limits.read())) in limits.PAGE.read_text()


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
