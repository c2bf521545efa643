"""The command: bad input is one clear error, exit code 2, nothing touched; good input says what it did."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from pipeline.store.sweep_store import SweepStore
from sweeps.cli import __main__ as cli
from tests.support import tiny, trained

GOOD = tiny().to_yaml()


def run(monkeypatch, capsys, *arguments):
    """(exit code, what was printed) of `seedbed ARGUMENTS`, in this process."""
    monkeypatch.setattr("sys.argv", ["seedbed", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    printed = capsys.readouterr()
    return end.value.code or 0, printed.out + printed.err


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def interrupted(*_):
    raise KeyboardInterrupt


MISTAKES = {
    "unknown key": ("budget: 30", "budgte: 30", ["budgte", "did you mean", "budget"]),
    "wrong type": ("budget: 30", "budget: soon", ["budget", "soon"]),
    "negative budget": ("budget: 30", "budget: -30", ["budget"]),
    "unknown task": ("name: dictionary_lookup", "name: dictionary", ["dictionary_lookup", "linear_regression"]),
    "unknown model": ("name: attention_only", "name: attention", ["attention_only", "linear_self_attention"]),
    "text for a number": ("lr: 0.003", 'lr: "1e-3"', ["optimiser.lr", "1e-3"]),
    "seeds given twice": ("together: [0, 1, 2, 3]", "together: [0, 1, 1, 3]", ["seeds", "1"]),
    "empty vary": ("vary: []", "vary: [{optimiser.lr: []}]", ["vary"]),
    "a key twice": ("budget: 30", "budget: 30\nbudget: 40", ["budget"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", ["plan", "launch"])
def test_a_mistake_in_a_sweep_file_is_named_with_its_line_and_nothing_is_touched(
    mistake, command, here, monkeypatch, capsys
):
    old, new, expected = MISTAKES[mistake]
    assert old in GOOD
    (here / "bad.yaml").write_text(GOOD.replace(old, new, 1))
    code, printed = run(monkeypatch, capsys, command, "bad.yaml", "--inline")
    assert code == 2, printed
    assert re.search(r"bad\.yaml:\d+: ", printed)
    assert "Traceback" not in printed
    for word in expected:
        assert word in printed
    assert sorted(path.name for path in here.iterdir()) == ["bad.yaml"]


def test_every_mistake_is_told_at_once(here, monkeypatch, capsys):
    text = GOOD.replace("budget: 30", "budget: -1").replace("lr: 0.003", "lr: fast").replace("batch_size", "batch_sise")
    (here / "bad.yaml").write_text(text)
    code, printed = run(monkeypatch, capsys, "launch", "bad.yaml")
    assert code == 2
    lines = printed.strip().splitlines()
    assert len(lines) >= 3
    assert all(re.match(r"bad\.yaml:\d+: ", line) for line in lines)


def test_a_folder_of_another_spec_is_refused_with_what_differs(here, monkeypatch, capsys):
    store = trained(tiny(), here / "r")
    before = {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}
    (here / "other.yaml").write_text(GOOD.replace("lr: 0.003", "lr: 0.001"))
    code, printed = run(monkeypatch, capsys, "launch", "other.yaml", "--results", "r", "--inline")
    assert code == 2
    assert "optimiser.lr: 0.003 -> 0.001" in printed
    assert before == {path: path.read_bytes() for path in store.folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["status", "resume", "analyse", "report", "forecast"])
def test_a_folder_without_a_sweep_is_an_error_that_says_what_to_do(command, here, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, command, "nowhere")
    assert code == 2
    assert "seedbed launch" in printed
    assert not (here / "nowhere").exists()


def test_a_replay_of_an_unknown_run_or_probe_is_an_error(here, monkeypatch, capsys):
    store = trained(tiny(), here / "results" / "tiny")
    code, printed = run(monkeypatch, capsys, "replay", "zzz", "--from", "0", "--to", "10")
    assert code == 2
    assert "zzz" in printed
    run_id = store.plan["runs"][0]["run_id"]
    code, printed = run(monkeypatch, capsys, "replay", run_id, "--from", "0", "--to", "10", "--probe", "entropyy")
    assert code == 2
    assert "there are" in printed
    code, printed = run(monkeypatch, capsys, "replay", run_id, "--from", "10", "--to", "0")
    assert code == 2


def test_a_plan_says_all_and_touches_nothing(here, monkeypatch, capsys):
    (here / "tiny.yaml").write_text(GOOD.replace("vary: []", "vary: [{optimiser.lr: [0.001, 0.003]}]"))
    code, printed = run(monkeypatch, capsys, "plan", "tiny.yaml", "budget=60")
    assert code == 0
    told = (
        "windows: 0 (step 0), ",
        "reads at the windows: circuits",
        "keeps at the end of each run: its state, attention maps, if it has any",
    )
    settings = ("8 runs in 2 settings", "budget 60", "optimiser.lr: 0.001, 0.003", "packs: 2", "results/tiny")
    for words in (*settings, *told):
        assert words in printed
    assert re.search(r"about .* of training .* MiB of memory each, .* MiB of disk", printed)
    assert sorted(path.name for path in here.iterdir()) == ["tiny.yaml"]


def test_the_straight_line_inline_from_launch_to_report_and_replay(here, monkeypatch, capsys):
    (here / "tiny.yaml").write_text(GOOD)
    code, printed = run(monkeypatch, capsys, "launch", "tiny.yaml", "--inline")
    assert code == 0
    assert "4/4 runs done" in printed
    assert "next: seedbed report results/tiny" in printed
    code, printed = run(monkeypatch, capsys, "launch", "tiny.yaml", "--inline")
    assert code == 0
    assert "complete already" in printed
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.command.launching.tell_complete", interrupted)
        code, printed = run(patched, capsys, "launch", "tiny.yaml", "--inline")
    assert (code, printed.split()[-1]) == (130, "interrupted")
    assert "the sweep is complete: results/tiny; its summary: seedbed analyse results/tiny" in printed
    code, printed = run(monkeypatch, capsys, "status", "results/tiny", "--runs")
    assert code == 0
    run_id = SweepStore(here / "results" / "tiny").plan["runs"][2]["run_id"]
    assert run_id in printed
    code, printed = run(monkeypatch, capsys, "status", "results/tiny", "--runs", "--json")
    document = json.loads(printed)
    assert (code, document["num_done"], document["packs_left"]) == (0, 4, [])
    assert document["runs"][2]["run_id"] == run_id
    assert {row["end"] for row in document["runs"]} <= {"converged", "budget"}
    code, printed = run(monkeypatch, capsys, "report", "results/tiny")
    assert code == 0
    assert (here / "results/tiny/report/report.html").is_file()
    assert (here / "results/tiny/analysis.json").is_file()
    code, printed = run(
        monkeypatch, capsys, "replay", run_id[:6], "--from", "10", "--to", "30", "--every", "5", "--weights"
    )
    assert code == 0
    assert "all equal to the bit" in printed
    assert len(list((here / "results/tiny/replays").iterdir())) == 2


def test_every_command_has_a_help_with_an_example():
    for command in (
        "list",
        "plan",
        "launch",
        "status",
        "resume",
        "analyse",
        "report",
        "fit",
        "forecast",
        "replay",
        "reproduce",
    ):
        shown = CliRunner().invoke(cli.app, [command, "--help"]).output
        assert f"Example: seedbed {command}" in re.sub(r"\s+", " ", shown.replace("`", "")), shown


REFUSED = {
    "an override of what vary gives": (("optimiser.lr=1e-2",), "vary gives its values"),
    "an address of no known form": (("--address", "somewhere"), "auto or HOST:PORT"),
    "a cluster for a launch without Ray": (("--address", "auto", "--inline"), "no effect with --inline"),
    "a GPU that is not there": (("resources={device: cuda}", "--inline"), "there is no GPU here"),
}


@pytest.mark.parametrize("request_", REFUSED)
def test_a_request_that_cannot_be_met_is_refused_in_a_line(request_, here, monkeypatch, capsys):
    arguments, expected = REFUSED[request_]
    (here / "tiny.yaml").write_text(GOOD.replace("vary: []", "vary: [{optimiser.lr: [0.001, 0.003]}]"))
    code, printed = run(monkeypatch, capsys, "launch", "tiny.yaml", *arguments)
    assert code == 2, printed
    assert expected in printed
    assert "Traceback" not in printed
    assert sorted(path.name for path in here.iterdir()) == ["tiny.yaml"]


def test_a_fork_that_changes_what_a_fork_keeps_is_refused_in_a_line(here, monkeypatch, capsys):
    trained(tiny(snapshots={"states": [10]}), here / "p")
    text = "name: f\nbudget: 30\ngrid: {chunk: 10}\nfork: {sweep: p, steps: [10], changes: {model.head_width: 3}}\n"
    (here / "fork.yaml").write_text(text)
    code, printed = run(monkeypatch, capsys, "plan", "fork.yaml")
    assert code == 2
    assert "a fork keeps its parent's shapes" in printed
    assert "Traceback" not in printed


def test_random_settings_are_planned_without_a_warning(here, monkeypatch, capsys, recwarn):
    factor = "vary: [{random: {optimiser.lr: {log_uniform: [0.001, 0.01]}}, num: 2, seed: 0}]"
    (here / "tiny.yaml").write_text(GOOD.replace("vary: []", factor))
    code, printed = run(monkeypatch, capsys, "launch", "tiny.yaml", "--inline")
    assert code == 0, printed
    assert not [warning for warning in recwarn if "serializ" in str(warning.message)]


@pytest.mark.parametrize("arguments", [["-h"], ["status", "-h"], ["launch", "-h"]], ids=" ".join)
def test_help_is_asked_for_by_a_short_option_too(arguments, monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, *arguments)
    assert code == 0
    assert "Usage:" in printed


def test_the_version_is_that_of_the_installed_package(monkeypatch, capsys):
    code, printed = run(monkeypatch, capsys, "--version")
    assert code == 0
    assert printed.strip() == f"seedbed {version('seedbed')}"


def test_the_american_spelling_is_understood_and_not_listed(here, monkeypatch, capsys):
    trained(tiny(), here / "r")
    printed = [run(monkeypatch, capsys, command, "r") for command in ("analyse", "analyze")]
    assert printed[0] == printed[1]
    assert printed[0][0] == 0
    assert "analyze" not in run(monkeypatch, capsys, "--help")[1]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RuntimeError("not [/foreseen]"), 1, r"RuntimeError: not \[/foreseen\]; a mistake in seedbed or in code given"),
        (MemoryError(), 1, "memory has run out"),
        (ImportError("a.so: failed to map segment from shared object"), 1, "^memory has run out"),
        (ImportError("no module"), 1, "ImportError: no module; a mistake"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RecursionError("deep"), 1, "RecursionError: deep; a mistake"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_goes_wrong_is_a_sentence_and_a_log_file(error, code, told, here, monkeypatch, capsys):
    def fail(*_):
        raise error

    monkeypatch.setattr("sweeps.command.status.show_status", fail)
    monkeypatch.setattr("tempfile.tempdir", str(here))
    found, printed = run(monkeypatch, capsys, "status", "r")
    assert found == code
    assert "Traceback" not in printed
    assert re.search(told, printed)
    logs = list(here.glob("seedbed-error-*.log"))
    assert len(logs) == ("a mistake" in told)
    for log in logs:
        assert "Traceback" in log.read_text()
        assert str(log) in printed
        assert log.stat().st_mode & 0o777 == 0o600
