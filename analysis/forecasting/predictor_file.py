"""A fitted forecaster as a JSON file: columns by name, weights, scales, and what they were learned from."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from analysis.forecasting.fitted import FittedForecasts
from analysis.forecasting.ranking import Ranking
from analysis.predictors.ridge import Ridge
from analysis.predictors.time_distribution import TimeDistribution
from pipeline.store.files import CorruptFileError, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal

FORMAT = "seedbed forecaster 3"
_PACKAGES = ("seedbed", "numpy", "scikit-learn")


def write_forecaster(path: Path, fitted: FittedForecasts) -> None:
    """Writes the forecaster, sealed with its SHA-256, in place of what was there."""
    versions = {package: version(package) for package in _PACKAGES}
    write_file(path, seal({"format": FORMAT, "versions": versions, "forecaster": _plain(fitted)}))


def read_forecaster(path: Path) -> FittedForecasts:
    """The forecaster of a file, checked: its checksum, its format, every field's type, and the lengths of weights.

    Raises ValueError that names the file and what is wrong.
    """
    try:
        document = unseal(read_file(path), path)
        if document.get("format") != FORMAT:
            raise ValueError(f"format must be {FORMAT!r}, got {document.get('format')!r}")
        fitted = _built(FittedForecasts, document.get("forecaster"), "forecaster")
    except (CorruptFileError, ValueError) as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(path)) else f"{path}: {text}") from error
    assert isinstance(fitted, FittedForecasts)
    return fitted


def _plain(value: Any) -> Any:
    """JSON of dataclasses, tuples, dicts and arrays; a number that is not finite is text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value


def _built(expected: Any, value: Any, place: str) -> Any:
    """The value of the annotated type `expected` that this JSON stands for. Raises ValueError naming the place."""
    origin, arguments = get_origin(expected), get_args(expected)
    if origin is types.UnionType:
        return None if value is None else _built(arguments[0], value, place)
    if is_dataclass(expected):
        return _dataclass(expected, value, place)
    if origin is tuple:
        return tuple(_built(arguments[0], item, f"{place}[{n}]") for n, item in enumerate(_as(list, value, place)))
    if origin is dict:
        items = _as(dict, value, place).items()
        return {key: _built(arguments[1], item, f"{place}.{key}") for key, item in items}
    if origin is np.ndarray:
        return np.array([_built(float, item, place) for item in _as(list, value, place)], dtype=np.float64)
    if expected is float and value in ("nan", "inf", "-inf"):
        return float(value)
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _as(expected, value, place)


def _dataclass(expected: Any, value: Any, place: str) -> Any:
    hints = get_type_hints(expected)
    names = [field.name for field in fields(expected)]
    given = _as(dict, value, place)
    if set(given) != set(names):
        odd = sorted(set(given) ^ set(names))
        raise ValueError(f"{place}: must hold {', '.join(names)}; missing or unknown: {', '.join(odd)}")
    made = expected(**{name: _built(hints[name], given[name], f"{place}.{name}") for name in names})
    if isinstance(made, Ridge):
        _require_lengths(place, len(made.names_F), "columns", {"weight_F": made.weight_F, **vars(made.scaler)})
    if isinstance(made, Ranking):
        _require_lengths(place, len(made.ridge.names_F), "columns", {"loading_F": made.loading_F})
    if isinstance(made, TimeDistribution):
        lines = {"intercept_K": made.intercept_K, "slope_K": made.slope_K}
        _require_lengths(place, max(len(made.steps_K), 1), "steps", {"steps_K": made.steps_K, **lines})
    return made


def _require_lengths(place: str, number: int, of_what: str, arrays: Mapping[str, Any]) -> None:
    wrong = [name for name, array in arrays.items() if array.shape != (number,)]
    if wrong:
        raise ValueError(f"{place}: {number} {of_what}, but not as many numbers in {', '.join(wrong)}")


def _as(expected: type, value: Any, place: str) -> Any:
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise ValueError(f"{place}: must be of type {expected.__name__}, got {json.dumps(value)[:40]}")
    return value
