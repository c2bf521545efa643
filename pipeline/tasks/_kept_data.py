"""Data of the user's own: found by name, known by SHA-256, held once on a computer, memory-mapped from the cache."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from pydantic import Field

from pipeline.arrays import Array
from pipeline.numerics.program_cache import cache_folder
from pipeline.own_code.data_folders import data_places
from pipeline.own_code.functions import function_named
from pipeline.own_code.imported import OwnCodeError
from pipeline.own_code.places import place_of
from pipeline.spec.parameters import Parameters
from pipeline.tasks._arrays import DataArrays, DataError, brought_to_form, read_arrays
from pipeline.tasks._waves import waves

_BUILT_IN = "the built-in waves"
_Made = TypeVar("_Made")


class DataOrigin(Parameters):
    """What a sweep file says of where the data come from, and what they are: `file`, or `load`, or the built-in set."""

    file: str | None = None
    load: str | None = None
    kind: str = "classification"
    context: int | None = Field(None, ge=1)

    @property
    def source(self) -> str:
        """The file or function, as the sweep file calls it."""
        return self.file or self.load or _BUILT_IN


class DataContent(Parameters):
    """What is known of data without opening them: their hash, their sizes and the loss of guessing.

    `num_held_out` is None where the data do not say which items are held out. `chance` is the cross entropy (nats) of
    the frequencies of classes, or half the variance of the values, over all items.
    """

    origin: DataOrigin
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    num_items: int = Field(ge=1)
    num_held_out: int | None = None
    has_tokens: bool
    length: int = Field(ge=1)
    size: int = Field(ge=1)
    num_outputs: int = Field(ge=1)
    num_query_positions: int = Field(1, ge=1)
    chance: float


def content_of(origin: DataOrigin) -> DataContent:
    """Reads and measures the data, and puts them into the cache. Raises DataError where there are none to use."""
    path = _first_file(origin)
    return _content_of_version(origin, path, _version_of(origin, path))


@lru_cache(maxsize=64)
def _content_of_version(origin: DataOrigin, path: Path | None, version: object) -> DataContent:
    arrays = _arrays_of(origin, path)
    inputs, targets = arrays.inputs, arrays.targets
    is_text = targets is None
    asked = inputs[:, 1:] if targets is None else targets
    has_tokens = inputs.ndim == 2
    size = int(inputs.max()) + 1 if has_tokens else inputs.shape[2]
    num_classes = size if is_text else int(asked.max()) + 1
    found = DataContent(
        origin=origin,
        sha256=arrays.sha256(),
        num_items=len(inputs),
        num_held_out=None if arrays.is_held_out is None else int(arrays.is_held_out.sum()),
        has_tokens=has_tokens,
        length=inputs.shape[1] - is_text,
        size=size,
        num_outputs=1 if origin.kind == "regression" else num_classes,
        num_query_positions=asked.shape[1],
        chance=_chance(asked, origin),
    )
    _keep(arrays, found.sha256, path)
    return found


def _version_of(origin: DataOrigin, path: Path | None) -> object:
    """What changes with the data, as far as that can be told without reading them."""
    if path is not None:
        found = path.stat()
        return found.st_mtime_ns, found.st_size
    return None if origin.load is None else _loader(origin.load)


def _chance(asked: Array, origin: DataOrigin) -> float:
    if origin.kind == "regression":
        chance = 0.5 * float(asked.astype(np.float64).var())
    else:
        counts = np.unique(asked, return_counts=True)[1]
        chance = float(-(counts / counts.sum() * np.log(counts / counts.sum())).sum())
    if chance <= 0:
        raise DataError(f"{origin.source}: array 'targets' holds one value alone, so there is nothing to learn")
    # It is part of what a run is known by, and the last digits of a logarithm differ between processors.
    return float(f"{chance:.12g}")


def opened(content: DataContent) -> DataArrays:
    """The arrays, memory-mapped from the cache, where they are put first if they are not there.

    Raises DataError as `problem_with` says it.
    """
    folder = _folder(content.sha256)
    if not (folder / "inputs.npy").is_file():
        problem = problem_with(content)
        if problem is not None:
            raise DataError(problem)
        path = _present(content)
        _keep(_arrays_of(content.origin, path), content.sha256, path)
    return _mapped(folder)


def problem_with(content: DataContent) -> str | None:
    """Why the data are not at hand as they were, by name; None if they are. The cache alone does not do for a file."""
    origin, known = content.origin, content.sha256
    if origin.file is None:
        if (_folder(known) / "inputs.npy").is_file():
            return None
        try:
            now = _arrays_of(origin, None).sha256()
        except DataError as error:
            return str(error)
        return (
            None if now == known else f"{origin.source}: gives other numbers than this sweep had{_hashes(known, now)}"
        )
    places = [*_places(origin), *_kept_place(known)]
    present = [path for path in places if path.is_file()]
    if not present:
        return _not_found(origin, places)
    try:
        found = [_hash_of(origin, path) for path in present]
    except DataError as error:
        return str(error)
    return None if known in found else f"{present[0]}: has changed since the sweep was begun{_hashes(known, found[0])}"


def _hashes(known: str, found: str) -> str:
    return f" (SHA-256 {known[:12]}, now {found[:12]})"


def _present(content: DataContent) -> Path | None:
    """The file that has the content, for a content without problems."""
    if content.origin.file is None:
        return None
    paths = (*_places(content.origin), *_kept_place(content.sha256))
    return next(path for path in paths if path.is_file() and _hash_of(content.origin, path) == content.sha256)


def _first_file(origin: DataOrigin) -> Path | None:
    if origin.file is None:
        return None
    places = _places(origin)
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise DataError(_not_found(origin, places))
    return found


def _places(origin: DataOrigin) -> list[Path]:
    assert origin.file is not None
    return data_places(origin.file)


def _not_found(origin: DataOrigin, places: list[Path]) -> str:
    looked = ", ".join(dict.fromkeys(str(path.parent) for path in places))
    return f"{origin.file}: there is no such file (looked in {looked})"


def _arrays_of(origin: DataOrigin, path: Path | None) -> DataArrays:
    if path is not None:
        return brought_to_form(read_arrays(path), origin.kind, origin.context, str(path))
    return brought_to_form(_made(origin), origin.kind, origin.context, origin.source)


def _made(origin: DataOrigin) -> Mapping[str, Array]:
    """The arrays by name of a function, which gives a mapping, or inputs, targets and split in a tuple.

    Of a LightningDataModule, those of its data sets. Raises DataError, naming the line, where the user's code raises.
    """
    if origin.load is None:
        return waves()
    found = _called(_loader(origin.load), origin.load)
    if isinstance(found, Mapping):
        return found
    if any(base.__name__ == "LightningDataModule" for base in type(found).__mro__):
        # Here, since it loads torch.
        from pipeline.tasks._data_module import arrays_of_data_module

        return _called(partial(arrays_of_data_module, found, origin.load), origin.load, type(found))
    given = found if isinstance(found, tuple) else (found,)
    if not 1 <= len(given) <= 3:
        raise DataError(f"{origin.load}: gave {len(given)} arrays; expected are inputs, targets and split")
    return dict(zip(("inputs", "targets", "split"), given, strict=False))


def _called(call: Callable[[], _Made], entry: str, definition: type | Callable[..., Any] | None = None) -> _Made:
    """What a call of the user's code gives, which is defined there. Raises DataError for whatever it raises."""
    try:
        return call()
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        told = (str(error) or "no message").splitlines()[0]
        place = place_of(definition or call, error)
        raise DataError(f"{entry}: {place}: {type(error).__name__}: {told}") from error


