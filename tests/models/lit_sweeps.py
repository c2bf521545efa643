"""Tiny sweeps over the LightningModules of lit.py."""

from __future__ import annotations

from pathlib import Path

from pipeline.spec.sweep import SweepSpec
from tests.support import tiny

FILE = str(Path(__file__).parent / "lit.py")


def spec_of(lit="Lit", **changes):
    """A sweep over this class of lit.py; `model` are keywords of the class. The file must be imported."""
    data = tiny().identity() | {"model": {"name": "lightning", "module": f"{FILE}:{lit}", **changes.pop("model", {})}}
    del data["optimiser"], data["schedule"]
    return SweepSpec.model_validate(data | {"imports": [FILE]} | changes)
