"""The `seedbed` command's entry point."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from pipeline.spec.errors import SpecError
from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import StoreError
from sweeps.cli.consoles import err, out
from sweeps.cli.forecasts import forecast_commands
from sweeps.cli.forks import fork_commands
from sweeps.cli.results import result_commands
from sweeps.cli.training import training_commands
from sweeps.command.exit_codes import BAD_INPUT, FAILED

app = typer.Typer(
    name="seedbed",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (training_commands, result_commands, forecast_commands, fork_commands):
    app.add_typer(commands)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        out.print(f"seedbed {version('seedbed')}")
        raise typer.Exit


@app.callback()
def seedbed(
    is_version_asked: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Train thousands of small transformers that differ by seed, and forecast which will converge."""


def main() -> None:
    """Entry point: a user's mistake is one clear message and exit code 2, never a traceback."""
    try:
        app()
    except (SpecError, StoreError) as error:
        err.print(str(error), style="red")
        sys.exit(BAD_INPUT)
    except CorruptFileError as error:
        err.print(str(error), style="red")
        sys.exit(FAILED)
    except OSError as error:
        # Disk errors are reported in one line; earlier commits stay valid.
        err.print(f"{error.filename or 'disk'}: {error.strerror or error}", style="red")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
