"""The kinds of class that a user may add, each with its registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analysis.predictors.base import PREDICTORS
from analysis.statistics.base import STATISTICS
from pipeline.models.base import MODELS
from pipeline.optimisers.base import OPTIMISERS
from pipeline.readings.base import READINGS
from pipeline.registry import Registry
from pipeline.schedules.base import SCHEDULES
from pipeline.stopping.base import STOPPING_RULES
from pipeline.tasks.base import TASKS


@dataclass(frozen=True)
class Kind:
    """`word` names one of the kind in a sentence, `plural` several; `classes` are those that are registered."""

    word: str
    plural: str
    classes: Registry[Any]

    @property
    def with_article(self) -> str:
        """The word with "a" or "an"."""
        return f"{'an' if self.word[0] in 'aeiou' else 'a'} {self.word}"


# By the word that commands take.
KINDS_OF_CODE: dict[str, Kind] = {
    "task": Kind("task", "tasks", TASKS),
    "model": Kind("model", "models", MODELS),
    "optimiser": Kind("optimiser", "optimisers", OPTIMISERS),
    "schedule": Kind("schedule", "schedules", SCHEDULES),
    "reading": Kind("reading", "readings", READINGS),
    "statistic": Kind("statistic", "statistics", STATISTICS),
    "predictor": Kind("predictor", "predictors", PREDICTORS),
    "stopping": Kind("stopping rule", "stopping rules", STOPPING_RULES),
}


def kind_of(cls: type) -> str | None:
    """The word of the kind that a class belongs to; None if it is of no kind."""
    return next((word for word, kind in KINDS_OF_CODE.items() if issubclass(cls, kind.classes.base_class)), None)
