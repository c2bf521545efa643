"""Columns over runs as they stand in a sealed document: ids as words of one text, digests in base64, rows by number.

A column is read and checked as a whole, and nothing of it is made a Python object before it is asked for.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np

from pipeline.arrays import Ints

_DIGEST_BYTES = 32
_LONGEST_ID = 64
_IN_IDS = f"{string.ascii_letters}{string.digits}_.- ".encode()
_HEX_DIGITS = b"0123456789abcdef"
_IN_BASE64 = f"{string.ascii_letters}{string.digits}+/".encode()
_Row = TypeVar("_Row", bound=Hashable)


class Ids:
    """Ids of runs, of which the text is checked at once and split when they are asked for."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _length(self) -> int:
        return self.text.count(" ") + 1 if self.text else 0

    @cached_property
    def words(self) -> list[str]:
        """The ids, in order."""
        return self.text.split(" ") if self.text else []

    def misfit(self) -> str | None:
        """Why the text is not of ids with a space between each two, as of `shapes.ID`; None where it is."""
        content = self.text.encode(errors="surrogatepass")
        if _are_digests(content):
            return None
        is_strange = content.translate(None, _IN_IDS) or any(f" {mark}" in f" {self.text}" for mark in ".- ")
        longest = max(map(len, self.text.split(" ")))
        if self.text and (is_strange or self.text.endswith(" ") or longest > _LONGEST_ID):
            return "its run_ids must be ids with a space between each two"
        return None


def _are_digests(content: bytes) -> bool:
    """Whether this is sixteen hexadecimal digits and a space again and again, as of all ids that seedbed makes."""
    number = (len(content) + 1) // 17
    spaces = b" " * (number - 1)
    is_regular = len(content) == 17 * number - 1 and content[16::17] == spaces
    return is_regular and content.translate(None, _HEX_DIGITS) == spaces


class Digests:
    """SHA-256 of runs, each as 64 hexadecimal digits: packed in base64, or a list where one is something else."""

    def __init__(self, stored: str | list[str]) -> None:
        self.stored = stored

    @staticmethod
    def of(digests: Sequence[str]) -> Digests:
        """These, packed if they can be."""
        joined = "".join(digests)
        try:
            raw = bytes.fromhex(joined)
        except ValueError:
            return Digests([*digests])
        is_plain = raw.hex() == joined and all(len(digest) == 2 * _DIGEST_BYTES for digest in digests)
        return Digests(base64.b64encode(raw).decode() if is_plain else [*digests])

    def __getitem__(self, place: int) -> str:
        if isinstance(self.stored, list):
            return self.stored[place]
        return self._raw[_DIGEST_BYTES * place : _DIGEST_BYTES * (place + 1)].hex()

    def misfit(self, number: int) -> str | None:
        """Why these are not so many digests; None where they are."""
        if isinstance(self.stored, list):
            return None if len(self.stored) == number else f"its digests must be {number}"
        # As a strict decoder would say, which takes several times as long, and which most readers do not need.
        text = self.stored.encode(errors="surrogatepass")
        num_padded = len(text) - len(text.rstrip(b"="))
        is_whole = (
            len(text) % 4 == 0
            and num_padded <= 2
            and 3 * len(text) // 4 - num_padded == _DIGEST_BYTES * number
            and text.translate(None, _IN_BASE64) == b"=" * num_padded
        )
        return None if is_whole else f"its digests must be {number}, in base64"

    @cached_property
    def _raw(self) -> bytes:
        assert isinstance(self.stored, str)
        return base64.b64decode(self.stored, validate=True)


def numbered_rows(rows: Sequence[_Row]) -> tuple[list[_Row], int | list[int]]:
    """The distinct rows in order of appearance, and the number of each row among them: one if all are equal."""
    kinds = [*dict.fromkeys(rows)]
    if len(kinds) == 1:
        return kinds, 0
    number_of = {kind: number for number, kind in enumerate(kinds)}
    return kinds, [number_of[row] for row in rows]


def number_misfit(numbers: int | list[int], num_kinds: int, number: int) -> str | None:
    """Why these are not numbers of so many kinds for so many runs; None where they are. All are at least 0."""
    if isinstance(numbers, list) and len(numbers) != number:
        return f"its kind_of must have {number} numbers"
    highest = max(numbers, default=-1) if isinstance(numbers, list) else numbers
    return None if highest < num_kinds else "its kind_of must name its kinds"


def counts_of(numbers: int | list[int], num_kinds: int, number: int) -> Ints:
    """(K,) how many of so many runs are of each kind."""
    if isinstance(numbers, int):
        return np.array([number], np.int64)
    return np.bincount(np.array(numbers, np.int64), minlength=num_kinds)
