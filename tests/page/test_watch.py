"""`seedbed watch`: reads what is new in each commit, answers this machine and the token alone, and shows it soon."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time

import numpy as np
import pytest

from analysis.outcomes.outcomes import decide_outcomes
from benchmarks.page.measure import page_of
from benchmarks.page.stub_sweep import BUDGET, commit, planned
from pipeline.store.pack_store import PackStore
from pipeline.store.records.record import Record
from pipeline.store.stored_forecast import newest_orders, write_forecast
from pipeline.store.tails.history_tail import HistoryTail
from sweeps.command.watch.live_page import live_pages
from sweeps.command.watch.server import PageServer

HALF = BUDGET // 2
METRIC = "label_excess"


@pytest.fixture
def store(tmp_path):
    """A sweep of 32 runs in two packs, nothing committed."""
    return planned(tmp_path / "drawn", 32)


@pytest.fixture
def server(store):
    """The page's server, on a thread; it looks at the store whenever it is asked."""
    with PageServer([live_pages(store, None)], "the-token") as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield found
        found.shutdown()


def same(tail, store):
    """Whether the tail has what the store has, to the bit."""
    found, whole = tail.history(), store.history()
    assert found.ends == whole.ends
    assert found.steps_T.tolist() == whole.steps_T.tolist()
    assert found.values.keys() == whole.values.keys()
    for name, values in whole.values.items():
        np.testing.assert_array_equal(found.values[name], values)


