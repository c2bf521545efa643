"""What all figures share: no text over another, every axis with a title, findings as titles, provenance last."""

from __future__ import annotations

import re
from dataclasses import replace

import altair as alt
import numpy as np
import pytest

from analysis.figures.figures import figures, to_svg
from analysis.figures.history import converged_title
from analysis.figures.marks import band, diagonal, points_with_intervals, raster, reference, stairs, thin_lines
from analysis.figures.style import Figure, captioned, data, finish
from analysis.figures.token_diagram import Arc, Token, token_diagram
from analysis.outcomes.outcomes import decide_outcomes
from analysis.summary.analyse import analyse
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import synthetic_history
from tests.figure_texts import boxes, overlaps, untitled

ROWS = [{"step": step, "value": 0.5, "low": 0.4, "high": 0.6, "run": 0, "kind": "a"} for step in (0, 10, 20)]


@pytest.fixture(scope="module")
def drawn():
    history = synthetic_history(3, 12)
    return figures(analyse(history, provenance={"sweep_id": "abc", "git_commit": "0" * 40}, bootstrap=20))


def test_no_text_of_a_figure_lies_over_another(drawn):
    charts = [figure for figure in drawn if figure.chart is not None]
    assert len(charts) >= 6
    for figure in charts:
        svg = to_svg(figure)
        assert len(boxes(svg)) > 8
        assert not overlaps(svg), figure.name


def test_texts_that_do_overlap_are_found():
    chart = (
        alt.Chart(data([{"x": 1, "t": "one text"}, {"x": 1.01, "t": "another"}]))
        .mark_text()
        .encode(x="x:Q", text="t:N")
    )
    assert ("another", "one text") in overlaps(to_svg(Figure("a", "a", "", chart)))


def test_every_axis_has_a_title(drawn):
    for figure in drawn:
        if figure.chart is not None:
            assert not untitled(figure.chart.to_dict()), figure.name
    assert untitled(alt.Chart(data(ROWS)).mark_point().encode(x="step:Q", y=alt.Y("value:Q", title="v")).to_dict())


