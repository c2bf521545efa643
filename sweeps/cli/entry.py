"""The `seedbed` command: refuses other systems before anything is imported that they lack, then runs."""

from __future__ import annotations

from sweeps.cli.supported import refuse_other_systems


def main() -> None:
    """Entry point of the installed command."""
    refuse_other_systems()
    from sweeps.cli.__main__ import main as run

    run()
