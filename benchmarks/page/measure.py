"""The page of a sweep of 10,000 runs in a headless browser on this machine: size, first paint, brushing, following.

    python -m benchmarks.page.measure

Figures go to benchmarks/results/page.json and into docs/dashboards.md. Times are of a machine that does nothing else;
the load average beside them says whether it did.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.page.data import PageData, blob_of, forecast_names, page_state, runs_blob
from analysis.page.findings import outcome_findings
from analysis.page.html import StaticPart, page_html
from analysis.page.sampled import shown_metrics
from benchmarks.bench import FOLDER, between, provenance_of, read
from benchmarks.page.chromium import Browser, Tab
from benchmarks.page.stub_sweep import BUDGET, CHUNK, METRICS, NUM_POINTS, commit, planned
from pipeline.store.sweep_store import SweepStore
from sweeps.command.sources import read_source

NUM_RUNS, TRIES, MOVES, NUM_COMMITS = 10_000, 7, 40, 10
HALF, LATER = BUDGET // 2, BUDGET // 2 + 5 * CHUNK
KEPT = FOLDER / "page.json"
PAGE = Path(__file__).parents[2] / "docs" / "dashboards.md"
MARKERS = ("<!-- page: begin -->", "<!-- page: end -->")
# Paths of the pointer: boxes that grow from a point of the curves by so much, on the steep part and over nearly all.
BOX, LARGE_BOX = ((222, 85), (420, 290)), ((92, 15), (700, 400))


def main() -> None:
    """Measure, keep and show."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = planned(folder / "drawn", NUM_RUNS)
        for pack_id in store.pack_ids():
            commit(store, pack_id, 1, HALF, since=0)
        browser = Browser(folder / "profile")
        try:
            figures = followed(browser, store)
            for number, pack_id in enumerate(store.pack_ids()):
                commit(store, pack_id, 3, BUDGET, since=LATER if number < NUM_COMMITS else HALF)
            page = folder / "page.html"
            page.write_text(page_of(store), encoding="utf-8")
            figures |= {"bytes": page.stat().st_size, **shown(browser, page.as_uri())}
        finally:
            browser.close()
    document = {
        "runs": NUM_RUNS, "points": NUM_POINTS, "metrics": len(METRICS), "figures": figures,
        "load": os.getloadavg()[0], "measured": provenance_of(time.perf_counter() - began),
    }  # fmt: skip
    KEPT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8"), document), encoding="utf-8")
    print("\n".join(lines(document)))


