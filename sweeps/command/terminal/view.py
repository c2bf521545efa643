"""What a display of a sweep shows: counts, speeds and time left, as plain values."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.outcomes.settings import labels_of
from pipeline.counted import counted
from pipeline.store.progress import Progress, packs_left, summed


class Speed:
    """Run-steps per second of packs, and of settings in them, over the reports of the last `window_s` seconds."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        # By pack_id, and by pack_id and setting_id.
        self._reports: dict[tuple[str, str], deque[tuple[float, int]]] = {}

    def add(self, pack_id: str, now_s: float, progress: Progress) -> None:
        """Note a pack's progress at that time."""
        for setting, part in {"": progress, **progress.by_setting}.items():
            reports = self._reports.setdefault((pack_id, setting), deque())
            reports.append((now_s, part.run_steps))
            while len(reports) > 2 and reports[1][0] < now_s - self._window_s:
                reports.popleft()

    def of(self, pack_id: str, setting: str = "") -> float:
        """Run-steps per second of a pack, or of its runs of one setting; 0 before the second report."""
        reports = self._reports.get((pack_id, setting))
        if reports is None or len(reports) < 2:
            return 0.0
        (first_s, first), (last_s, last) = reports[0], reports[-1]
        return (last - first) / max(last_s - first_s, 1e-9)


@dataclass(frozen=True)
class Line:
    """A setting, or a pack in training: its name, progress, and run-steps per second."""

    label: str
    progress: Progress
    speed: float


@dataclass(frozen=True)
class View:
    """What a display shows. `settings` are in the order of the plan; `packs` are those in training.

    `time_left_s` supposes that every run uses its whole budget; None before it is known. Between two packs, when none
    trains, it is by the last speed. `failures` are pairs of a
    pack's name and a reason, oldest first. `note` is a sentence more, or empty.
    """

    name: str
    phase: str
    elapsed_s: float
    time_left_s: float | None
    speed: float
    total: Progress
    settings: tuple[Line, ...]
    packs: tuple[Line, ...]
    num_packs_waiting: int
    failures: tuple[tuple[str, str], ...] = ()
    note: str = ""


class DisplayedSweep:
    """A sweep as its plan document declares it, of which views are made."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self.name = str(plan["name"])
        # In the order of the runs: documents sort their keys.
        order = dict.fromkeys(row["setting_id"] for row in plan["runs"])
        self.labels = labels_of({setting: plan["settings"][setting] for setting in order}, tuple(plan["varied"]))
        self.pack_names = _pack_names(plan, self.labels)
        self._newest_speed = 0.0

    def view(
        self,
        packs: Mapping[str, Progress],
        in_training: Collection[str],
        speed: Speed,
        phase: str,
        elapsed_s: float,
        failures: Mapping[str, str],
        note: str = "",
    ) -> View:
        """What is to be shown of this progress of all packs, of which those of `in_training` train."""
        total = summed(packs.values())
        by_setting = total.by_setting
        known = set(in_training)
        running = [pack_id for pack_id in packs_left(packs) if pack_id in known]
        together = sum(speed.of(pack_id) for pack_id in running)
        self._newest_speed = together or self._newest_speed
        speeds = [(packs[pack_id], speed.of(pack_id)) for pack_id in running]
        return View(
            name=self.name,
            phase=phase,
            elapsed_s=elapsed_s,
            time_left_s=time_left_s([packs[p] for p in packs_left(packs)], speeds, self._newest_speed),
            speed=together,
            total=total,
            settings=tuple(
                Line(label, by_setting[setting], sum(speed.of(pack_id, setting) for pack_id in running))
                for setting, label in self.labels.items()
                if setting in by_setting
            ),
            packs=tuple(Line(self.pack_names[pack_id], packs[pack_id], speed.of(pack_id)) for pack_id in running),
            num_packs_waiting=len(set(packs_left(packs)) - set(running) - failures.keys()),
            failures=tuple((self.pack_names.get(pack_id, pack_id), reason) for pack_id, reason in failures.items()),
            note=note,
        )


def _pack_names(plan: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, str]:
    """pack_id -> its place in the plan, with its setting, or with how many settings it has."""
    setting_of = {row["run_id"]: row["setting_id"] for row in plan["runs"]}
    names = {}
    for number, pack in enumerate(plan["packs"], 1):
        found = dict.fromkeys(setting_of[run_id] for run_id in pack["run_ids"])
        what = labels[next(iter(found))] if len(found) == 1 else counted(len(found), "setting")
        names[pack["pack_id"]] = f"{number} of {len(plan['packs'])}: {what}"
    return names


def time_left_s(
    left: Sequence[Progress], running: Sequence[tuple[Progress, float]], newest_speed: float = 0.0
) -> float | None:
    """Seconds until every run has used its whole budget: of all packs together, and of the one that takes longest.

    `running` are the packs in training with their speeds; while none of them has one, `newest_speed` counts, which they
    had together before. None if that is 0.
    """
    speed = sum(each for _, each in running) or newest_speed
    if speed <= 0:
        return None
    together = sum(progress.steps_left for progress in left) / speed
    return max([together, *(progress.steps_left / each for progress, each in running if each > 0)])
