"""An object store in memory, of which each caller has a view, whose calls fail or answer late as a network's do."""

from __future__ import annotations

import errno
import hashlib
import random
import threading
from collections.abc import Collection

from pipeline.store.backends.files import Files
from pipeline.store.files import CorruptFileError


class Bucket:
    """Objects by name, and what listings show of them, which lags behind by up to `longest_lag` changes."""

    def __init__(self, longest_lag: int = 0) -> None:
        self.objects: dict[str, bytes] = {}
        self.listings: list[frozenset[str]] = [frozenset()]
        self.longest_lag = longest_lag
        self.lock = threading.Lock()

    def changed(self) -> None:
        self.listings = [*self.listings[-self.longest_lag :], frozenset(self.objects)][-self.longest_lag - 1 :]


class SharedFiles(Files):
    """A view of a bucket. A share `lost` of its calls fail after they took effect, a share `refused` before.

    `chance` draws which; None is for none. Of a claim whose reply was lost, as many as `repeats` are made again
    underneath, as clients of object stores do.
    """

    def __init__(
        self,
        bucket: Bucket,
        chance: random.Random | None = None,
        lost: float = 0.0,
        refused: float = 0.0,
        prefix: str = "",
    ) -> None:
        self.bucket, self.chance, self.lost, self.refused, self.prefix = bucket, chance, lost, refused, prefix

    @property
    def address(self) -> str:
        return f"memory://{self.prefix}".rstrip("/")

    def inside(self, folder: str) -> SharedFiles:
        return SharedFiles(self.bucket, self.chance, self.lost, self.refused, f"{self.prefix}{folder}/")

    def get(self, name: str, sha256: str | None = None) -> bytes:
        self._fails(self.refused)
        content = self.bucket.objects.get(self.prefix + name)
        if content is None:
            raise CorruptFileError(f"{self.address_of(name)}: is missing")
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise CorruptFileError(f"{self.address_of(name)}: its content does not have the checksum")
        return content

    def put(self, name: str, content: bytes) -> str:
        self._fails(self.refused)
        with self.bucket.lock:
            self.bucket.objects[self.prefix + name] = content
            self.bucket.changed()
        self._fails(self.lost)
        return hashlib.sha256(content).hexdigest()

    def put_if_absent(self, name: str, content: bytes) -> bool:
        self._fails(self.refused)
        is_new = self._put_if_absent(name, content)
        if self.chance is not None and self.chance.random() < self.lost:
            # The client asks again, and is told that there is one.
            is_new = self._put_if_absent(name, content)
        return is_new or self.bucket.objects.get(self.prefix + name) == content

    def _put_if_absent(self, name: str, content: bytes) -> bool:
        with self.bucket.lock:
            is_new = self.prefix + name not in self.bucket.objects
            if is_new:
                self.bucket.objects[self.prefix + name] = content
                self.bucket.changed()
            return is_new

    def exists(self, name: str) -> bool:
        self._fails(self.refused)
        return self.prefix + name in self.bucket.objects

    def names(self) -> list[str]:
        self._fails(self.refused)
        with self.bucket.lock:
            listings = self.bucket.listings
            shown = listings[-1] if self.chance is None else self.chance.choice(listings)
        inside = [name.removeprefix(self.prefix) for name in shown if name.startswith(self.prefix)]
        return [name for name in inside if "/" not in name]

    def delete(self, names: Collection[str], is_durable: bool = False) -> None:
        self._fails(self.refused)
        with self.bucket.lock:
            for name in names:
                self.bucket.objects.pop(self.prefix + name, None)
            self.bucket.changed()
        self._fails(self.lost)

    def _fails(self, share: float) -> None:
        if self.chance is not None and self.chance.random() < share:
            raise OSError(errno.ETIMEDOUT, "no answer", self.address)
