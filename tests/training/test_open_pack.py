"""A pack is opened under the numerics that it was planned for, or refused with what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.launch.planned import plan_on
from pipeline.planning.packs import Machine
from pipeline.store.pack_store import StoreError
from pipeline.training.open_pack import block_of
from tests.support import tiny


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"torch": "1.0.0"}, "planned for torch 1.0.0"),
        ({"program": "other.1"}, "planned for the arithmetic 'other.1'"),
        ({"device": "cuda"}, r"planned for a GPU, and this machine \(.*\) has none"),
        ({"engine": "compiled-g++-1.0"}, r"planned for programs of compiled-g\+\+-1.0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_pack_of_other_numerics_is_refused(changes, told, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    plan = plan_on(tiny(), Machine.cpu(1))
    (pack,) = plan.packs
    config = plan.runs[pack.run_ids[0]]
    assert block_of(pack, config).num_slots == pack.numerics.slots
    with pytest.raises(StoreError, match=told):
        block_of(replace(pack, numerics=replace(pack.numerics, **changes)), config)
