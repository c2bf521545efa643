"""Reproducing a paper: trained once, measured once, judged, drawn; the papers that come with seedbed are complete."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import altair as alt
import pytest

from analysis.claims.claims import HOLDS, UNDECIDED, Claim, ClaimBook, Evidence, Region
from analysis.claims.registration import Registration
from analysis.claims.sweeps import UndecidedError
from analysis.figures.claims import sweeps_caption
from analysis.figures.style import Figure, data, finish
from analysis.uncertainty.estimates import mean_of_runs, proportion_of_runs
from pipeline.launch.inline import launch_inline
from pipeline.launch.machine import machine_of
from pipeline.launch.planned import plan_for
from pipeline.planning.open_sweep import open_results
from pipeline.spec.sweep import load_spec
from pipeline.store.progress import unfinished
from sweeps import papers
from sweeps.command.reproducing import Reproduction, chosen_parts
from sweeps.papers import PROFILES, Measurement, Paper, PaperSweep, papers_of
from tests.support import tiny
from tests.sweeps.test_cli import run


def losses_are_small(sweeps):
    history = sweeps["small"].history
    is_small = (history.values["label_loss"][:, -1] < 3).astype(float)
    return Evidence.of(proportion_of_runs(is_small, history.runs), history.runs)


def measured_is_twice_the_step(sweeps):
    history = sweeps["small"].history
    return Evidence.of(mean_of_runs(history.values["twice"][:, -1], history.runs), history.runs)


def larger_is_better(sweeps):
    return Evidence(1, 1, 1, len(sweeps["large"].history.runs))


BOOK = ClaimBook(
    "Fake 2020",
    [
        Claim(measure.__name__, statement, value, region, "losses", measure, least_runs=4)
        for measure, statement, value, region in (
            (losses_are_small, "Losses stay below 3", "all", Region(low=0.3)),
            (measured_is_twice_the_step, "What was measured is twice the step", "60", Region(59, 61)),
            (larger_is_better, "Larger ones are better", "yes", Region(low=0)),
        )
    ],
)


def losses(sweeps):
    chart = alt.Chart(data([{"x": 1, "y": 2}])).mark_point().encode(x="x:Q", y="y:Q")
    return Figure("losses", "Losses", "Losses.", finish(chart, "Losses", sweeps_caption(sweeps, ("small",))))


def never_drawn(sweeps):
    raise UndecidedError("there is nothing to draw")


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A paper of one small sweep, one larger in the full profile, and forks of it; how often it was measured."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(tiny(snapshots={"states": [10]}).to_yaml())
    (tmp_path / "forks.yaml").write_text(
        "name: forks\nbudget: 30\nfork: {sweep: results/tiny, steps: [10], data_seed: [7, 8]}\n"
        "grid: {chunk: 10, eval_items: 32, probe_items: 16}\nresources: {engine: torch}\n"
    )
    measured = []

    def measure(store):
        measured.append(store.folder)
        return [{"run_id": r.run_id, "step": 30, "twice": 60 + 0.1 * r.init_seed} for r in store.history().runs]

    seeds = ("seeds.together=[0, 1, 2, 3, 4, 5]",)
    fake = SimpleNamespace(folder=tmp_path / "results" / "reproduce", measured=measured, version=1)

    def paper():
        return Paper(
            "fake",
            "Fake 2020: A paper",
            (
                PaperSweep("small", str(tmp_path / "tiny.yaml"), full=seeds),
                PaperSweep("forks", str(tmp_path / "forks.yaml"), fast=None, forks_of="small"),
            ),
            (Measurement("twice", "small", measure, fake.version),),
        )

    class Module:
        @property
        def PAPER(self):
            return paper()

    monkeypatch.setattr(papers, "names_of_papers", lambda: ["fake"])
    monkeypatch.setitem(sys.modules, "sweeps.fake.paper", Module())
    module = SimpleNamespace(CLAIMS=BOOK, FIGURES=(losses, never_drawn))
    monkeypatch.setitem(sys.modules, "sweeps.fake.claims", module)
    fake.paper = paper
    return fake


def test_a_paper_goes_from_its_sweeps_to_the_table_and_what_is_there_is_not_done_again(fake, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "reproduce", "fake", "--inline")
    assert code == 0, printed
    folder = fake.folder / "fast"
    assert "3 claim(s), of 3 statement(s): 2 holds, 0 does not, 1 undecided." in printed
    assert "sweep 'large' is missing" in " ".join(printed.split())
    assert "no figure never_drawn: there is nothing to draw" in printed
    assert (folder / "claims.txt").read_text() in printed
    assert (folder / "fake/figures/losses.svg").read_text().startswith("<svg")
    assert (folder / "fake/figures/losses.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((folder / "fake/claims.json").read_text())
    verdicts = {claim["name"]: claim["verdict"] for claim in document["claims"]}
    assert verdicts == {"losses_are_small": HOLDS, "measured_is_twice_the_step": HOLDS, "larger_is_better": UNDECIDED}
    assert document["provenance"]["small"]["sweep_id"]
    assert document["claims"] == json.loads((folder / "claims.json").read_text())["claims"]
    assert len(fake.measured) == 1

    before = {path: path.read_bytes() for path in (folder / "fake/small").rglob("*.parquet")}
    code, printed = run(monkeypatch, capsys, "reproduce", "--inline", "--sweeps", "small")
    assert code == 0
    assert "complete already" in printed
    assert "2 holds" in printed
    assert before == {path: path.read_bytes() for path in (folder / "fake/small").rglob("*.parquet")}
    assert len(fake.measured) == 1
    fake.version = 2
    assert run(monkeypatch, capsys, "reproduce", "--inline")[0] == 0
    assert len(fake.measured) == 2


def test_an_unfinished_sweep_is_continued(fake, monkeypatch, capsys):
    request = Reproduction(fake.paper(), "fast", fake.folder / "fast/fake", True).request(fake.paper().sweeps[0])
    spec = load_spec(request.path, (*request.overrides, "resources.slots=2"))
    folder = fake.folder / "fast/fake/small"
    plan = plan_for(spec, folder, machine_of(spec.resources, None, False))
    store = open_results(plan, folder, request.path.read_text())
    first, *others = unfinished(store)
    assert others
    launch_inline(store, [first], lambda *_: None)
    before = {path: path.read_bytes() for path in (folder / "packs" / first).iterdir()}
    code, printed = run(monkeypatch, capsys, "reproduce", "--inline")
    assert code == 0, printed
    assert not unfinished(store)
    assert before == {path: path.read_bytes() for path in (folder / "packs" / first).iterdir()}


@pytest.mark.slow
@pytest.mark.wandb
def test_the_full_profile_says_what_it_costs_then_trains_more_seeds_and_the_forks(fake, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "reproduce", "fake", "--profile", "full", "--inline", "--results", "r")
    assert code == 0, printed
    found = re.search(r"fake/forks: .* left\nat most [\d.]+ CPU-hours of training are left", printed)
    assert found is not None
    assert found.end() < printed.index("6 runs in 1 setting,")
    assert "12/12 runs done" in printed
    code, printed = run(monkeypatch, capsys, "reproduce", "fake", "--profile", "full", "--inline", "--results", "r")
    assert code == 0
    assert "at most 0.00 CPU-hours of training are left" in printed


def test_of_named_sweeps_only_these_are_trained_with_what_they_fork(fake):
    part = Reproduction(fake.paper(), "full", Path("r"))
    assert [sweep.name for sweep in part.sweeps] == ["small", "forks"]
    assert [sweep.name for sweep in replace(part, only=("forks",)).sweeps] == ["small", "forks"]
    other = replace(part, paper=Paper("other", "Other", (PaperSweep("else", "else.yaml"),)))
    (chosen,) = chosen_parts([part, other], ["small"])
    assert [sweep.name for sweep in chosen.sweeps] == ["small"]


def test_a_sweep_that_is_half_trained_and_was_not_asked_for_judges_nothing(fake):
    request = Reproduction(fake.paper(), "fast", Path("r/fake"), True).request(fake.paper().sweeps[0])
    spec = load_spec(request.path, (*request.overrides, "resources.slots=2"))
    plan = plan_for(spec, Path("r/fake/small"), machine_of(spec.resources, None, False))
    store = open_results(plan, Path("r/fake/small"), request.path.read_text())
    part = Reproduction(fake.paper(), "fast", Path("r/fake"), True)
    first, *others = unfinished(store)
    launch_inline(store, [first], lambda *_: None)
    assert not part.for_claims().has("small")
    launch_inline(store, others, lambda *_: None)
    assert part.for_claims().has("small")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("unheard_of",), "unknown paper unheard_of (known: fake)"),
        (("fake", "--sweeps", "forks"), "--sweeps names forks, which profile fast lacks (fake: small)"),
        (("fake", "--profile", "slow"), "--profile must be fast or full, given 'slow'"),
    ],
)
def test_what_is_not_known_is_refused_in_a_line(arguments, expected, fake, tmp_path, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "reproduce", *arguments)
    assert code == 2
    assert expected in printed
    assert not (tmp_path / "results").exists()


def test_a_measurement_that_fails_leaves_nothing_and_is_not_taken_for_undecided(fake, monkeypatch, capsys):
    def fails(store):
        yield {"run_id": "r", "step": 0, "twice": 1.0}
        raise ZeroDivisionError

    module = SimpleNamespace(PAPER=Paper("fake", "Fake", fake.paper().sweeps, (Measurement("twice", "small", fails),)))
    monkeypatch.setitem(sys.modules, "sweeps.fake.paper", module)
    monkeypatch.setattr("sys.argv", ["seedbed", "reproduce", "--inline"])
    from sweeps.cli import __main__ as cli

    monkeypatch.setattr("tempfile.tempdir", str(fake.folder))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert not (fake.folder / "fast/fake/measured").exists()


def test_an_altered_registration_is_refused_before_anything_is_trained(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sweeps.registered._SWEEPS", tmp_path / "sweeps")
    (tmp_path / "sweeps" / "fake").mkdir(parents=True)
    path = tmp_path / "sweeps" / "fake" / "registration.json"
    first = Registration().followed_by("2026-01-01", "All terms.", BOOK, {})
    first.write(path)
    path.write_text(path.read_text().replace("0.3", "0.2"))
    code, printed = run(monkeypatch, capsys, "reproduce", "fake", "--inline")
    assert code == 2
    assert "entry 1 of 2026-01-01 has been altered" in " ".join(printed.split())
    assert not (tmp_path / "results").exists()


def test_a_paper_that_contradicts_itself_is_refused():
    one = PaperSweep("one", "one.yaml")

    def measure(store):
        return []

    with pytest.raises(ValueError, match="two sweeps are named 'one'"):
        Paper("p", "P", (one, one))
    with pytest.raises(ValueError, match="forks 'one', which is no sweep before it"):
        Paper("p", "P", (PaperSweep("two", "two.yaml", forks_of="one"), one))
    with pytest.raises(ValueError, match="measures 'two', which is no sweep"):
        Paper("p", "P", (one,), (Measurement("m", "two", measure),))
    twice = (Measurement("m", "one", measure), Measurement("m", "one", measure, profiles=("full",)))
    with pytest.raises(ValueError, match="two measurements of profile full"):
        Paper("p", "P", (one,), twice)
    Paper("p", "P", (one,), (Measurement("m", "one", measure, profiles=("fast",)), twice[1]))


def test_every_folder_with_a_paper_is_found_and_papers_keep_their_order(tmp_path, monkeypatch):
    names = [path.parent.name for path in Path(papers.__file__).parent.glob("*/paper.py")]
    assert sorted(paper.name for paper in papers_of()) == sorted(names)
    assert [paper.name for paper in papers_of(["huang_2024", "von_oswald_2023"])] == ["von_oswald_2023", "huang_2024"]
    for name, order in (("a", 2), ("c", 1), ("b", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "paper.py").touch()
        module = SimpleNamespace(PAPER=Paper(name, name, (), order=order))
        monkeypatch.setitem(sys.modules, f"sweeps.{name}.paper", module)
    (tmp_path / "cluster").mkdir()
    monkeypatch.setattr(papers, "_SWEEPS", tmp_path)
    assert [paper.name for paper in papers_of()] == ["b", "c", "a"]


@pytest.mark.parametrize("name", papers.names_of_papers())
def test_papers_are_whole(name):
    (paper,) = papers_of([name])
    assert paper.name == name
    for profile in PROFILES:
        assert paper.of_profile(profile)
        for sweep in paper.of_profile(profile):
            load_spec(sweep.path, sweep.overrides(profile))
    module = paper.claims_module()
    assert module.CLAIMS.claims
    drawn = {draw.__name__ for draw in module.FIGURES}
    assert {claim.figure for claim in module.CLAIMS.claims.values()} <= drawn
    assert set(paper.page_figures) <= drawn
