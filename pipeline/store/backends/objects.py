"""A prefix of an object store (S3, Google Cloud Storage, Azure) as the place of files, through obstore."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.store.backends.files import Files
from pipeline.store.files import CorruptFileError
from pipeline.store.pack_store import StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
# How long obstore repeats a call that the store does not answer, or answers with an error of its own.
_RETRY_S = 120


def object_url(path: Path) -> str | None:
    """The URL that a path was given as, whose slashes a path keeps once; None where it is a path."""
    scheme, *inside = path.parts or ("",)
    is_url = scheme.endswith(":") and scheme[:-1] in SCHEMES and bool(inside)
    return f"{scheme}//{'/'.join(inside)}" if is_url else None


class ObjectFiles(Files):
    """The objects under a prefix, of a store that is consistent after a write and knows If-None-Match, as S3 does.

    Credentials, region and endpoint come from the environment, as obstore reads it (AWS_ACCESS_KEY_ID and so on).
    """

    def __init__(self, url: str, store: ObjectStore | None = None, prefix: str = "") -> None:
        self._url, self._prefix = url.rstrip("/"), prefix
        self._store: Any = _opened(self._url) if store is None else store

    @property
    def address(self) -> str:
        """The URL."""
        return f"{self._url}/{self._prefix}".rstrip("/")

    def inside(self, folder: str) -> ObjectFiles:
        """The objects under `folder/`."""
        return ObjectFiles(self._url, self._store, f"{self._prefix}{folder}/")

    def inside_of(self, folders: Iterable[str]) -> ObjectFiles:
        """The objects under several folders inside each other; this one's under none."""
        found = self
        for folder in folders:
            found = found.inside(folder)
        return found

    def get(self, name: str, sha256: str | None = None) -> bytes:
        """An object's bytes. Raises CorruptFileError where there is none, or if its SHA-256 is another."""
        content = self._read(name)
        if content is None:
            raise CorruptFileError(f"{self.address_of(name)}: is missing")
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise CorruptFileError(
                f"{self.address_of(name)}: its content does not have the checksum that its record names"
            )
        return content

    def _read(self, name: str) -> bytes | None:
        import obstore

        with self._as_os_errors(name):
            try:
                return bytes(obstore.get(self._store, self._prefix + name).bytes())
            except FileNotFoundError:
                return None

    def put(self, name: str, content: bytes) -> str:
        """Write an object, in the place of one of that name; its SHA-256."""
        import obstore

        with self._as_os_errors(name):
            obstore.put(self._store, self._prefix + name, content)
        return hashlib.sha256(content).hexdigest()

    def put_if_absent(self, name: str, content: bytes) -> bool:
        """Write an object by If-None-Match; an equal one that is there is taken for this one, whose reply was lost."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._as_os_errors(name):
            try:
                obstore.put(self._store, self._prefix + name, content, mode="create")
            except AlreadyExistsError:
                return self._read(name) == content
        return True

    def put_if_equal(self, name: str, content: bytes, before: bytes) -> bool:
        """Write an object in the place of one with the content `before`; whether that, or `content`, was there."""
        import obstore
        from obstore.exceptions import PreconditionError

        with self._as_os_errors(name):
            found = obstore.get(self._store, self._prefix + name)
            tag, now = found.meta["e_tag"], bytes(found.bytes())
            if now != before:
                return now == content
            try:
                obstore.put(self._store, self._prefix + name, content, mode={"e_tag": tag})
            except PreconditionError:
                return self._read(name) == content
        return True

    def exists(self, name: str) -> bool:
        """Whether there is an object of that name."""
        import obstore

        with self._as_os_errors(name):
            try:
                obstore.head(self._store, self._prefix + name)
            except FileNotFoundError:
                return False
        return True

    def names(self) -> list[str]:
        """The names of the objects directly under the prefix."""
        import obstore

        with self._as_os_errors(""):
            found = obstore.list_with_delimiter(self._store, self._prefix or None)
        return [meta["path"].removeprefix(self._prefix) for meta in found["objects"]]

    def all_names(self) -> dict[str, float]:
        """The names of all objects under the prefix, with slashes -> when each was written last, in Unix time."""
        import obstore

        with self._as_os_errors(""):
            found = [meta for part in obstore.list(self._store, self._prefix or None) for meta in part]
        return {meta["path"].removeprefix(self._prefix): meta["last_modified"].timestamp() for meta in found}

    def delete(self, names: Collection[str], is_durable: bool = False) -> None:
        """Delete objects, durably."""
        import obstore

        if names:
            with self._as_os_errors(""), suppress(FileNotFoundError):
                obstore.delete(self._store, [self._prefix + name for name in names])

    @contextmanager
    def _as_os_errors(self, name: str) -> Iterator[None]:
        """What obstore raises, as an OSError that names the object."""
        from obstore.exceptions import BaseError

        try:
            yield
        except BaseError as error:
            first = str(error).strip().partition("\n")[0]
            raise OSError(errno.EIO, first, self.address_of(name)) from error


def _opened(url: str) -> ObjectStore:
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise StoreError(f"{url}: object stores need obstore: pip install 'seedbed[object-store]'") from error
    return from_url(url, retry_config={"max_retries": 10, "retry_timeout": timedelta(seconds=_RETRY_S)})
