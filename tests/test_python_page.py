"""docs/python.md: its blocks run in order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.mark.native
def test_every_block_of_the_page_works_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(compile(block, "docs/python.md", "exec"), known)
    assert len(known["runs"]) == 8
    assert known["loss_RT"].shape[0] == 8
    assert np.isfinite(known["loss_RT"][:, -1]).all()
    assert (known["few"].values["label_loss"][:, -1] == known["loss_RT"][:, -1].astype(np.float32)).all()
    assert known["run_ids"] == known["width_4"]
    assert len(known["run_ids"]) == len(known["arrays"]["weights"]) == 4
    assert known["outcomes"].kind_R.tolist() == known["runs"]["outcome"].tolist()
    assert known["effect"].to_json()
    assert known["logits"].shape == (5, 8)