def _loader(entry: str) -> Callable[[], Any]:
    try:
        return function_named(entry)
    except OwnCodeError as error:
        raise DataError(str(error)) from None


def _hash_of(origin: DataOrigin, path: Path) -> str:
    return _hash_of_version(origin, path, _version_of(origin, path))


@lru_cache(maxsize=256)
def _hash_of_version(origin: DataOrigin, path: Path, version: object) -> str:
    return _arrays_of(origin, path).sha256()


def _folder(sha256: str) -> Path:
    return cache_folder() / "data" / sha256


def _kept_place(sha256: str) -> list[Path]:
    """Where the file was when its arrays were put into the cache last, which other folders than its own do not tell."""
    try:
        place = json.loads((_folder(sha256) / "place.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Path(place)] if isinstance(place, str) else []


def _keep(arrays: DataArrays, sha256: str, path: Path | None) -> None:
    """Puts arrays into the cache, whole or not at all, and notes where they were found."""
    folder = _folder(sha256)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    built = Path(tempfile.mkdtemp(prefix="new-", dir=folder.parent))
    try:
        with _private(built / "place.json") as stream:
            stream.write(json.dumps(None if path is None else str(path.resolve())).encode())
        if (folder / "inputs.npy").is_file():
            os.replace(built / "place.json", folder / "place.json")
            return
        for name, array in arrays.named().items():
            with _private(built / f"{name}.npy") as stream:
                np.save(stream, array, allow_pickle=False)
        os.rename(built, folder)
    except OSError:
        # Another process was first.
        if not (folder / "inputs.npy").is_file():
            raise
    finally:
        shutil.rmtree(built, ignore_errors=True)


def _private(path: Path) -> BinaryIO:
    """A new file that its user alone may read, as all of the cache, whatever the umask."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


@cache
def _mapped(folder: Path) -> DataArrays:
    """The arrays of a folder of the cache, once a process, compared with the hash in its name.

    Mapped copy-on-write, so that torch can have them; nothing writes to them.
    """
    named = {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
    found = DataArrays(named["inputs"], named.get("targets"), named.get("split"))
    if found.sha256() != folder.name:
        shutil.rmtree(folder)
        raise DataError(f"{folder}: is damaged, and was removed; repeat the command")
    return found
