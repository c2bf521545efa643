"""Weights of a checkpoint file, from which runs start: known by their hash, and kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.numerics.program_cache import cache_folder
from pipeline.own_code.data_folders import data_places
from pipeline.store.files import write_file


class StartError(ValueError):
    """A checkpoint that no run can start from; the message names the file and says why."""


def known_start(name: str) -> tuple[str, str]:
    """(name, SHA-256) of a checkpoint beside the sweep file or in the working directory, put into the cache.

    Raises StartError where there is none, or it holds more than tensors and plain values: it is read with
    torch.load(weights_only=True), so no code of it is run.
    """
    places = data_places(name)
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        looked = ", ".join(dict.fromkeys(str(place.parent) for place in places))
        raise StartError(f"{name}: there is no such file (looked in {looked})")
    content = path.read_bytes()
    _weights_in(content, str(path))
    digest = hashlib.sha256(content).hexdigest()
    if not _kept(digest).is_file():
        _kept(digest).parent.mkdir(mode=0o700, exist_ok=True)
        write_file(_kept(digest), content)
    return name, digest


def start_from(module: nn.Module, name: str, digest: str) -> None:
    """Gives a module the weights of a checkpoint. Raises StartError where they are another module's, or are gone."""
    try:
        module.load_state_dict(_weights(name, digest))
    except RuntimeError as error:
        raise StartError(f"{name}: {' '.join(str(error).split())}") from None


@lru_cache(maxsize=4)
def _weights(name: str, digest: str) -> Mapping[str, Tensor]:
    kept = _kept(digest)
    if not kept.is_file() and known_start(name)[1] != digest:
        raise StartError(f"{name}: has changed since the sweep was begun (SHA-256 {digest[:12]})")
    content = kept.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise StartError(f"{kept}: is damaged; remove it")
    return _weights_in(content, name)


def _weights_in(content: bytes, name: str) -> Mapping[str, Tensor]:
    """The `state_dict` of a checkpoint of Lightning, or the whole of a file that is one."""
    try:
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise StartError(f"{name}: torch.load(weights_only=True) refuses it: {said}") from None
    state = found.get("state_dict", found) if isinstance(found, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise StartError(f"{name}: holds no state_dict")
    return state


def _kept(digest: str) -> Path:
    return cache_folder() / "starts" / f"{digest}.ckpt"
