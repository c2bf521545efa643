"""The refusal to train on data that are not what they were."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.spec.run_config import RunConfig
from pipeline.store.pack_store import StoreError


def refuse_missing_data(name: str, runs: Iterable[RunConfig]) -> None:
    """Raises StoreError where a task's data are missing or have changed, naming them; `name` is the sweep's."""
    # Runs of one setting share its task.
    settings = {id(run.setting): run.setting for run in runs}
    found = (setting.task.problem() for setting in settings.values())
    problems = dict.fromkeys(problem for problem in found if problem is not None)
    if problems:
        raise StoreError(f"{name}: " + "; ".join(problems))
