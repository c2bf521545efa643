"""The source files that compute a run, as hashes: all runs of a sweep are to be computed by one text."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pipeline.engine.reader import suitable_readings
from pipeline.numerics.native_source import Native, twin_of
from pipeline.readings.base import READINGS
from pipeline.spec.identity import canonical_json, digest
from pipeline.spec.run_config import RunConfig
from pipeline.spec.sweep import SweepSpec

_PACKAGE = Path(__file__).resolve().parents[1]
_NATIVE = _PACKAGE / "native"
# All of the engine, and what decides when a run is measured, what is recorded, and when it ends.
_COMMON = (
    "numerics/*.py",
    "engine/*.py",
    "spec/criterion.py",
    "spec/grid.py",
    "training/pack_loop.py",
    "training/recorded_metrics.py",
    "training/run_rows.py",
    "training/window_readings.py",
)
# Helpers of registered classes; of the classes themselves only those count that a run uses.
_ROOMS = ("tasks", "models", "optimisers", "schedules", "stopping", "readings")
_INCLUDED = re.compile(r'#include "(\w+\.h)"')


def source_hashes(spec: SweepSpec, configs: Iterable[RunConfig]) -> dict[str, str]:
    """File -> sixteen hexadecimal digits, for every file whose text computes runs of `configs`.

    Files of this package are named from its folder on, others in full. Of the C++ only what the runs' twins include.
    """
    objects: list[object] = [spec.stopping]
    # Runs of one setting share its objects.
    for config in {id(config.setting): config for config in configs}.values():
        objects += [config.task, config.model, config.optimiser, config.schedule]
        objects += [READINGS[name] for name in suitable_readings(spec.reading_names, config)]
    paths = {path for pattern in _COMMON for path in _PACKAGE.glob(pattern)}
    paths |= {path for room in _ROOMS for path in _PACKAGE.glob(f"{room}/_*.py")}
    paths |= {path for found in objects for path in _files_of_class(found)}
    paths |= set(_native_files(twin for found in objects if (twin := _twin(found)) is not None))
    counted = sorted(path for path in paths if path.name != "__init__.py")
    return {_name(path): hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in counted}


def sources_digest(hashes: dict[str, str]) -> str:
    """One hash for all files: sixteen hexadecimal digits."""
    return digest("sources", canonical_json(hashes))


def _files_of_class(found: object) -> Iterator[Path]:
    cls = found if isinstance(found, type) else type(found)
    for module in {base.__module__ for base in cls.__mro__}:
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is not None and module.partition(".")[0] not in sys.stdlib_module_names | {"pydantic"}:
            yield Path(file).resolve()


def _twin(found: object) -> Native | None:
    return twin_of(found) if hasattr(found, "native") else None  # type: ignore[arg-type]


def _native_files(twins: Iterable[Native]) -> Iterator[Path]:
    waiting = [_NATIVE / "program.cpp", _NATIVE / "philox.cpp", *(_NATIVE / twin.header for twin in twins)]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [_NATIVE / name for name in _INCLUDED.findall(path.read_text(encoding="utf-8"))]
    yield from seen


def _name(path: Path) -> str:
    return str(path.relative_to(_PACKAGE)) if path.is_relative_to(_PACKAGE) else str(path)
