"""The `seedbed` command's entry point."""

from __future__ import annotations

import atexit
import gc
import io
import os
import shlex
import sys
import sysconfig
import tempfile
import traceback
from contextlib import suppress
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from pipeline.spec.errors import SpecError
from pipeline.store.files import CorruptFileError
from pipeline.store.formats.sealed import NewerFormatError
from pipeline.store.pack_store import StoreError
from sweeps.cli.consoles import err, out
from sweeps.cli.dashboards import dashboard_commands
from sweeps.cli.forecasts import forecast_commands
from sweeps.cli.forks import fork_commands
from sweeps.cli.own_code import own_code_commands
from sweeps.cli.results import result_commands
from sweeps.cli.settings import setting_commands
from sweeps.cli.supported import refuse_other_systems
from sweeps.cli.training import training_commands
from sweeps.command.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from sweeps.command.own.consent import import_named
from sweeps.command.terminal.bars import bars

_MOST_COLUMNS = 1000
# Where pip installs those of a wheel.
_DOCUMENTS = Path(sysconfig.get_path("data"), "share", "doc", "seedbed", "docs")
_NO_MEMORY = "memory has run out; what was committed before stays valid"
_NO_MEMORY_TOLD = ("can't allocate memory", "failed to map segment", "cannot allocate memory")

app = typer.Typer(
    name="seedbed",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog=f"Documents: {_DOCUMENTS}" if _DOCUMENTS.is_dir() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (
    training_commands,
    result_commands,
    setting_commands,
    forecast_commands,
    fork_commands,
    dashboard_commands,
    own_code_commands,
):
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
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            help="Code of your own, ./my_task.py or my_pkg.tasks, for any command (repeatable).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train thousands of small transformers that differ by seed, and forecast which will converge."""
    if imports:
        import_named(imports)


def imports_first(arguments: list[str]) -> list[str]:
    """The arguments with `--import X`, wherever it stands, before the command, whose options it is not one of."""
    first: list[str] = []
    others: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            others += [argument, *waiting]
        elif argument == "--import":
            first += [argument, *list(islice(waiting, 1))]
        else:
            (first if argument.startswith("--import=") else others).append(argument)
    return first + others


def main() -> None:
    """Entry point: whatever goes wrong is one clear message and an exit code, never a traceback.

    A user's mistake is 2, anything else 1, Ctrl-C 130. What seedbed did not foresee goes to a log file.
    """
    refuse_other_systems()
    _be_able_to_print()
    # The last thing done: what the interpreter then tidies up by itself would take it seconds after torch and Ray.
    atexit.register(gc.freeze)
    try:
        with bars(out):
            app(imports_first(sys.argv[1:]))
    except (SpecError, StoreError, NewerFormatError) as error:
        _leave(str(error), BAD_INPUT)
    except CorruptFileError as error:
        _leave(str(error), FAILED)
    except OSError as error:
        # Disk errors are reported in one line; earlier commits stay valid. What is written to a file names it.
        _leave(f"{error.filename or 'standard output'}: {error.strerror or error}", FAILED)
    except KeyboardInterrupt:
        _leave("interrupted", INTERRUPTED)
    except SystemExit as end:
        # What typer makes of Ctrl-C, without a word.
        if end.code == INTERRUPTED:
            _leave("interrupted", INTERRUPTED)
        if (problem := _flush()) is not None:
            _leave(f"standard output: {problem}", FAILED)
        raise
    except MemoryError:
        _leave(_NO_MEMORY, FAILED)
    except Exception as error:
        # Neither torch nor the loader of libraries has an exception of its own for it.
        if isinstance(error, RuntimeError | ImportError) and any(told in str(error) for told in _NO_MEMORY_TOLD):
            _leave(_NO_MEMORY, FAILED)
        _leave(f"{type(error).__name__}: {error}; a mistake in seedbed or in code given to it, {_logged()}", FAILED)


def _be_able_to_print() -> None:
    """Characters that the terminal's encoding lacks are shown as escape sequences."""
    columns = os.environ.get("COLUMNS")
    if columns is not None and not (columns.isdecimal() and int(columns) > 0):
        # On no columns nothing would be printed.
        del os.environ["COLUMNS"]
    elif columns is not None and int(columns) > _MOST_COLUMNS:
        # Lines are filled with blanks up to there.
        os.environ["COLUMNS"] = str(_MOST_COLUMNS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> str | None:
    """Write what is printed now, while an error can still be told: that of standard output, else None."""
    problems = {}
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            # What is left in it would be tried again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            problems[number] = error.strerror or str(error)
    return problems.get(1)


def _leave(message: str, code: int) -> NoReturn:
    _flush()
    with suppress(OSError):
        err.print(message, style="red")
    sys.exit(code)


def _logged() -> str:
    """Write the exception being handled to a file that this user alone can read; where that is, in words."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="seedbed-error-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(f"seedbed {version('seedbed')}, {shlex.join(sys.argv)}\n\n{traceback.format_exc()}")
    except OSError as error:
        return f"not logged, since {error}"
    return f"logged in {path}"


if __name__ == "__main__":
    main()
