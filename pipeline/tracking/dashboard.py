"""A sweep's wandb workspace and report as code: bands by setting, converged shares, forecasts, outcomes, forks.

Needs wandb-workspaces (the extra `dashboards`). A workspace is built without a server; a report needs one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.commits import CommitReader
from pipeline.tracking.folder import tracking_of
from pipeline.tracking.names import (
    AUROC_TABLE,
    CALIBRATION_TABLE,
    CONVERGED_SHARE,
    EXPECTED_SHARE,
    INTERVAL_TABLE,
    OUTCOME_TABLE,
    P_CONVERGED,
    RUN_STEPS,
    STEP,
    quantile_names,
    wandb_name,
)
from pipeline.tracking.quality import outcome_table

# Metrics whose bands are shown, where a sweep records them; the label metric of its criterion comes first.
_BANDS = ("label_loss", "label_accuracy", "label_excess", "train_loss", "grad_norm", "weight_norm")
_COLUMNS = ("run:displayName", "summary:outcome", "summary:outcome_step", f"summary:{P_CONVERGED}")
# The tracked runs that a section is about, where these are not runs of the sweep.
_JOB_TYPES = {
    "Progress": "sweep",
    "Bands by setting": "aggregate",
    "Converged share": "aggregate",
    "Outcomes by setting": "sweep",
    "Forecast quality": "sweep",
    "Pictures": "aggregate",
}
# wandb shows ten runs unless told otherwise, and a thousand at most.
_MOST_SHOWN = 1000


def workspace_of(store: SweepStore, entity: str) -> Any:
    """The workspace of a sweep, not saved. Raises ModuleNotFoundError without wandb-workspaces."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr

    sweep = store.sweep
    return ws.Workspace(
        entity=entity,
        project=tracking_of(store).project,
        name=f"seedbed {sweep['name']}",
        sections=[
            ws.Section(name=name, panels=panels, is_open=place < 4)
            for place, (name, panels) in enumerate(_sections(store).items())
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=_MOST_SHOWN, group_by_prefix="first"),
        runset_settings=ws.RunsetSettings(
            filters=expr.And(expr.Config("sweep_id") == sweep["sweep_id"]),
            groupby=[],
            pinned_columns=list(_COLUMNS),
        ),
    )


def save_dashboard(store: SweepStore) -> tuple[str, str]:
    """Save workspace and report of a sweep to the account; returns where they are.

    Raises ModuleNotFoundError without wandb-workspaces, and what wandb raises where it does not take them.
    """
    import wandb

    entity = tracking_of(store).entity or wandb.Api().default_entity or ""
    return workspace_of(store, entity).save().url, report_of(store, entity).save().url


def workspace_json(workspace: Any) -> bytes:
    """The workspace as wandb stores it."""
    text: str = workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    return text.encode()


def report_of(store: SweepStore, entity: str) -> Any:
    """The report of a sweep, not saved: its outcomes as a table, and panels of its settings and forecasts.

    Raises ModuleNotFoundError without wandb-workspaces.
    """
    import wandb_workspaces.reports.v2 as wr

    sweep, project = store.sweep, tracking_of(store).project

    def grid(job_type: str, panels: Sequence[Any]) -> Any:
        chosen = f"Config('sweep_id') = '{sweep['sweep_id']}' and JobType = '{job_type}'"
        runs = wr.Runset(entity=entity, project=project, name=f"{job_type}s", filters=chosen)
        return wr.PanelGrid(runsets=[runs], panels=list(panels))

    sections = _sections(store)
    blocks = [wr.H1("Outcomes"), wr.MarkdownBlock(outcomes_markdown(store))]
    for name, panels in sections.items():
        blocks += [wr.H1(name), grid(_JOB_TYPES.get(name, "run"), panels)]
    return wr.Report(
        project=project,
        entity=entity,
        title=f"seedbed {sweep['name']}",
        description=f"{len(store.plan['runs'])} runs, sweep {sweep['sweep_id']}",
        blocks=blocks,
        width="fluid",
    )


def outcomes_markdown(store: SweepStore) -> str:
    """How many runs of every setting ended how, by the newest commits, as a Markdown table."""
    reader = CommitReader(store)
    reader.refresh()
    table = outcome_table(store.plan, reader.progress_by_run, reader.distinct)
    lines = [f"| {' | '.join(table.columns)} |", "|---" * len(table.columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in table.rows)])


