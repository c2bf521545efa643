"""Runs grouped by setting (equal hyperparameters), and a short label for each setting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.arrays import Bools, Texts
from pipeline.store.history import History, RunInfo


def setting_R(runs: tuple[RunInfo, ...]) -> Texts:
    """(R,) the setting_id of each run."""
    return np.array([run.setting_id for run in runs], dtype=np.str_)


def runs_by_setting(history: History) -> dict[str, Bools]:
    """setting_id -> (R,) True for its runs; settings in the order in which the sweep declares them."""
    of_run_R = setting_R(history.runs)
    return {setting: np.asarray(of_run_R == setting) for setting in dict.fromkeys(of_run_R.tolist())}


def setting_labels(history: History) -> dict[str, str]:
    """setting_id -> what tells it apart, such as `lr=0.003, head_width=4`; unique inside the sweep.

    Only varied hyperparameters are named, by the last part of their path where that is unambiguous. A sweep of one
    setting has the label `all runs`. Labels that would coincide get the setting_id as well.
    """
    first = {run.setting_id: run for run in reversed(history.runs)}
    return labels_of({setting: first[setting].hyperparameters for setting in runs_by_setting(history)}, history.varied)


def labels_of(hyperparameters: Mapping[str, Mapping[str, Any]], varied: tuple[str, ...]) -> dict[str, str]:
    """The same for settings of any histories: setting_id -> its hyperparameters, of which `varied` are named."""
    names = _short_names(varied)
    labels = {setting: _label(own, names) for setting, own in hyperparameters.items()}
    uses = Counter(labels.values())
    return {s: label if uses[label] == 1 else f"{label} [{s}]" for s, label in labels.items()}


def _label(hyperparameters: Mapping[str, Any], names: Mapping[str, str]) -> str:
    parts = [f"{short}={_text(hyperparameters[path])}" for path, short in names.items() if path in hyperparameters]
    return ", ".join(parts) or "all runs"


def _short_names(paths: tuple[str, ...]) -> dict[str, str]:
    leaves = [path.rsplit(".", 1)[-1] for path in paths]
    return {path: leaf if leaves.count(leaf) == 1 else path for path, leaf in zip(paths, leaves, strict=True)}


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
