"""Which metrics the runs of a sweep will record, and whether its stopping rule can decide by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from pipeline.engine.block import Block
from pipeline.engine.reader import Reader, suitable_readings
from pipeline.spec.run_config import RunConfig
from pipeline.stopping.base import StoppingRule
from pipeline.store.pack_store import StoreError

_ITEMS = 2


def refuse_undecidable(rule: StoppingRule, runs: Mapping[str, RunConfig], readings: Sequence[str] = ()) -> None:
    """Raises StoreError, by name, if no run records a metric that the rule needs, or a hyperparameter is unfit for it.

    `readings` are taken of the runs that they can read. Only for rules that need metrics does it build a block of each
    static setting, to see what runs record.
    """
    problems = dict.fromkeys(
        problem
        for config in {config.setting_id: config for config in runs.values()}.values()
        for problem in rule.unfit(config.hyperparameters())
    )
    lacking = sorted(rule.metrics_needed() - _recorded(runs, readings)) if rule.metrics_needed() else []
    if lacking:
        problems[f"this sweep does not record {', '.join(lacking)}"] = None
    if problems:
        raise StoreError("\n".join(f"stopping {rule.name}: {problem}" for problem in problems))


def recorded_metrics(config: RunConfig, readings: Sequence[str] = ()) -> frozenset[str]:
    """The names of the metrics that a run like this records, from a block of one slot."""
    block = Block(config, 1, torch.device("cpu"))
    block.load_run(0, config, block.start(config))
    names = suitable_readings(readings, config)
    read = Reader(config, names, _ITEMS, 1).read(block.parameters_of([0]), [config]) if names else {}
    return frozenset({*block.evaluate(_ITEMS), *block.probe(_ITEMS), *read})


def _recorded(runs: Mapping[str, RunConfig], readings: Sequence[str]) -> frozenset[str]:
    first = {config.static_key(): config for config in runs.values()}
    return frozenset(name for config in first.values() for name in recorded_metrics(config, readings))
