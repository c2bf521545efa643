"""Subcommands that bring a sweep to wandb."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.store.sweep_store import SweepStore
from sweeps.cli.consoles import err, out
from sweeps.cli.options import Folder

dashboard_commands = typer.Typer()
_PANEL = "Dashboards"


@dashboard_commands.command("mirror", rich_help_panel=_PANEL)
def mirror_command(
    folder: Folder,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on at every commit until all runs have ended, or Ctrl-C.")
    ] = False,
) -> None:
    """Write to wandb what it lacks of a sweep: rows, outcomes, forecasts, its report.

    A launch does so by itself.

    Offline or online as tracking.mode of the sweep file says; `launch` with another one changes it.

    Example: `seedbed mirror results/quickstart`
    """
    from sweeps.command.mirroring import run_mirror

    raise typer.Exit(run_mirror(SweepStore(folder), follow, out))


@dashboard_commands.command(rich_help_panel=_PANEL)
def dashboard(
    folder: Folder,
    to: Annotated[
        str | None,
        typer.Option("--out", help="Write the workspace to this JSON file instead of saving it.", show_default=False),
    ] = None,
) -> None:
    """Make a wandb workspace and report of a sweep: bands by setting, converged shares, forecasts, outcomes.

    Needs an account, or --out, and the extra `dashboards`.

    Example: `seedbed dashboard results/quickstart`
    """
    from sweeps.command.dashboards import run_dashboard

    raise typer.Exit(run_dashboard(SweepStore(folder), to, out, err))
