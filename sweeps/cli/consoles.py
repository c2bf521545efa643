"""The consoles that subcommands print on: results on standard output, mistakes on standard error."""

from __future__ import annotations

from rich.console import Console

out = Console(soft_wrap=True, highlight=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
