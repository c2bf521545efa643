"""`seedbed dashboard`: a sweep's wandb workspace and report, saved to the account or written as JSON."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from pipeline.store.files import write_file
from pipeline.store.sweep_store import SweepStore
from pipeline.tracking.dashboard import save_dashboard, workspace_json, workspace_of
from pipeline.tracking.folder import tracking_of
from sweeps.command.exit_codes import COMPLETE, FAILED

_MISSING = "it is made by the package {}, which is missing: pip install 'seedbed[dashboards]'"


def run_dashboard(store: SweepStore, to: str | None, out: Console, err: Console) -> int:
    """Save workspace and report of a results folder and print where they are, or write the workspace to a file.

    Returns the exit code. Raises StoreError or OSError where the folder cannot be read, or the file not written.
    """
    try:
        built = workspace_of(store, tracking_of(store).entity or "")
    except ModuleNotFoundError as error:
        err.print(_MISSING.format(error.name), style="red", markup=False)
        return FAILED
    if to is not None:
        write_file(Path(to), workspace_json(built))
        out.print(f"workspace: {to}", markup=False)
        return COMPLETE
    try:
        workspace, report = save_dashboard(store)
    except Exception as error:  # What wandb raises for no account, no server and a refusal has no common class.
        problem = str(error).strip().splitlines() or [type(error).__name__]
        err.print(f"wandb did not take it: {problem[0]}", style="red", markup=False)
        return FAILED
    out.print(f"workspace: {workspace}\nreport: {report}", markup=False)
    return COMPLETE
