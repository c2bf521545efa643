"""What this computer's processor is: its name, its microarchitecture, and which instructions it has."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
# (maker, family) -> the models from .. to, both included, of a microarchitecture. From AMD's and Intel's own lists, as
# the kernel's arch/x86/include/asm/intel-family.h has them. On clouds the name alone says as little as "AMD EPYC".
_KINDS: dict[tuple[str, int], tuple[tuple[int, int, str], ...]] = {
    ("AuthenticAMD", 0x17): ((0x00, 0x2F, "Zen"), (0x30, 0xFF, "Zen 2")),
    ("AuthenticAMD", 0x19): (
        (0x00, 0x0F, "Zen 3"),
        (0x10, 0x1F, "Zen 4"),
        (0x20, 0x5F, "Zen 3"),
        (0x60, 0xAF, "Zen 4"),
    ),
    ("AuthenticAMD", 0x1A): ((0x00, 0x7F, "Zen 5"),),
    ("GenuineIntel", 6): (
        (0x3F, 0x3F, "Haswell"),
        (0x4F, 0x4F, "Broadwell"),
        (0x55, 0x55, "Skylake or Cascade Lake"),
        (0x6A, 0x6A, "Ice Lake"),
        (0x8F, 0x8F, "Sapphire Rapids"),
        (0xAD, 0xAD, "Granite Rapids"),
        (0xCF, 0xCF, "Emerald Rapids"),
    ),
}


def processor() -> str:
    """The processor's name and microarchitecture, "AMD EPYC (Zen 4)"; empty where the system does not say.

    Where the microarchitecture is not known here, what the system says of it: "(family 25, model 17)".
    """
    entries = _entries(_CPUINFO)
    name = entries.get("model name", "")
    if not name:
        return platform.processor()
    family, model = entries.get("cpu family", ""), entries.get("model", "")
    if not (family.isdigit() and model.isdigit()):
        return name
    kinds = _KINDS.get((entries.get("vendor_id", ""), int(family)), ())
    kind = next((kind for first, last, kind in kinds if first <= int(model) <= last), None)
    return f"{name} ({kind or f'family {family}, model {model}'})"


def instructions() -> frozenset[str]:
    """The sets of instructions that it has, by the names of /proc/cpuinfo; empty where the system does not say."""
    return frozenset(_entries(_CPUINFO).get("flags", "").split())


@cache
def _entries(file: Path) -> dict[str, str]:
    """What the system says of the first processor."""
    try:
        lines = file.read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
