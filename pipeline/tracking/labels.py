"""How tracked runs are called: names from what varies in a sweep, groups in words, tags. Needs no wandb."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

# wandb refuses longer names of runs and groups, and longer tags.
_MAX_NAME, _MAX_TAG = 128, 64
_SHOWN_ID = 8


def run_names(plan: Mapping[str, Any]) -> dict[str, str]:
    """run_id -> a short name that no other run of the sweep has, such as `hw4-lr0.01-s52`.

    What varies stands in it by initials, then the seeds: `s52` where both are 52, else `i3-d7`. A fork says from which
    step and which run: `f600-1a2b3c4d`.
    """
    short = setting_names(plan)
    names = {row["run_id"]: "-".join(filter(None, (short[row["setting_id"]], _own(row)))) for row in plan["runs"]}
    return _told_apart(names)


def setting_names(plan: Mapping[str, Any]) -> dict[str, str]:
    """setting_id -> what varies, by initials, such as `hw4-lr0.01`; empty where nothing does."""
    initials = _initials(plan["varied"])
    return {
        setting_id: "-".join(_short(path, initials[path], setting[path]) for path in plan["varied"] if path in setting)
        for setting_id, setting in plan["settings"].items()
    }


def groups(plan: Mapping[str, Any]) -> dict[str, str]:
    """setting_id -> the setting in words, after the sweep's name: `tiny: model.head_width=4, optimiser.lr=0.01`.

    Where nothing varies, task and model. Settings that would be called alike get their id as well.
    """
    found = {}
    for setting_id, setting in plan["settings"].items():
        shown = [path for path in plan["varied"] if path in setting]
        words = [f"{path}={_text(setting[path])}" for path in shown] or [
            str(setting[path]) for path in ("task.name", "model.name") if path in setting
        ]
        found[setting_id] = f"{plan['name']}: {', '.join(words)}"
    return _told_apart(found)


def tags_of(sweep: Mapping[str, Any], job_type: str, outcome: str | None = None) -> list[str]:
    """The tags of a tracked run: sweep, its id, job type, and the outcome once it is known."""
    return [tag[:_MAX_TAG] for tag in (sweep["name"], sweep["sweep_id"], job_type, outcome) if tag]


def _own(row: Mapping[str, Any]) -> str:
    init, data = row["init_seed"], row["data_seed"]
    seeds = f"s{init}" if init == data else f"i{init}-d{data}"
    return seeds if row.get("parent") is None else f"{seeds}-f{row['fork_step']}-{row['parent'][:_SHOWN_ID]}"


def _initials(paths: Iterable[str]) -> dict[str, str]:
    """path -> the initials of its last part; of its whole, where two have the same."""
    paths = list(paths)
    ends = {path: path.rpartition(".")[2] for path in paths}
    last = {path: "".join(word[:1] for word in end.split("_")) if len(end) > 3 else end for path, end in ends.items()}
    uses = Counter(last.values())
    return {path: last[path] if uses[last[path]] == 1 else path.replace(".", "_") for path in paths}


def _short(path: str, initials: str, value: Any) -> str:
    if isinstance(value, str) and path.endswith(".name"):
        return value
    return f"{initials}{_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _told_apart(names: Mapping[str, str]) -> dict[str, str]:
    """The names, cut to wandb's length, with the first characters of their keys where several are the same."""
    cut = {key: name[:_MAX_NAME] for key, name in names.items()}
    uses = Counter(cut.values())
    return {key: name if uses[name] == 1 else _with_id(name, key) for key, name in cut.items()}


def _with_id(name: str, key: str) -> str:
    return f"{name[: _MAX_NAME - len(key) - 1]}-{key}"
