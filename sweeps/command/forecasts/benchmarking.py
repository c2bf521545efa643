"""`seedbed benchmark`: trains the sweeps of the forecast benchmark, and scores predictors on its test seeds.

Every task is two files of `sweeps/benchmark/`, NAME.yaml and NAME_test.yaml, that share no seed. `splits.json` there
freezes the runs of both by hash.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.benchmark.halves import RANKING, benchmark_rows, evaluate_halves
from analysis.benchmark.rows import BenchmarkRow, task_means
from analysis.forecasting.ceiling import read_ceiling
from analysis.forecasting.evaluation import PRIMARY
from analysis.predictors.base import PREDICTORS, Predictor
from analysis.uncertainty.intervals import short
from pipeline.planning.packs import stored_spec
from pipeline.store.damage import unreadable
from pipeline.store.files import write_file
from pipeline.store.history import History
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import unfinished
from pipeline.store.sweep_store import SweepStore
from sweeps.command.exit_codes import COMPLETE, INCOMPLETE
from sweeps.command.how import How
from sweeps.command.launching import run_launch
from sweeps.command.request import Request

SWEEPS = Path(__file__).resolve().parents[2] / "benchmark"
SPLITS = SWEEPS / "splits.json"
# Shown task by task, with a user's own; of the others the table shows means over tasks.
FOREMOST = (PRIMARY, "best_statistic", "last_loss")
_TEST, _WIDTH = "_test", 160
_SHOWN = {
    RANKING: "AUROC in setting",
    "brier_skill": "Brier skill",
    "calibration_slope": "slope",
    "debiased_error": "ECE",
    "concordance": "C",
    "coverage": "cover",
}


def run_benchmark(
    names: Sequence[str], results: Path, predictor: Path | None, is_inline: bool, as_json: bool, out: Console
) -> int:
    """Trains what is not trained of the tasks, scores the predictors, and writes RESULTS/benchmark.json.

    Returns the exit code, as of a launch: the first sweep that is left incomplete ends it. Tasks whose results are
    damaged are named and left out, and the code is INCOMPLETE. Raises StoreError for unknown tasks, and for results of
    other runs than the frozen ones.
    """
    chosen, told = _predictors(predictor), Console(stderr=True) if as_json else out
    asked = tasks_of(names)
    tasks = [name for name in asked if not _is_damaged(name, results, told)]
    if not tasks:
        raise StoreError(f"{results}: every task that was asked for is damaged; `seedbed repair` computes it again")
    for name in tasks:
        for half in halves_of(name):
            code = _trained(half, results / half, is_inline, told)
            if code != COMPLETE:
                told.print("incomplete, nothing was scored: the same `seedbed benchmark` continues")
                return code
    rows = [row for name in tasks for row in task_rows(name, results, chosen)]
    document = [row.to_json() for row in rows]
    write_file(results / "benchmark.json", json.dumps(document, indent=1, allow_nan=False).encode())
    if as_json:
        out.print_json(data=document)
    else:
        # In a file or a pipe every row stands on one line.
        wide = out if out.is_terminal else Console(file=out.file, width=_WIDTH, highlight=False, markup=False)
        wide.print(_table([row for row in rows if row.predictor in FOREMOST or row.predictor not in PREDICTORS]))
        wide.print(_means(rows))
        out.print(f"rows: {results / 'benchmark.json'}", markup=False)
    return COMPLETE if len(tasks) == len(asked) else INCOMPLETE


def _is_damaged(task: str, results: Path, told: Console) -> bool:
    """Whether a half of a task is there and cannot be read, which is then said."""
    stores = [SweepStore(results / half) for half in halves_of(task)]
    problems = [problem for store in stores if store.exists() and (problem := unreadable(store)) is not None]
    for problem in problems:
        told.print(f"left out: {task}, which cannot be read: {problem}", style="red", markup=False)
    return bool(problems)


def tasks_of(names: Sequence[str]) -> list[str]:
    """The tasks of the benchmark with these names; all of them where none is given. Raises StoreError."""
    known = sorted(path.stem for path in SWEEPS.glob("*.yaml") if not path.stem.endswith(_TEST))
    if unknown := [name for name in names if name not in known]:
        raise StoreError(f"unknown task {', '.join(unknown)} (known: {', '.join(known)})")
    return [name for name in known if not names or name in names]


def halves_of(task: str) -> tuple[str, str]:
    """The names of the sweeps of a task: training half, test half."""
    return task, task + _TEST


def hash_of_run_ids(run_ids: Iterable[str]) -> str:
    """SHA-256 of the sorted run ids, one a line."""
    return hashlib.sha256("\n".join(sorted(run_ids)).encode()).hexdigest()


def task_rows(name: str, results: Path, predictors: Mapping[str, Predictor]) -> Iterator[BenchmarkRow]:
    """Every score of every predictor on one finished task, window by window.

    Raises StoreError where its runs are not the frozen ones, or some are not finished.
    """
    train, test = (finished(half, results) for half in halves_of(name))
    evaluation = evaluate_halves(train, test, stored_spec(SweepStore(results / name)).criterion, predictors)
    yield from benchmark_rows(name, evaluation, _ceilings(results / halves_of(name)[1]))


def finished(half: str, results: Path) -> History:
    """The history of a half in a results folder.

    Raises StoreError where its runs are not the frozen ones, or some are not finished.
    """
    store, frozen = SweepStore(results / half), json.loads(SPLITS.read_text(encoding="utf-8"))
    if unfinished(store):
        raise StoreError(f"{store.folder}: not finished; `seedbed benchmark` continues it")
    history = store.history()
    if hash_of_run_ids(run.run_id for run in history.runs) != frozen.get(half):
        raise StoreError(f"{store.folder}: holds other runs than the benchmark's, whose hash is in {SPLITS}")
    return history


def _trained(half: str, folder: Path, is_inline: bool, out: Console) -> int:
    store = SweepStore(folder)
    if store.exists() and not unfinished(store):
        return COMPLETE
    path, how = SWEEPS / f"{half}.yaml", How(is_inline=is_inline)
    return run_launch(Request(path, ("tracking.mode=disabled",), folder, how), out)


def _ceilings(folder: Path) -> dict[float, float]:
    """window -> attainable AUROC, from the ceiling.json of a results folder; empty without one."""
    document = read_ceiling(folder)
    rows = [] if document is None else document["rows"]
    return {float(row["window"]): float(row["auroc"]) for row in rows if row["auroc"] is not None}


def _predictors(path: Path | None) -> dict[str, Predictor]:
    """Every registered predictor, and those that a Python file defines."""
    found = {name: predictor() for name, predictor in PREDICTORS.items()}
    return found if path is None else found | predictors_in(path)


def predictors_in(path: Path) -> dict[str, Predictor]:
    """The predictors that a Python file of a user defines, by name. Raises StoreError where there is none."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise StoreError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Predictor) and value.__module__ == path.stem
    ]
    if not classes:
        raise StoreError(f"{path}: defines no class that derives from analysis.predictors.base.Predictor")
    return {cls.name: cls() for cls in classes}