def asked(server, path, host=None, token="the-token"):
    """Status, headers and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest("GET", f"/{token}{path}", skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    reply = connection.getresponse()
    found = reply.status, dict(reply.getheaders()), reply.read()
    connection.close()
    return found


def test_a_tail_has_the_history_after_every_commit_and_reads_each_file_once(store, monkeypatch):
    read = []
    table = PackStore.table
    monkeypatch.setattr(PackStore, "table", lambda *given: read.append(given[1].name) or table(*given))
    tail = HistoryTail(store)
    assert not len(tail.poll())
    first, second = store.pack_ids()
    commit(store, first, 1, HALF, since=0)
    rows = tail.poll()
    assert {run.run_id for run in np.array(tail.history().runs, object)[rows]} == set(pack_runs(store, first))
    commit(store, second, 1, HALF, since=0)
    commit(store, first, 2, BUDGET, since=HALF)
    tail.poll()
    assert len(read) == 3
    same(tail, store)
    read.clear()
    assert not len(tail.poll())
    assert read == []


def pack_runs(store, pack_id):
    return next(pack["run_ids"] for pack in store.plan["packs"] if pack["pack_id"] == pack_id)


def test_a_later_attempt_that_lost_a_commit_takes_its_rows_back(store):
    tail = HistoryTail(store)
    first = store.pack_ids()[0]
    commit(store, first, 1, HALF, since=0)
    kept = store.pack(first).newest()
    commit(store, first, 2, BUDGET, since=HALF)
    tail.poll()
    pack = store.pack(first)
    again = pack.claim_attempt()
    pack.commit(Record(kept.sweep_id, first, again, 1, None, kept.history, (), kept.ends, kept.active))
    assert len(tail.poll()) == len(pack_runs(store, first))
    same(tail, store)
    assert np.isnan(tail.history().values[METRIC][:, tail.history().steps_T > HALF]).all()


def test_a_damaged_file_leads_to_the_commit_before_it(store):
    tail = HistoryTail(store)
    first = store.pack_ids()[0]
    commit(store, first, 1, HALF, since=0)
    commit(store, first, 2, BUDGET, since=HALF)
    damaged = store.pack(first).folder / store.pack(first).newest().history[1].name
    damaged.write_bytes(damaged.read_bytes()[:-9])
    tail.poll()
    same(tail, store)
    assert tail.history().steps_T[-1] == HALF


def test_who_lacks_the_token_or_comes_by_another_name_gets_nothing(server):
    port = server.server_port
    assert asked(server, "/")[0] == 200
    assert asked(server, "/", host=f"localhost:{port}")[0] == 200
    for token in ("", "the-toke", "the-token2", "THE-TOKEN"):
        status, _, content = asked(server, "/", token=token)
        assert status == 403
        assert b"drawn" not in content
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert asked(server, "/", host=host)[0] == 421
    assert server.server_address[0] == "127.0.0.1"


def test_answers_may_be_kept_framed_and_guessed_by_nobody(server):
    _, headers, content = asked(server, "/")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert b"the-token" not in content


def test_what_the_page_does_not_ask_is_refused(server):
    for path, status in {
        "/changes": 400, "/changes?since=x&metrics=[]": 400, "/changes?since=0&metrics={": 400, "/?budget=x": 400,
        "/blob/metric_99": 404, "/blob/../sweep.json": 404, "/sweep.json": 404, "/?budget=7": 404,
        "/blob/attention-nobody": 404,
    }.items():  # fmt: skip
        assert asked(server, path)[0] == status, path


def test_changes_hold_the_runs_that_a_commit_is_about_and_no_other(server, store):
    page = next(iter(server.sweeps[0].values()))
    start = json.loads(asked(server, f"/changes?since={page.version}&metrics=[]")[2])
    assert "runs" not in start
    first = store.pack_ids()[0]
    commit(store, first, 1, BUDGET, since=0)
    time.sleep(0.9)
    found = json.loads(asked(server, f'/changes?since={start["version"]}&metrics=["{METRIC}"]')[2])
    history = store.history()
    assert {history.runs[row].run_id for row in found["runs"]["run"]} == set(pack_runs(store, first))
    assert found["values"][METRIC]["steps"] == history.steps_T.tolist()
    outcomes = decide_outcomes(history, page.criterion)
    assert found["runs"]["upper"] == outcomes.upper_R[found["runs"]["run"]].tolist()
    later = json.loads(asked(server, f"/changes?since={found['version']}&metrics=[]")[2])
    assert "runs" not in later
    assert json.loads(asked(server, "/changes?since=999&metrics=[]")[2]) == {"reload": True}


def test_an_open_page_is_loaded_again_once_another_of_equal_runs_counts(store, monkeypatch):
    first, second = store.pack_ids()
    one, other = pack_runs(store, first)[0], pack_runs(store, second)[0]
    draws = {row["run_id"]: row["run_id"] for row in store.plan["runs"]} | {other: one}
    monkeypatch.setattr("sweeps.command.watch.live_page.draw_keys_of", lambda stores: draws)
    page = live_pages(store, None)[BUDGET]
    before = page.version
    commit(store, first, 1, HALF, since=0)
    page.refresh()
    shown = [run.run_id for run in page._history.runs]
    assert one in shown
    assert len(shown) == 31
    since = page.version
    assert len(page.changes(before, [METRIC])["runs"]["run"]) == len(pack_runs(store, first))
    commit(store, second, 1, BUDGET, since=0)
    page.refresh()
    shown = [run.run_id for run in page._history.runs]
    assert other in shown
    assert one not in shown
    assert page.changes(since, [METRIC]) == {"reload": True}
    assert "reload" not in page.changes(page.version, [METRIC])
    assert "1 run left out that equals another" in page.html([], "")
    since = page.version
    commit(store, first, 2, BUDGET, since=HALF)
    page.refresh()
    found, history = page.changes(since, [METRIC]), store.history()
    changed = [page._history.runs[row].run_id for row in found["runs"]["run"]]
    assert set(changed) == {*pack_runs(store, first)} - {one}
    rows = [row for row, run in enumerate(history.runs) if run.run_id in changed]
    values = np.frombuffer(base64.b64decode(found["values"][METRIC]["rows"]), "<f4").reshape(len(rows), -1)
    np.testing.assert_allclose(values, history.values[METRIC][rows], rtol=1e-6)


def test_an_open_page_shows_commits_and_forecasts_within_three_seconds(server, store, tab):
    first, second = store.pack_ids()
    commit(store, first, 1, HALF, since=0)
    page = tab()
    page.open(server.url)
    assert page.text("#count") == "all 32 runs"
    assert "not ended)" in page.text("#findings")
    commit(store, second, 1, HALF, since=0)
    commit(store, first, 2, BUDGET, since=HALF)
    began = time.monotonic()
    row = next(i for i, run in enumerate(store.history().runs) if run.run_id == pack_runs(store, first)[0])
    page.wait(f"seedbed.sweep.columns.step[{row}] === {BUDGET}", timeout_s=10)
    assert time.monotonic() - began < 3
    page.drawn()
    history, criterion = store.history(), next(iter(server.sweeps[0].values())).criterion
    values = page.value("[seedbed.curves.metric.steps, [...seedbed.curves.metric.values].map(String)]")
    assert values[0] == history.steps_T.tolist()
    found_RT = np.array(values[1], float).reshape(history.values[METRIC].shape)
    np.testing.assert_allclose(found_RT, history.values[METRIC], rtol=1e-6)
    outcomes = decide_outcomes(history, criterion)
    assert page.text("#findings").startswith(f"{outcomes.count('converged')} of 32 runs converged")
    assert "the others are at step" in page.text("#live")
    training = pack_runs(store, second)
    rows = [{"run_id": run, "step": HALF, "window": 0.5, "converged": 0.625, "diverged": 0.0, "median": 3000.0,
             "low": 2000.0, "high": "beyond the budget", "problem": None} for run in training]  # fmt: skip
    windows = [{"fraction": 0.5, "num_finished": 20}]
    document = {"budget": BUDGET, "runs": rows, "windows": windows, "source": "itself", "notes": []}
    assert write_forecast(store, newest_orders(store), 32, document)
    page.wait("seedbed.probabilityColumn === 'newest'", timeout_s=10)
    page.drawn()
    known = page.value("seedbed.table.order.filter((run) => seedbed.sweep.probability(run, 'newest') === 0.625).length")
    assert known == len(training)
    assert "About 10 (90%: 5-15) of 16 runs in training converge" in page.text("#findings")


def test_a_sweep_without_a_commit_is_shown_and_filled_later(server, store, tab):
    page = tab()
    page.open(server.url)
    assert "0 of 32 runs converged" in page.text("#findings")
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET, since=0)
    page.wait("document.querySelector('#live').textContent === 'All 32 runs have ended'", timeout_s=10)
    page.drawn()
    assert page.value("seedbed.curves.metric.steps.length") == len(store.history().steps_T)
    assert page.value("document.querySelector('#metric').options.length") == len(store.history().values)


@pytest.fixture
def both(store, tmp_path):
    """The server of two sweeps, of 32 and of 16 runs."""
    second = planned(tmp_path / "other", 16)
    with PageServer([live_pages(store, None), live_pages(second, None)], "the-token") as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield found, second
        found.shutdown()


def test_several_sweeps_have_a_list_that_follows_them_and_a_page_each(both, tab):
    server, second = both
    page = tab(400)
    page.open(server.url, wait_for="document.querySelectorAll('#sweeps li').length === 2")
    assert page.value("document.documentElement.scrollWidth") <= 400
    rows = page.value("[...document.querySelectorAll('#sweeps li')].map((row) => row.textContent)")
    assert [("32 runs" in row, "16 runs" in row) for row in rows] == [(True, False), (False, True)]
    for pack_id in second.pack_ids():
        commit(second, pack_id, 1, BUDGET, since=0)
    page.wait("document.querySelector('#sweeps li:nth-child(2) .ended')?.textContent === 'All 16 runs have ended'", 10)
    assert "0 of 32" in page.text("#sweeps li:first-child")
    page.open(page.value("document.querySelector('#sweeps li:nth-child(2) a').href"))
    assert page.text("#count") == "all 16 runs"
    assert page.value("seedbed.curves.metric.steps.length") == len(second.history().steps_T)
    page.wait("document.querySelector('#live').textContent === 'All 16 runs have ended'", 10)
    assert page.value("document.querySelector('nav a').href") == server.url
    for path in ("/?sweep=2", "/?sweep=-1", "/changes?sweep=2&since=0&metrics=[]"):
        assert asked(server, path)[0] == 404
    assert json.loads(asked(server, "/sweeps")[2])[0]["is_done"] is False


def test_a_sweep_that_has_ended_leads_to_its_report_which_runs_our_script_alone(server, store, tab):
    report = store.folder / "report" / "report.html"
    report.parent.mkdir()
    report.write_text("too early", encoding="utf-8")
    page = tab()
    page.open(server.url)
    assert page.value("document.querySelector('#report').hidden")
    assert asked(server, "/report")[0] == 404
    for pack_id in store.pack_ids():
        commit(store, pack_id, 1, BUDGET, since=0)
    hostile = "<script>window.hit = 1; fetch('../')</script></body>"
    report.write_text(page_of(store).replace("</body>", hostile), encoding="utf-8")
    page.wait("!document.querySelector('#report').hidden", 10)
    page.open(page.value("document.querySelector('#report').href"))
    assert page.text("#count") == "all 32 runs"
    assert page.value("[window.hit, window.origin]") == [None, "null"]
    assert any("Content Security Policy" in error for error in page.errors())
    page.forget()
    elsewhere = report.rename(report.with_name("elsewhere.html"))
    report.symlink_to(elsewhere)
    assert asked(server, "/report")[0] == 404


@pytest.mark.parametrize("windows", [[{"fraction": 0.25}], [{"fraction": 0.25, "last_step": None}], ["0.25"], None])
def test_an_analysis_of_another_version_shows_no_forecasts(store, windows):
    runs = [{"run_id": row["run_id"], "p_converged": [0.5]} for row in store.plan["runs"]]
    whole = {"runs": runs, "evaluation": {"windows": [{"fraction": 0.25, "last_step": 9}]}}
    for document, is_shown in ((whole, True), (whole | {"evaluation": {"windows": windows}}, False)):
        (store.folder / "analysis.json").write_text(json.dumps(document))
        (page,) = live_pages(store, None).values()
        assert ("held_out_0" in page.html([], "report")) is is_shown
