"""The name of a processor, with its microarchitecture where that is known."""

from __future__ import annotations

import platform

import pytest

from pipeline.numerics import processor as room

TEXT = """processor\t: 0
vendor_id\t: {maker}
cpu family\t: {family}
model\t\t: {model}
model name\t: {name}
flags\t\t: fpu avx2 fma

processor\t: 1
model name\t: another
"""


@pytest.mark.parametrize(
    ("maker", "family", "model", "told"),
    [
        ("AuthenticAMD", 25, 17, "A (Zen 4)"),
        ("AuthenticAMD", 25, 1, "A (Zen 3)"),
        ("AuthenticAMD", 26, 2, "A (Zen 5)"),
        ("GenuineIntel", 6, 0x8F, "A (Sapphire Rapids)"),
        ("GenuineIntel", 6, 1, "A (family 6, model 1)"),
        ("Other", 99, 1, "A (family 99, model 1)"),
        ("Other", "?", 1, "A"),
    ],
)
def test_it_is_named_by_family_and_model(tmp_path, monkeypatch, maker, family, model, told):
    file = tmp_path / "cpuinfo"
    file.write_text(TEXT.format(maker=maker, family=family, model=model, name="A"))
    monkeypatch.setattr(room, "_CPUINFO", file)
    assert room.processor() == told


def test_where_the_system_does_not_say_it_is_what_python_knows(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_CPUINFO", tmp_path / "none")
    assert room.processor() == platform.processor()