def test_titles_state_what_was_found_with_its_number(drawn):
    titles = {figure.name: figure.title for figure in drawn if figure.chart is not None}
    assert all(re.search(r"\d", title) for title in titles.values()), titles
    analysis = analyse(synthetic_history(3, 12), bootstrap=20)
    converged = analysis.outcomes.count("converged")
    assert titles["learning_curves"] == f"{converged} of 36 runs converge within {analysis.history.budget} steps"
    shares = sorted(setting.converged.value for setting in analysis.settings)
    low, high = (f"{share:.2f}".lstrip("0") for share in (shares[0], shares[-1]))
    assert titles["converged_fraction"].startswith(f"{low} to {high} of the runs of a setting converge by step ")
    upper = analysis.outcomes.upper_R[analysis.outcomes.is_kind_R("converged")]
    middle = np.sort(upper)[(len(upper) + 1) // 2 - 1]
    assert f"do so at step {middle:.0f} " in titles["times_to_convergence"]


def test_a_title_says_no_more_than_is_known():
    history = synthetic_history(2, 6)
    values = dict(history.values) | {"label_excess": np.ones_like(history.values["label_excess"])}
    by_name = {figure.name: figure for figure in figures(analyse(replace(history, values=values), bootstrap=5))}
    assert by_name["times_to_convergence"].chart is None
    assert by_name["learning_curves"].title.startswith("0 of 12 runs converge")


def test_a_title_counts_the_runs_of_which_it_is_not_known_whether_they_converge():
    history = synthetic_history(1, 4)
    values = {"label_excess": np.where(history.steps_T == 0, 1.0, np.full((4, 1), np.nan))}
    values["label_excess"][:2, 1:] = [[0.0], [1.0]]
    ends = (*history.ends[:2], RunEnd("running", 10), RunEnd("stopped", 10))
    ended = tuple(RunEnd("budget", history.budget) if r < 2 else end for r, end in enumerate(ends))
    outcomes = decide_outcomes(replace(history, values=values, ends=ended))
    assert converged_title(outcomes, 100) == "1 of 4 runs converge within 100 steps; of 2 it is not known"
    assert converged_title(outcomes.rows(np.arange(4) < 2), 100) == "1 of 2 runs converge within 100 steps"


def test_captions_end_with_where_the_data_come_from(drawn):
    for figure in drawn:
        if figure.chart is not None:
            lines = figure.chart.to_dict()["title"]["subtitle"]
            assert " ".join(lines).endswith(f"synthetic: 36 runs, sweep_id abc, commit {'0' * 40}.")
            (start,) = (number for number, line in enumerate(lines) if line.startswith("synthetic: 36 runs"))
            assert start > 0
    assert captioned(["Seen."], ["From here."]) == ["Seen.", "From here."]


def test_marks_draw_what_their_rows_hold():
    x, y = alt.X("step:Q", title="step"), alt.Y("value:Q", title="v")
    base = alt.Chart(data(ROWS)).encode(x=x)
    unknown = alt.Chart(data([row | {"low": None, "high": None} for row in ROWS])).encode(x=x)
    across = alt.Chart(data(ROWS)).encode(y=alt.Y("kind:N", title=None))

    def paths(chart):
        svg = to_svg(Figure("a", "a", "", finish(chart, "a", [])))
        return [
            len(re.findall(rf'class="mark-{kind} role-mark', svg))
            for kind in ("area", "line", "rule", "symbol", "rect")
        ]

    def count(chart, role):
        svg = to_svg(Figure("a", "a", "", finish(chart, "a", [])))
        return len(re.findall(rf'aria-roledescription="{role}"', svg))

    assert paths(band(base, "v"))[:2] == [1, 1]
    assert count(band(base, "v", point=20), "point") == 3
    assert count(points_with_intervals(base, "v"), "rule mark") == 3
    assert count(points_with_intervals(unknown, "v"), "rule mark") == 0
    assert count(points_with_intervals(unknown, "v"), "point") == 3
    assert count(points_with_intervals(across, "v", along="x"), "rule mark") == 3
    assert paths(stairs(base, "v"))[:2] == [1, 1]
    assert paths(thin_lines(base, y))[1] == 1
    cells = raster(ROWS, alt.X("step:O", title="step"), alt.Y("kind:N", title="kind"), alt.Color("value:Q"))
    assert count(cells, "rect mark") == 3
    assert paths(reference(0.5) + base.mark_point().encode(y=y))[2] == 1
    equal = alt.Y("value:Q", title="v", scale=alt.Scale(domain=[0, 1]))
    assert paths(diagonal(alt.X("step:Q", title="step"), equal, 0, 1))[1] == 1


def test_a_picture_of_tokens_has_a_box_for_each_and_an_arc_from_query_to_key_and_refuses_others():
    tokens = [Token(("a",), "key"), Token(("1", "2"), "value")]
    colours = {"key": "red", "value": "blue", "look": "black"}

    def rows(arc):
        return [layer.data.values for layer in token_diagram(tokens, [arc], colours).layer]

    squares, texts, curve, heads = rows(Arc(1, 0, "look"))
    assert [row["colour"] for row in squares] == ["red", "blue"]
    assert [row["text"] for row in texts] == ["a", "1", "2"]
    assert (curve[0]["x"], curve[-1]["x"], heads[0]["x"]) == (1, 0, 0)
    assert max(row["y"] for row in curve) > max(row["y2"] for row in squares)
    assert max(row["y"] for row in rows(Arc(1, 0, "look", is_above=False))[2]) < 0
    for arc in (Arc(2, 0, "look"), Arc(1, -1, "look")):
        with pytest.raises(IndexError, match="leaves the 2 tokens"):
            token_diagram(tokens, [arc], colours)
