"""The source files that compute a run, as hashes: all runs of a sweep are to be computed by one text."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType

from pipeline.engine.reader import suitable_readings
from pipeline.own_code.closure import own_files
from pipeline.readings.base import READINGS
from pipeline.spec.identity import canonical_json, digest
from pipeline.spec.parameters import Registered
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
    "training/evaluation_plan.py",
    "training/isolation.py",
    "training/pack_loop.py",
    "training/recorded_metrics.py",
    "training/run_rows.py",
    "training/window_readings.py",
)
# What writes C++ from torch code, and what that includes.
_HEADERS = ("drawn", "draws", "functions", "hyperparameters", "lanes", "philox", "products", "sampled")
_WRITES = (
    "codegen/**/*.py",
    *(f"native/{name}.h" for name in _HEADERS),
)
# Helpers of registered classes; of the classes themselves only those count that a run uses.
_ROOMS = ("tasks", "models", "optimisers", "schedules", "stopping", "readings")
# Whose versions are in the numerics, or bear on no bit.
_LIBRARIES = {
    "lightning",
    "lightning_fabric",
    "lightning_utilities",
    "pydantic",
    "pytorch_lightning",
    "torch",
    "torchmetrics",
}
_INCLUDED = re.compile(r'#include "(\w+\.h)"')


def source_hashes(spec: SweepSpec, configs: Iterable[RunConfig]) -> dict[str, str]:
    """File -> sixteen hexadecimal digits, for every file whose text computes runs of `configs`.

    Files of this package are named from its folder on, others from that of theirs (see `own_files`). Of the C++ only
    what programs of such runs include.
    """
    objects: list[object] = [spec.stopping]
    # Runs of one setting share its objects.
    is_written = False
    for config in {id(config.setting): config for config in configs}.values():
        is_written |= config.model.is_traceable(config.task.shape())
        objects += [config.task, config.model, config.optimiser, config.schedule, *config.task.functions()]
        objects += [READINGS[name] for name in suitable_readings(spec.reading_names, config)]
    paths = {path for pattern in _COMMON for path in _PACKAGE.glob(pattern)}
    paths |= {path for room in _ROOMS for path in _PACKAGE.glob(f"{room}/_*.py")}
    if is_written:
        paths |= {path for pattern in _WRITES for path in _PACKAGE.glob(pattern)}
    own = dict(part for found in objects for part in _files_of_class(found))
    paths |= {path for path in own.values() if path.is_relative_to(_PACKAGE)}
    paths |= set(_native_files())
    named = {str(path.relative_to(_PACKAGE)): path for path in paths if path.name != "__init__.py"}
    named |= {name: path for name, path in own.items() if not path.is_relative_to(_PACKAGE)}
    return {name: hashlib.sha256(named[name].read_bytes()).hexdigest()[:16] for name in sorted(named)}


def sources_digest(hashes: dict[str, str]) -> str:
    """One hash for all files: sixteen hexadecimal digits."""
    return digest("sources", canonical_json(hashes))


def _files_of_class(found: object) -> Iterator[tuple[str, Path]]:
    """The files of a class and its bases, or of a function; of other packages with what they import of their own."""
    cls = found if isinstance(found, type) else type(found)
    own = cls.own_classes() if issubclass(cls, Registered) else ()
    bases = {base.__module__ for part in (cls, *own) for base in part.__mro__}
    for module in {found.__module__} if isinstance(found, FunctionType) else bases:
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is None or module.partition(".")[0] in sys.stdlib_module_names | _LIBRARIES:
            continue
        path = Path(file).resolve()
        yield from {str(path): path}.items() if path.is_relative_to(_PACKAGE) else own_files(path, module).items()


def _native_files() -> Iterator[Path]:
    waiting = [_NATIVE / name for name in ("program.cpp", "philox.cpp", "sampled.h")]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [_NATIVE / name for name in _INCLUDED.findall(path.read_text(encoding="utf-8"))]
    yield from seen
