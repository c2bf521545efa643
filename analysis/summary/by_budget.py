"""The analyses of a sweep whose settings have several budgets: one for each budget, and the tables that are joined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from analysis.outcomes.settings import labels_of
from analysis.summary.analyse import Analysis
from analysis.summary.setting_table import WIDTH, setting_table, wrap
from analysis.summary.settings import SettingSummary
from pipeline.counted import counted
from pipeline.store.budgets import in_words

JUDGED = (
    "Every run is judged by its own budget. Runs of different budgets are not compared step by step: each budget has "
    "an analysis and forecasts of its own."
)


@dataclass(frozen=True)
class AnalysisByBudget:
    """The analyses of the runs of each budget, in order of budget: `parts`, of which no two have the same one."""

    parts: tuple[Analysis, ...]

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return self.parts[0].history.name

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budgets, increasing."""
        return tuple(part.history.budget for part in self.parts)

    def settings(self) -> tuple[SettingSummary, ...]:
        """The settings of all budgets, each judged by its own, with labels that tell them apart and name the budget."""
        runs = [run for part in self.parts for run in part.history.runs]
        first = {run.setting_id: run.hyperparameters for run in reversed(runs)}
        paths = dict.fromkeys(path for own in first.values() for path in own)
        varied = tuple(path for path in paths if len({repr(own.get(path)) for own in first.values()}) > 1)
        labels = labels_of(first, varied)
        return tuple(
            replace(setting, label=f"{labels[setting.setting_id]}, budget={part.history.budget}")
            for part in self.parts
            for setting in part.settings
        )

    def counts(self) -> str:
        """Numbers of runs and settings, and the budgets."""
        num_runs, num_settings = sum(len(part.history.runs) for part in self.parts), len(self.settings())
        budgets = ("budgets of " if len(self.budgets) > 1 else "a budget of ") + in_words(self.budgets)
        return f"{counted(num_runs, 'run')} of {counted(num_settings, 'setting')} with {budgets} steps"

    def summary(self, with_scores: bool = False, width: int = WIDTH) -> str:
        """The joined table of settings, then the summary of every budget, as wide as these."""
        table = setting_table(self.settings(), width=width)
        lines = [*wrap(f"{self.name}: {self.counts()}", width), *table, "", *wrap(JUDGED, width)]
        for part in self.parts:
            heading = f"Budget {part.history.budget} steps"
            lines += ["", heading, "-" * min(len(heading), width), "", part.summary(with_scores, width)]
        return "\n".join(line.rstrip() for line in lines)

    def to_json(self) -> dict[str, Any]:
        """The joined tables in plain values: settings and runs, each with its budget; the rest is by budget alone."""
        documents = [part.to_json() for part in self.parts]
        labels = {setting.setting_id: setting.label for setting in self.settings()}
        return {
            "sweep": self.name,
            "provenance": documents[0]["provenance"],
            "criterion": documents[0]["criterion"],
            "budgets": list(self.budgets),
            "num_runs": sum(document["num_runs"] for document in documents),
            "num_failed": sum(document["num_failed"] for document in documents),
            "settings": [
                {**setting, "label": labels[setting["setting_id"]], "budget": document["budget"]}
                for document in documents
                for setting in document["settings"]
            ],
            "runs": [{**run, "budget": document["budget"]} for document in documents for run in document["runs"]],
        }
