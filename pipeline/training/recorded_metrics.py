"""Which metrics the runs of a sweep will record, and whether its stopping rule can decide by them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from pipeline.engine.block import Block
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.planning.plan_rows import of_every_setting
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec
from pipeline.store.pack_store import StoreError

_ITEMS = 2


def refuse_undecidable(spec: SweepSpec, runs: Mapping[str, RunConfig]) -> None:
    """Raises StoreError, by name, where the stopping rule cannot decide on `runs`, which are those of `spec`.

    That is where no run records a metric that it needs, or records it at other steps, or where a hyperparameter is
    unfit for it. Only for rules that need metrics a block of each static setting is built, to see what runs record.
    """
    rule = spec.stopping
    problems = dict.fromkeys(
        problem
        for config in {config.setting_id: config for config in of_every_setting(runs.values())}.values()
        for problem in rule.unfit(config.hyperparameters())
    )
    if rule.metrics_needed():
        recorded: dict[int, dict[str, frozenset[int]]] = {budget: {} for budget in spec.budgets}
        for config in {(config.static_key(), spec.budget_of(config)): config for config in runs.values()}.values():
            recorded[spec.budget_of(config)].update(recorded_metrics(spec, config))
        for of_one_budget in recorded.values():
            problems.update(dict.fromkeys(rule.unread(of_one_budget)))
    if problems:
        raise StoreError("\n".join(f"stopping {rule.name}: {problem}" for problem in problems))


def recorded_metrics(spec: SweepSpec, config: RunConfig) -> dict[str, frozenset[int]]:
    """Metric -> the steps at which a run of the sweep like this records it, by a block of one slot."""
    block = Block(config, 1, torch.device("cpu"))
    block.load_run(0, config, block.start(config))
    steps = spec.steps(spec.budget_of(config))
    found = dict.fromkeys(block.evaluate(_ITEMS), steps.grid.eval_steps)
    found |= dict.fromkeys(block.probe(_ITEMS), steps.grid.probe_steps)
    readings = suitable_readings(spec.reading_names, config)
    if readings:
        metrics = Reader(config, readings, _ITEMS, 1).read(block.parameters_of([0]), [config])
        found |= dict.fromkeys(metrics, frozenset(step for _, step in steps.windows))
    return found
