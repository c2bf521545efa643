"""Arrays to train on: read from a file without unpickling anything, checked, and brought to one form."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.arrays import Array

_NAMES = ("inputs", "targets", "split")
_SPLITS = {"train": 0, "test": 1}
_MOST_CLASSES = 2**20
# What reading a file raises that is damaged; of an archive also one that is encrypted, or packed in a way of its own.
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class DataError(ValueError):
    """Data that cannot be trained on; the message names the file or function, and the array."""


@dataclass(frozen=True)
class DataArrays:
    """N items in the form in which they are kept.

    `inputs`: tokens (N, L) int64 or vectors (N, L, D) float32; of next tokens (N, L + 1), each row a stretch of text.
    `targets`: classes (N, Q) int64 or values (N, Q) float32, None for next tokens. `is_held_out`: (N,) int64, 1 for
    items that are not trained on, or None where the data do not say.
    """

    inputs: Array
    targets: Array | None
    is_held_out: Array | None

    def named(self) -> dict[str, Array]:
        """Name -> array, of those that there are."""
        found = dict(zip(_NAMES, (self.inputs, self.targets, self.is_held_out), strict=True))
        return {name: array for name, array in found.items() if array is not None}

    def sha256(self) -> str:
        """Hash of the numbers, whatever file they stand in."""
        found = hashlib.sha256()
        for name, array in self.named().items():
            found.update(f"{name} {array.dtype.str} {array.shape};".encode())
            found.update(np.ascontiguousarray(array).view(np.uint8).data)
        return found.hexdigest()


def read_arrays(path: Path) -> dict[str, Array]:
    """Name -> array, as the file has them. Raises DataError, with the reason, for one that cannot be read."""
    readers = {".npz": _read_npz, ".npy": _read_npy, ".parquet": _read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{path}: data are read from {', '.join(readers)}, not from {path.suffix or 'such a file'}")
    try:
        return readers[path.suffix](path)
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0] if str(error) else 'damaged'}") from None


def _read_npz(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: is no .npz archive")
        found = {}
        for name in archive.files:
            try:
                found[name] = archive[name]
            except ValueError as error:
                raise DataError(f"{path}: array {name!r}: {str(error).splitlines()[0]}") from None
        return found


def _read_npy(path: Path) -> dict[str, Array]:
    return {"inputs": np.load(path, allow_pickle=False)}


def _read_parquet(path: Path) -> dict[str, Array]:
    """Columns `target` and `split` where there are any; all other columns, in order, are the inputs (N, L)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    for name in table.column_names:
        if table[name].null_count:
            raise DataError(f"{path}: column {name!r} has {table[name].null_count} nulls")
    columns = {name: table[name].to_numpy() for name in table.column_names}
    named = {
        array: columns.pop(column) for array, column in (("targets", "target"), ("split", "split")) if column in columns
    }
    if not columns:
        raise DataError(f"{path}: has no columns of inputs")
    for name, column in columns.items():
        if column.dtype.kind not in "iufb":
            raise DataError(f"{path}: column {name!r} holds {column.dtype}, not numbers")
    return {"inputs": np.stack(list(columns.values()), 1), **named}


def brought_to_form(found: Mapping[str, Array], kind: str, context: int | None, source: str) -> DataArrays:
    """The arrays that a file or function gave, in the form of `DataArrays`.

    Raises DataError, with source and array, for arrays that are missing, unknown, of unequal lengths, not numbers or
    not finite, or that the kind of task cannot use.
    """
    unknown = sorted(set(found) - set(_NAMES))
    if unknown or "inputs" not in found:
        raise DataError(
            f"{source}: arrays {', '.join(sorted(found)) or 'none'}; expected are inputs, targets, and split if any"
        )
    arrays = {name: np.asarray(array) for name, array in found.items()}
    if kind == "next_token":
        if "targets" in arrays:
            raise DataError(f"{source}: array 'targets': of next tokens the targets are the inputs, one further on")
        inputs: Array = _stretches(arrays["inputs"], context, source)
        targets = None
    else:
        if "targets" not in arrays:
            raise DataError(f"{source}: has no array 'targets', which kind {kind} needs")
        inputs, targets = _inputs(arrays["inputs"], source), _targets(arrays["targets"], kind, source)
    held_out = _held_out(arrays["split"], source) if "split" in arrays else None
    form = DataArrays(inputs, targets, held_out)
    for name, array in form.named().items():
        if len(array) != len(inputs):
            raise DataError(f"{source}: array {name!r} has {len(array)} items, 'inputs' {len(inputs)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError(f"{source}: array {name!r} holds numbers that are not finite in float32")
    return form


def _stretches(array: Array, context: int | None, source: str) -> NDArray[np.int64]:
    """(N, L + 1): rows as they are, or one text cut into stretches that share no token."""
    tokens = _whole(array, "inputs", source, "tokens")
    if tokens.ndim == 1:
        if context is None:
            raise DataError(
                f"{source}: array 'inputs' is one text; give `context`, the tokens that a model sees at once"
            )
        num_items = len(tokens) // (context + 1)
        tokens = tokens[: num_items * (context + 1)].reshape(num_items, context + 1)
    elif context is not None:
        raise DataError(f"{source}: array 'inputs' is cut already, {tokens.shape}; leave `context` out")
    if tokens.ndim != 2 or tokens.shape[1] < 2 or len(tokens) == 0:
        raise DataError(f"{source}: array 'inputs' {array.shape} is no text, (N,), nor stretches of one, (N, L + 1)")
    return np.ascontiguousarray(tokens)


def _inputs(array: Array, source: str) -> Array:
    if array.ndim < 2 or array.ndim > 4 or array.size == 0:
        raise DataError(f"{source}: array 'inputs' {array.shape} is neither (N, L), (N, L, D), nor images (N, H, W, C)")
    if array.ndim == 2 and array.dtype.kind in "iu":
        return _whole(array, "inputs", source, "tokens")
    if array.dtype.kind not in "iuf":
        raise DataError(f"{source}: array 'inputs' holds {array.dtype}, not numbers")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, np.float32)
    return numbers[:, :, None] if array.ndim == 2 else numbers.reshape(*array.shape[:2], -1)


def _targets(array: Array, kind: str, source: str) -> Array:
    if array.ndim not in (1, 2) or array.size == 0:
        raise DataError(f"{source}: array 'targets' {array.shape} is neither (N,) nor (N, Q)")
    rows = array.reshape(len(array), -1)
    if kind == "classification":
        return _whole(rows, "targets", source, "classes")
    if rows.dtype.kind not in "iuf":
        raise DataError(f"{source}: array 'targets' holds {array.dtype}, not numbers")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, np.float32)


def _whole(array: Array, name: str, source: str, what: str) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise DataError(f"{source}: array {name!r} holds {array.dtype}; {what} are whole numbers")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < _MOST_CLASSES:
        raise DataError(
            f"{source}: array {name!r} runs from {array.min()} to {array.max()}; {what} are numbered from 0, "
            f"at most {_MOST_CLASSES}"
        )
    return np.ascontiguousarray(array, np.int64)


def _held_out(array: Array, source: str) -> NDArray[np.int64]:
    values = array.tolist()
    codes = [_SPLITS.get(value, value) if isinstance(value, str) else value for value in values]
    wrong = next((value for value, code in zip(values, codes, strict=True) if code not in (0, 1)), None)
    if array.ndim != 1 or wrong is not None:
        shown = f"{array.shape}" if array.ndim != 1 else f"with {wrong!r}"
        raise DataError(f"{source}: array 'split' {shown}; expected is, for each item, train or test, or 0 or 1")
    return np.array(codes, np.int64)
