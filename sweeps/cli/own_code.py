"""Subcommands for what a sweep file may name: shown, and written by oneself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.consoles import out

own_code_commands = typer.Typer()
_PANEL = "Your own code"


@own_code_commands.command("list", rich_help_panel="Sweeps")
def list_(
    name: Annotated[
        str | None,
        typer.Argument(help="A task, model, ..., kind (tasks) or sweep to show in full.", show_default=False),
    ] = None,
) -> None:
    """List the sweeps that come with seedbed and the names that a sweep file may use, or show one NAME in full.

    In full: its parameters with type, default and bounds, its description, and where it and its contract are.

    Example: `seedbed list dictionary_lookup`
    """
    if name is not None:
        from sweeps.command.own.showing import show

        show(name, out)
        return
    from sweeps.command.own.listing import list_everything

    list_everything(out)


@own_code_commands.command("new", rich_help_panel=_PANEL)
def new_command(
    kind: Annotated[
        str,
        typer.Argument(
            help="task, model, lightning, data, optimiser, schedule, reading, statistic, predictor, stopping or sweep.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Argument(help="What it is called, in sweep files too.", show_default=False)],
    folder: Annotated[Path, typer.Option("--folder", help="Where to write.")] = Path(),
    task: Annotated[
        str | None, typer.Option("--task", help="Of a new sweep: the task to train.", show_default=False)
    ] = None,
) -> None:
    """Write a file of your own that works as it is: NAME.py, and NAME.yaml, a sweep that trains it.

    Nothing is ever overwritten. Statistics and predictors come without a sweep: `--import` names them.

    Example: `seedbed new task my_task`
    """
    from sweeps.command.own.creating import create

    create(kind, name, folder, task, out)


@own_code_commands.command("check", rich_help_panel=_PANEL)
def check_command(
    files: Annotated[list[Path], typer.Argument(help="Python files of your own, or sweep files.", show_default=False)],
) -> None:
    """Test the classes of files against the contracts of their kinds, clause by clause, and measure what they cost.

    Of a sweep file, its LightningModules are tested, on its task and with its keywords. What files import is run.
    Exit code: 0 all clauses hold, 1 some are broken, 2 a file cannot be imported.

    Example: `seedbed check my_task.py`
    """
    from sweeps.command.own.checking import run_check

    raise typer.Exit(run_check(files, out))
