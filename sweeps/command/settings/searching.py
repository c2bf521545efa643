"""`seedbed search`: settings that a searcher suggests, trained in rounds as one sweep that grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from analysis.comparisons.arms import Arm
from analysis.comparisons.objectives import objective_of
from analysis.outcomes.outcomes import decide_outcomes
from pipeline.launch.bohb import BY_SEEDS
from pipeline.launch.ray_session import prepare
from pipeline.launch.searchers import OBJECTIVE, RaySearcher, open_searcher, searcher_versions
from pipeline.own_code.imported import entries
from pipeline.planning.consent import keep_allowed
from pipeline.spec.identity import canonical_json
from pipeline.spec.run_config import RunConfig
from pipeline.spec.search import Race, Search, load_search, setting_problem, suggested, with_settings
from pipeline.spec.sweep import SweepSpec
from pipeline.store.files import make_folder
from pipeline.store.history import LABEL_PREFIX
from pipeline.store.pack_store import StoreError
from pipeline.store.progress import unfinished
from pipeline.store.search_file import SEARCH_FILE, read_search, write_search
from pipeline.store.sweep_store import SweepStore
from pipeline.training.recorded_metrics import recorded_metrics
from sweeps.command.exit_codes import COMPLETE
from sweeps.command.how import How
from sweeps.command.launching import train_spec
from sweeps.command.settings.found import Trial, print_found

# Trains the runs of these ids, of a sweep with these settings; the exit code of a launch.
Train = Callable[[Sequence[Mapping[str, Any]], Sequence[str]], int]
# The objective over these runs; larger is better.
Judge = Callable[[Sequence[str]], float]


class IncompleteError(Exception):
    """Training ended before all runs of a round had; `code` is the exit code of the launch."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_search(
    path: Path, overrides: Sequence[str], results: Path | None, how: How, as_json: bool, out: Console
) -> int:
    """Search the space of a sweep file, print the best settings, and return the exit code, as of a launch.

    The same command continues: rounds that are done are told to the searcher again, in their order. Raises SpecError,
    and StoreError where the folder holds another search or the searcher is not installed.
    """
    if how.address is not None and how.is_inline:
        raise StoreError("--address has no effect with --inline, which trains in this process")
    search, spec = load_search(path, overrides, entries())
    keep_allowed()
    folder, told = results or Path("results") / spec.name, Console(stderr=True) if as_json else out
    versions = searcher_versions(search)
    done = _done(folder, search, versions)
    _refuse_unknown(search, spec)
    if not how.is_inline:
        # The searcher imports Ray, which then cannot be closed to others any more.
        prepare(how.address)
    source, store = path.read_text(encoding="utf-8"), SweepStore(folder)

    read: list[Arm] = []

    def train(settings: Sequence[Mapping[str, Any]], run_ids: Sequence[str]) -> int:
        read.clear()
        if _all_ended(store, run_ids):
            return COMPLETE
        code = train_spec(with_settings(spec, settings), folder, source, how, told, run_ids)
        # Runs that failed by themselves are censored, and the search goes on.
        return code if unfinished(store) else COMPLETE

    def judge(run_ids: Sequence[str]) -> float:
        try:
            if not read:
                history = store.history()
                read.append(Arm(spec.name, history, decide_outcomes(history, spec.criterion)))
            return objective_of(read[0], search.objective, {*run_ids})
        except ValueError as error:
            raise StoreError(f"search.objective: {error}") from error

    rounds = Rounds(search, spec, open_searcher(search), train, judge)
    try:
        for number in range(search.rounds):
            rounds.run(number, done[number] if number < len(done) else None)
            if number >= len(done):
                # Even where no suggested setting was valid, so that no launch has made the folder.
                make_folder(folder, spec.resources.share_with_group)
                write_search(folder, search.document(), versions, [[t.to_json() for t in one] for one in rounds.tried])
    except IncompleteError as stopped:
        told.print(f"incomplete: {len(rounds.tried)} of {search.rounds} rounds; the same `seedbed search` continues")
        return stopped.code
    if rounds.refused is not None and not any(one.setting for trials in rounds.tried for one in trials):
        raise StoreError(f"search.space: no suggested setting was valid; of the last, {rounds.refused}")
    print_found(rounds.tried, search, folder, as_json, out)
    return COMPLETE


def _refuse_unknown(search: Search, spec: SweepSpec) -> None:
    """Raises StoreError for an objective that no run records, before any is trained."""
    recorded = recorded_metrics(spec, spec.runs()[0])
    known = ["converged", "time", *(name for name in sorted(recorded) if name.startswith(LABEL_PREFIX))]
    if search.objective not in known:
        raise StoreError(f"search.objective: unknown {search.objective!r} (known: {', '.join(known)})")