def metrics_of(store: SweepStore) -> list[str]:
    """The metrics of `_BANDS` that the sweep records, the criterion's first; all of them before the first commit."""
    reader = CommitReader(store)
    reader.refresh()
    begun = [run for run in reader.tracked if run.job_type == "run" and reader.progress(run) is not None]
    criterion = store.sweep["spec"]["converged"]["metric"]
    wanted = list(dict.fromkeys([criterion, *_BANDS]))
    if not begun:
        return wanted
    progress = reader.progress(begun[0])
    assert progress is not None
    names = {name for row in reader.content(begun[0], progress, -1).rows for name in row.values}
    return [metric for metric in wanted if wandb_name(metric) in names]


def _sections(store: SweepStore) -> Mapping[str, list[Any]]:
    """Section -> its panels, the same in the workspace and in the report."""
    import wandb_workspaces.reports.v2 as wr

    metrics = metrics_of(store)
    steps = [
        wr.LinePlot(
            title="Runs", x=RUN_STEPS, y=[f"sweep/num_{what}" for what in ("running", "done", "converged", "diverged")]
        ),
        wr.LinePlot(title="Expected to converge", x=RUN_STEPS, y=["sweep/expected_converged", "sweep/expected_of"]),
    ]
    bands = [
        wr.LinePlot(title=f"{wandb_name(metric)}: 10%, median, 90%", x=STEP, y=quantile_names(metric))
        for metric in metrics
    ]
    single = [
        wr.LinePlot(
            title=f"{wandb_name(metric)}: runs by setting",
            x=STEP,
            y=[wandb_name(metric)],
            groupby="Group",
            groupby_aggfunc="median",
            groupby_rangefunc="minmax",
        )
        for metric in metrics[:2]
    ]
    sections: dict[str, list[Any]] = {
        "Progress": steps,
        "Bands by setting": bands,
        "Converged share": [
            wr.LinePlot(title="Share that has converged", x=STEP, y=[CONVERGED_SHARE], range_y=(0, 1)),
            wr.LinePlot(title="Share that has converged or is expected to", x=STEP, y=[EXPECTED_SHARE], range_y=(0, 1)),
        ],
        "Outcomes": [
            wr.BarPlot(
                title="Runs by outcome", metrics=["num_converged", "num_diverged", "num_stopped", "num_running"]
            ),
            wr.ScatterPlot(title="Best value and when", x=wr.SummaryMetric("outcome_step"), y=_best(metrics[0])),
        ],
        "Outcomes by setting": [wr.WeavePanelSummaryTable(table_name=OUTCOME_TABLE)],
        "Forecast quality": [
            _lines(INTERVAL_TABLE, "AUROC between seeds, by share of training seen", "window", "auroc", "line"),
            _lines(AUROC_TABLE, "AUROC between seeds, by predictor", "window", "auroc", "predictor"),
            _lines(CALIBRATION_TABLE, "Share that converged, by forecast and window", "forecast", "share", "window"),
            *(wr.WeavePanelSummaryTable(table_name=name) for name in (AUROC_TABLE, CALIBRATION_TABLE)),
        ],
        "Forecasts": [wr.LinePlot(title="P(converges) as runs train", x=STEP, y=[P_CONVERGED], range_y=(0, 1))],
        "Runs": single,
        "Heads": [wr.LinePlot(title="Induction", x=STEP, metric_regex="heads/induction/.*")],
        "Pictures": [wr.MediaBrowser(title="Attention", media_keys=["attention/layer0", "attention/layer1"])],
    }
    if any(row.get("parent") is not None for row in store.plan["runs"]):
        for what, title in (("parent", "by parent"), ("fork_step", "by the step of the fork")):
            sections.setdefault("Forks", []).append(
                wr.LinePlot(
                    title=f"{wandb_name(metrics[0])} {title}",
                    x=STEP,
                    y=[wandb_name(metrics[0])],
                    groupby=wr.Config(what),
                    groupby_aggfunc="median",
                    groupby_rangefunc="minmax",
                )
            )
    return sections


def _lines(table: str, title: str, x: str, y: str, stroke: str) -> Any:
    """One of wandb's own charts, of a table in the summary of the sweep's run."""
    import wandb_workspaces.reports.v2 as wr

    return wr.CustomChart(
        query={"summaryTable": {"tableKey": table}},
        chart_name="wandb/line/v0",
        chart_fields={"x": x, "y": y, "stroke": stroke},
        chart_strings={"title": title},
    )


def _best(metric: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.SummaryMetric(f"{wandb_name(metric)}_best")
