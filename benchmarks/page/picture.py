"""The picture of the page in docs/dashboards.md: some runs of the quickstart are chosen, as a reader would.

`benchmarks.docs` makes it where there is a browser; by itself `python -m benchmarks.page.picture RESULTS`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.page.chromium import Browser, Tab

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "page.png"
SIZE = (1300, 960)
# The runs that converge in the middle of the budget, chosen by a drag on the panel of convergence over time.
FROM, TO = 0.43, 0.68


def main() -> None:
    """Write the picture of the report in the results folder that the command line names."""
    draw(Path(sys.argv[1]) / "report" / "report.html", PICTURE)


def draw(report: Path, to: Path) -> None:
    """A screenshot of a report, with a choice of runs."""
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        try:
            tab = Tab(browser, *SIZE)
            tab.open(report.resolve().as_uri())
            tab.drawn()
            left, top = tab.value(
                "(({left, top}) => [left, top])(document.querySelector('#incidence canvas').getBoundingClientRect())"
            )
            start, end = (
                tab.value(f"seedbed.incidence.x.pixel({share} * seedbed.sweep.state.budget)") for share in (FROM, TO)
            )
            tab.drag((left + start, top + 60), (left + end, top + 80))
            tab.hover(4, 4)
            tab.screenshot(to)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
