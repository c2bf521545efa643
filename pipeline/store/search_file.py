"""search.json: the settings that a search over a sweep has tried, round by round, with what it was told of each.

No run depends on it. A search without it comes to the same settings again, since searchers draw by a seed, and to the
same results, which stand in the histories.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.store.files import CorruptFileError, read_file, write_file
from pipeline.store.formats.sealed import seal, unseal
from pipeline.store.pack_store import StoreError
from pipeline.store.shapes import SEARCH_DOCUMENT, misfit

SEARCH_FILE = "search.json"
_FORMAT = 1


def write_search(
    folder: Path, search: Mapping[str, Any], versions: Mapping[str, str], rounds: Sequence[Sequence[Mapping[str, Any]]]
) -> None:
    """Replace search.json, atomically. `rounds` has a row for each setting of each round."""
    body = {"format": _FORMAT, "search": search, "versions": versions, "rounds": [list(rows) for rows in rounds]}
    write_file(folder / SEARCH_FILE, seal(body))


def read_search(folder: Path) -> dict[str, Any] | None:
    """`search`, `versions` and `rounds` of search.json; None where there is none. Raises StoreError where damaged."""
    path = folder / SEARCH_FILE
    if not path.is_file():
        return None
    hint = "; delete it, and the search comes to the same settings and results again"
    try:
        body = unseal(read_file(path), path)
    except CorruptFileError as error:
        raise StoreError(f"{error}{hint}") from error
    problem = misfit(body, SEARCH_DOCUMENT)
    if problem is None and body["format"] != _FORMAT:
        problem = f"format {body['format']}"
    if problem is not None:
        raise StoreError(f"{path}: is not what seedbed writes: {problem}{hint}")
    return body
