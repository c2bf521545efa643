"""A sweep in training: what is not known yet is not drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.figures.history import converged_fraction
from analysis.report.report import render_html
from analysis.summary.analyse import analyse
from pipeline.store.history import RunEnd
from tests.analysis.synthetic import synthetic_history

SEEN = 1000


@pytest.fixture(scope="module")
def analysis():
    """Runs of which none has been trained beyond a step, short of the budget."""
    history = synthetic_history(2, 12, diverge_share=0.0)
    values = {name: np.where(history.steps_T > SEEN, np.nan, array) for name, array in history.values.items()}
    ends = tuple(RunEnd("running", SEEN) for _ in history.ends)
    return analyse(replace(history, ends=ends, values=values), bootstrap=2)


def test_the_page_estimates_no_share_beyond_what_was_seen(analysis, tab, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render_html(analysis, []), encoding="utf-8")
    page = tab()
    page.open(path.as_uri())
    assert 0 < analysis.outcomes.count("converged") < 24
    assert f"converged by step {SEEN:,}, beyond which nothing is known yet" in page.text("#incidence-note")
    right = page.value(
        """(() => { const v = seedbed.incidence, c = v.canvas.getContext('2d'), ratio = v.canvas.width / v.size[0];
        const high = v.canvas.height - 50 * ratio, p = c.getImageData(0, 0, v.canvas.width, high).data;
        let last = 0;
        for (let i = 0; i < p.length; i += 4)
          if (p[i + 2] - p[i] > 100 && p[i + 3] > 200) last = Math.max(last, (i / 4) % v.canvas.width);
        return v.x.value(last / ratio); })()"""
    )
    assert abs(right - SEEN) < 15
    converged = "document.querySelector('#outcomes button:nth-child(1)')"
    page.value(f"{converged}.click()")
    page.drawn()
    assert "100% converged by the budget" in page.text("#incidence-note")


def test_the_figure_of_shares_ends_where_nothing_is_known(analysis):
    (rows,) = converged_fraction(analysis).chart.to_dict()["datasets"].values()
    assert max(row["step"] for row in rows) == SEEN