def page_of(store: SweepStore) -> str:
    """The page as one file, with probabilities that are drawn in place of forecasts."""
    source = read_source([store])
    history, outcomes = source.history, source.outcomes
    drawn_R = 0.5 * outcomes.is_kind_R("converged") + 0.5 * np.random.default_rng(0).random(len(history.runs))
    names = {"held_out_0": (0.25, BUDGET // 4)}
    state = page_state(history, outcomes) | {
        "findings": outcome_findings(history, outcomes),
        "forecasts": forecast_names(names, None),
    }
    blobs = {"runs": runs_blob(history, outcomes, {"held_out_0": drawn_R}, None)}
    blobs |= {f"metric_{i}": blob_of(history, outcomes, name) for i, name in enumerate(shown_metrics(history))}
    return page_html(PageData(state, blobs), StaticPart())


def shown(browser: Browser, address: str) -> dict[str, Any]:
    """Milliseconds to the first paint, drawn curves and everything, and from a move of a brush to the end of its frame.

    Those named cpu are of processor time of the page's main thread, which other programs hardly lengthen.
    """
    paints, curves, ready, redraws, all_redraws = [], [], [], [], []
    cpu: dict[str, list[float]] = {"ready": [], "brush": [], "brush_all": []}
    for _ in range(TRIES):
        tab = Tab(browser)
        tab.send("Performance.enable", timeDomain="threadTicks")
        tab.open(address)
        cpu["ready"].append(_thread_ms(tab))
        paints.append(tab.value("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        curves.append(tab.value("performance.getEntriesByName('curves')[0].startTime"))
        ready.append(tab.value("performance.getEntriesByName('ready')[0].startTime"))
        tab.drawn()
        for name, (start, reach), found in (("brush", BOX, redraws), ("brush_all", LARGE_BOX, all_redraws)):
            tab.value("seedbed.clear()")
            tab.drawn()
            before_ms = _thread_ms(tab)
            durations = _brushed(tab, start, reach)
            cpu[name].append((_thread_ms(tab) - before_ms) / (len(durations) + 1))
            found += durations
        tab.close()
    return {
        "first_paint_ms": quartiles(paints), "curves_ms": quartiles(curves),
        "ready_ms": quartiles(ready), "brush_ms": quartiles(redraws),
        "brush_all_ms": quartiles(all_redraws), **{f"{name}_cpu_ms": quartiles(found) for name, found in cpu.items()},
    }  # fmt: skip


def _thread_ms(tab: Tab) -> float:
    """Processor time of the page's main thread so far."""
    metrics = {metric["name"]: metric["value"] for metric in tab.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(metrics["TaskDuration"])


def _brushed(tab: Tab, start: tuple[float, float], reach: tuple[float, float]) -> list[float]:
    tab.value("performance.clearMeasures()")
    left, top = tab.value("(({left, top}) => [left, top])(document.querySelector('#curves').getBoundingClientRect())")
    start = (start[0] + left, start[1] + top)
    tab.mouse("mousePressed", *start)
    for move in range(1, MOVES + 1):
        tab.mouse("mouseMoved", *(a + move / MOVES * b for a, b in zip(start, reach, strict=True)))
    tab.mouse("mouseReleased", start[0] + reach[0], start[1] + reach[1])
    tab.drawn()
    found: list[float] = tab.value("performance.getEntriesByName('redraw').map((entry) => entry.duration)")
    # The last one is after the brush: it draws medians as well.
    return found[:-1]


def followed(browser: Browser, store: SweepStore) -> dict[str, Any]:
    """Seconds from a commit of 250 runs to its being drawn, and the share of a core that the server used."""
    packs = store.pack_ids()
    command = [sys.executable, "-m", "sweeps.cli", "watch", str(store.folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        tab = Tab(browser)
        tab.open(server.stdout.readline().removeprefix("page: ").strip())
        tab.drawn()
        first_s, began = _cpu_s(server.pid), time.monotonic()
        delays = [_delay_s(tab, lambda p=pack_id: _next(store, p)) for pack_id in packs[:NUM_COMMITS]]
        share = (_cpu_s(server.pid) - first_s) / (time.monotonic() - began)
        idle_s, idle_began = _cpu_s(server.pid), time.monotonic()
        time.sleep(20)
        idle = (_cpu_s(server.pid) - idle_s) / (time.monotonic() - idle_began)
        tab.close()
    finally:
        server.terminate()
        server.wait()
    return {"delay_s": quartiles(delays), "server_share": share, "server_share_between_commits": idle}


def _next(store: SweepStore, pack_id: str) -> None:
    commit(store, pack_id, 2, LATER, since=HALF)


def _delay_s(tab: Tab, make_commit: Callable[[], None]) -> float:
    before = tab.value("seedbed.version")
    make_commit()
    began = time.monotonic()
    tab.wait(f"seedbed.version > {before}", timeout_s=30)
    tab.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    delay = time.monotonic() - began
    # A pack of a real sweep commits every minute; ten seconds between commits are those of six packs.
    time.sleep(max(0.0, 10 - delay))
    return delay


def _cpu_s(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quartiles(values: list[float]) -> list[float]:
    """Median, first quartile, third quartile, and how many."""
    return [round(float(np.quantile(values, q)), 3) for q in (0.5, 0.25, 0.75)] + [len(values)]


def lines(document: dict[str, Any]) -> list[str]:
    """The table of figures."""
    figures, measured = document["figures"], document["measured"]

    def row(what: str, name: str, unit: str, digits: int) -> str:
        median, low, high, count = figures[name]
        return f"| {what} | {median:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f}) | {count} |"

    return [
        "| what | median (quartiles) | n |",
        "|---|---|---|",
        f"| the page as one file | {figures['bytes'] / 1e6:.1f} MB | 1 |",
        row("from its address to the first paint", "first_paint_ms", "ms", 0),
        row("from its address to drawn curves", "curves_ms", "ms", 0),
        row("from its address to everything drawn", "ready_ms", "ms", 0),
        row("from a move of a brush to everything drawn, a box on the steep part", "brush_ms", "ms", 0),
        row("the same, a box that takes in nearly all runs", "brush_all_ms", "ms", 0),
        row("processor time to everything drawn", "ready_cpu_ms", "ms", 0),
        row("processor time of a move of the brush, a box on the steep part", "brush_cpu_ms", "ms", 0),
        row("the same, a box that takes in nearly all runs", "brush_all_cpu_ms", "ms", 0),
        row("from a commit of 250 runs to its being drawn in an open page", "delay_s", "s", 1),
        f"| share of a core that the server uses at a commit every 10 s | {figures['server_share']:.1%} | 1 |",
        f"| the same without commits | {figures['server_share_between_commits']:.1%} | 1 |",
        "",
        f"On {measured['hardware']['cores']} cores of {measured['hardware']['processor']}, "
        f"{document['runs']:,} runs of {document['points']} points of {document['metrics']} metrics, headless Chromium "
        f"without a GPU; the load average was {document['load']:.1f}.{_busy(document)}",
    ]


def _busy(document: dict[str, Any]) -> str:
    """What other programs did to the figures, if they kept the machine busy."""
    if document["load"] <= document["measured"]["hardware"]["cores"]:
        return ""
    return (
        " Other programs kept the machine busy, which lengthens times by the clock many times over, and processor "
        "times little: these are nearest to the times by the clock of an idle machine."
    )


def with_figures(text: str, document: dict[str, Any]) -> str:
    """The document with the table between its markers."""
    return between(text, MARKERS, lines(document))


def kept() -> dict[str, Any]:
    """The stored measurements."""
    return read(KEPT)


if __name__ == "__main__":
    main()
