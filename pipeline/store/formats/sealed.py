"""JSON documents that carry their format and their own checksum."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.store.files import CorruptFileError

# Of every sealed document: raised when what is written now cannot be read by earlier versions. Those of format 1 do not
# say so.
DOCUMENT_FORMAT = 3
# From so many bytes on a sealed document is one line, its body between these.
_LARGE = 2**14
_HEAD = b'{"body": '
_TAIL = re.compile(rb', "format": ([0-9]{1,9}), "sha256": "([0-9a-f]{64})"\}\n\Z')
_LONGEST_TAIL = 128


class NewerFormatError(Exception):
    """A document was written by a later version of seedbed. The message names it, and both formats."""


def _canonical_bytes(value: Any) -> bytes:
    """Canonical JSON of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def seal(body: Mapping[str, Any]) -> bytes:
    """A JSON document that carries its format and its own SHA-256; indented, unless it is too large to be looked at."""
    content = _canonical_bytes(body)
    digest = _digest(content, DOCUMENT_FORMAT)
    if len(content) < _LARGE:
        document = {"format": DOCUMENT_FORMAT, "sha256": digest, "body": body}
        return json.dumps(document, sort_keys=True, indent=1, allow_nan=False).encode()
    return b'{"body": %b, "format": %d, "sha256": "%b"}\n' % (content, DOCUMENT_FORMAT, digest.encode())


def unseal(content: bytes, path: Path | str) -> dict[str, Any]:
    """The body of a sealed document, of this format or an earlier one.

    Raises NewerFormatError for a later one, and CorruptFileError for anything else: a document of this format whose
    number is damaged has the checksum of this format.
    """
    try:
        if (known := _unsealed_at_once(content)) is not None:
            return known
        document = _STRICT.decode(content.decode("utf-8"))
        body, digest, number = document["body"], document["sha256"], document.get("format", 1)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptFileError(f"{path}: is not a sealed record") from error
    formats = range(1, DOCUMENT_FORMAT + 1)
    is_known = type(number) is int and number in formats and not {*document} - {"format", "sha256", "body"}
    canonical = _canonical_bytes(body) if isinstance(body, dict) else b""
    if is_known and isinstance(body, dict) and _digest(canonical, number) == digest:
        return body
    is_ours = isinstance(body, dict) and any(_digest(canonical, format_) == digest for format_ in formats)
    if isinstance(number, int) and number > DOCUMENT_FORMAT and not is_ours:
        raise NewerFormatError(
            f"{path}: was written by a later version of seedbed (format {number}; this one reads up to "
            f"{DOCUMENT_FORMAT})"
        )
    raise CorruptFileError(f"{path}: its checksum does not fit its content")


def _unsealed_at_once(content: bytes) -> dict[str, Any] | None:
    """The body of a document laid out as `seal` does large ones, whose checksum is of the text as it stands; else None.

    Of other layouts the body must be encoded again, which takes longer than reading it.
    """
    tail = _TAIL.search(content, max(0, len(content) - _LONGEST_TAIL))
    if tail is None or not content.startswith(_HEAD) or int(tail[1]) not in range(1, DOCUMENT_FORMAT + 1):
        return None
    text = memoryview(content)[len(_HEAD) : tail.start()]
    if _digest(text, int(tail[1])).encode() != tail[2]:
        return None
    body = _STRICT.decode(str(text, "utf-8"))
    return body if isinstance(body, dict) else None


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _digest(canonical: bytes | memoryview, number: int) -> str:
    """SHA-256 of a body, given as canonical JSON; after format 2, of its format and the body."""
    if number <= 2:
        return hashlib.sha256(canonical).hexdigest()
    found = hashlib.sha256(b"[%d," % number)
    found.update(canonical)
    found.update(b"]")
    return found.hexdigest()