def _table(rows: Sequence[BenchmarkRow]) -> Table:
    """One line for each task, window and predictor, one column for each of the main scores."""
    table = Table(box=None, header_style="bold")
    for column in ("task", "window", "predictor", "n", *_SHOWN.values(), "of the ceiling"):
        table.add_column(column, no_wrap=column == "task")
    lines: dict[tuple[str, float, str], dict[str, BenchmarkRow]] = {}
    for row in rows:
        lines.setdefault((row.task, row.window, row.predictor), {})[row.row] = row
    for (task, window, predictor), found in lines.items():
        cells = [found[score].estimate.text() if score in found else "" for score in _SHOWN]
        share = short(found[RANKING].share_of_ceiling) if RANKING in found else ""
        num_runs = str(next(iter(found.values())).num_runs)
        table.add_row(task, f"{window:g}", predictor, num_runs, *cells, "" if share == "n/a" else share)
    return table


def _means(rows: Sequence[BenchmarkRow]) -> Table:
    """One line for each predictor, one column for each window."""
    means = task_means(rows, RANKING)
    windows = sorted({window for _, window in means})
    tasks = len({row.task for row in rows})
    table = Table(
        box=None, header_style="bold", title=f"AUROC in setting, mean over {tasks} tasks", title_justify="left"
    )
    for column in ("predictor", *(f"{window:.0%}" for window in windows)):
        table.add_column(column, no_wrap=True)
    for name in dict.fromkeys(name for name, _ in means):
        table.add_row(name, *(means[name, window].text() for window in windows))
    return table
