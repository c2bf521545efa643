"""Identity of what a spec declares: canonical JSON, its hash, flat views of it and differences between two."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

# Part of every hash: raise it when the same declaration gives different weights.
VERSION = "seedbed.1"
_HEX_DIGITS = 16
_LONGEST = 200


def canonical_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, shortest round-trip decimals, -0.0 as 0.0, tuples as lists.

    Equal values give equal text, but 1 and 1.0 differ; fields declared as float hold floats once validated. Raises
    ValueError for NaN.
    """
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(kind: str, text: str) -> str:
    """First 16 hex digits of SHA-256 over `text`, tagged by its kind and the version of its meaning."""
    return hashlib.sha256(f"{VERSION}.{kind}:{text}".encode()).hexdigest()[:_HEX_DIGITS]


def run_digests(pairs: Iterable[tuple[int, int]], rest: str) -> list[str]:
    """`digest` of runs: of their seeds (init, data), and the rest of their canonical JSON, from `lineage` on."""
    sha256, head = hashlib.sha256, f'{VERSION}.run:{{"data_seed":'
    # A call of `digest` for each takes as long as its hash.
    return [
        sha256(f'{head}{data_seed},"init_seed":{init_seed},"lineage":{rest}'.encode()).hexdigest()[:_HEX_DIGITS]
        for init_seed, data_seed in pairs
    ]


def plain(value: Any) -> Any:
    """Dicts, lists and scalars alone, with -0.0 made 0.0."""
    if isinstance(value, float):
        return value + 0.0
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path -> leaf; lists and empty mappings count as leaves."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            flat.update(flatten(item, f"{path}."))
        else:
            flat[path] = item
    return flat


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line per field that differs, such as "budget: 1200 -> 1500"; a field that one lacks reads absent."""
    before, after = flatten(plain(old)), flatten(plain(new))
    paths = [*before, *(path for path in after if path not in before)]
    lines = ((path, _leaf(before, path), _leaf(after, path)) for path in paths)
    return [f"{path}: {was} -> {now}" for path, was, now in lines if was != now]


def _leaf(flat: Mapping[str, Any], path: str) -> str:
    if path not in flat:
        return "absent"
    text = json.dumps(flat[path])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}... ({digest('leaf', text)})"
