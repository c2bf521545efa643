"""Forecasts of the runs of several budgets, each learned from runs of its own budget, as one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.forecasting.run_forecasts import RunForecasts


def forecasts_document(found: Sequence[RunForecasts], budget: int | Mapping[str, int]) -> dict[str, Any]:
    """Plain values of all forecasts of a sweep; of several budgets every run, window and note says which is meant.

    `budget` is that of the sweep, or setting_id -> budget. What several budgets have otherwise is as in
    `RunForecasts.to_json`.
    """
    documents = [part.to_json() for part in found]
    if isinstance(budget, int):
        (document,) = documents
        return document
    return {
        "sweep": documents[0]["sweep"],
        "budget": dict(budget),
        "source": "; ".join(dict.fromkeys(document["source"] for document in documents)),
        "runs": [{**run, "budget": document["budget"]} for document in documents for run in document["runs"]],
        "notes": [f"budget {document['budget']}: {note}" for document in documents for note in document["notes"]],
        "windows": [
            {**window, "budget": document["budget"]} for document in documents for window in document["windows"]
        ],
    }