def _done(folder: Path, search: Search, versions: Mapping[str, str]) -> list[list[Trial]]:
    """The rounds that the folder's search has done. Raises StoreError where it is another search."""
    kept = read_search(folder)
    if kept is None:
        return []
    if canonical_json(kept["search"]) != canonical_json(search.document()):
        raise StoreError(
            f"{folder}: holds another search; more rounds are allowed, other changes need another --results"
        )
    if kept["versions"] != dict(versions):
        now = ", ".join(f"{name} {number}" for name, number in versions.items())
        was = ", ".join(f"{name} {number}" for name, number in kept["versions"].items())
        raise StoreError(f"{folder}: its search was made with {was}, here is {now}, which may suggest other settings")
    return [[Trial.from_json(row) for row in rows] for rows in kept["rounds"]]


def _all_ended(store: SweepStore, run_ids: Sequence[str]) -> bool:
    if not store.exists():
        return False
    ended = {run_id for record in store.newest_records().values() for run_id in record.ends}
    return {*run_ids} <= ended and not unfinished(store)


@dataclass
class Rounds:
    """The rounds of a search so far: asks for settings, has them trained, tells what came of them.

    `train` and `judge` are handed in, so that a search can be tried without training.
    """

    search: Search
    spec: SweepSpec
    searcher: RaySearcher
    train: Train
    judge: Judge

    def __post_init__(self) -> None:
        self.tried: list[list[Trial]] = []
        # What was wrong with the last suggestion that was no valid setting.
        self.refused: str | None = None
        self._known: dict[str, Trial] = {}

    def run(self, number: int, done: Sequence[Trial] | None) -> None:
        """One round, as it was if it is `done`. Raises IncompleteError, and StoreError where it suggests otherwise."""
        names = [f"{number}-{place}" for place in range(self.search.settings_per_round)]
        asked = [self.searcher.suggest(name) for name in names]
        # None or text where it has nothing left to suggest.
        settings = [suggested(self.spec, values) if isinstance(values, Mapping) else None for values in asked]
        for values, setting in zip(asked, settings, strict=True):
            if isinstance(values, Mapping) and setting is None:
                self.refused = setting_problem(self.spec, values)
        if done is None:
            trials = self._tried(settings)
        else:
            trials = list(done)
            if canonical_json([trial.setting for trial in trials]) != canonical_json(settings):
                raise StoreError(
                    f"round {number} suggests other settings than before; delete {SEARCH_FILE} or the folder"
                )
        for name, values, trial in zip(names, asked, trials, strict=True):
            if isinstance(values, Mapping):
                self.searcher.on_trial_complete(name, self._result(trial), trial.value is None)
        self.tried.append(trials)
        self._known |= {canonical_json(trial.setting): trial for trial in trials if trial.setting is not None}

    def _result(self, trial: Trial) -> dict[str, Any] | None:
        """What a searcher is told of a setting; None where it has no value."""
        if trial.value is None:
            return None
        race = self.search.race
        first = {} if race is None or trial.first is None else {race.first: trial.first}
        return {OBJECTIVE: trial.value, BY_SEEDS: first | {trial.num_seeds: trial.value}}

    def _tried(self, settings: Sequence[Mapping[str, Any] | None]) -> list[Trial]:
        new = {canonical_json(dict(one)): dict(one) for one in settings if one is not None}
        new = {key: setting for key, setting in new.items() if key not in self._known}
        found = dict(zip(new, self._raced(list(new.values())), strict=True)) if new else {}
        nothing = Trial(None, None, False, False, 0, None)
        return [
            nothing if one is None else ({**self._known, **found})[canonical_json(dict(one))] for one in settings
        ]  # fmt: skip

    def _raced(self, settings: Sequence[dict[str, Any]]) -> list[Trial]:
        """New settings, under the first seeds and then, of those that go on, under all."""
        pairs = [] if self.spec.seeds is None else self.spec.seeds.pairs()
        # Without a race all are kept: with all seeds at once.
        race = self.search.race or Race(first=len(pairs), keep=1.0)
        before = [trial.setting for trial in self._known.values() if trial.setting is not None]
        by_setting = [self._run_ids(setting, pairs) for setting in settings]
        whole = [*before, *settings]
        self._train(whole, [run_id for run_ids in by_setting for run_id in run_ids[: race.first]])
        first = [self.judge(run_ids[: race.first]) for run_ids in by_setting]
        kept = race.kept(first)
        audited = [
            not is_kept and race.is_audited(setting, self.search.seed)
            for is_kept, setting in zip(kept, settings, strict=True)
        ]
        goes_on = np.logical_or(kept, audited)
        if race.first < len(pairs):
            self._train(whole, [run_id for ids, on in zip(by_setting, goes_on, strict=True) if on for run_id in ids])
        return [
            Trial(
                setting, _number(first[place]), kept[place], audited[place],
                len(pairs) if goes_on[place] else race.first,
                _number(self.judge(by_setting[place]) if goes_on[place] else first[place]),
            )
            for place, setting in enumerate(settings)
        ]  # fmt: skip

    def _train(self, settings: Sequence[Mapping[str, Any]], run_ids: Sequence[str]) -> None:
        if (code := self.train(settings, run_ids)) != COMPLETE:
            raise IncompleteError(code)

    def _run_ids(self, setting: Mapping[str, Any], pairs: Sequence[tuple[int, int]]) -> list[str]:
        whole = self.spec.base.changed(setting)
        return [RunConfig(whole, init, data).run_id for init, data in pairs]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
