"""Judged claims as JSON, and what a file of them still says after the rows have changed.

A verdict is of a measure, a region and a least number of runs. So a record counts as long as these are the row's; a
statement that was only reworded keeps its verdict, and the remark says that it was judged under another wording.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.claims.claims import Claim, ClaimBook, Evidence, JudgedClaim
from analysis.uncertainty.intervals import Estimate, json_safe
from pipeline.store.files import write_file

NOT_JUDGED = "not judged yet"
REWORDED = "reworded"


def claim_json(judged: JudgedClaim) -> dict[str, Any]:
    """Plain values; null where undefined. `holds_if` is null without evidence, since it then decided nothing."""
    claim, evidence = judged.claim, judged.evidence
    return {
        "name": claim.name,
        "paper": judged.paper,
        "statement": claim.statement,
        "stated_by": claim.stated_by,
        "paper_value": claim.value or None,
        "estimate": judged.estimate.to_json(),
        "num_runs": judged.num_runs,
        "num_units": None if evidence is None else evidence.num_units,
        "unit": None if evidence is None else evidence.unit or None,
        "holds_if": None if evidence is None else str(claim.region),
        "paper_figure": claim.paper_figure,
        "margin": claim.margin,
        "equals_the_paper": judged.equality or None,
        "would_catch": judged.would_catch,
        "is_check": claim.is_check,
        "registered": judged.registered or None,
        "least_runs": claim.least_runs,
        "version": claim.version,
        "verdict": judged.verdict,
        "reason": judged.reason or None,
        "note": None if evidence is None else evidence.note or None,
        "figure": claim.figure,
    }


def claims_json(claims: Sequence[JudgedClaim], provenance: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Claims and provenance as plain values; NaN and infinities become null."""
    plain = json_safe({"provenance": dict(provenance or {}), "claims": [claim_json(claim) for claim in claims]})
    assert isinstance(plain, dict)
    return plain


def write_claims(claims: Sequence[JudgedClaim], path: Path | str, provenance: Mapping[str, Any] | None = None) -> Path:
    """Writes the claims as JSON to `path`, overwriting it; returns the path."""
    path = Path(path)
    write_file(path, (json.dumps(claims_json(claims, provenance), indent=2, allow_nan=False) + "\n").encode())
    return path


def restored(book: ClaimBook, records: Sequence[Mapping[str, Any]]) -> list[JudgedClaim]:
    """Every claim of a book with its verdict in records of `claim_json`; records without a row are dropped.

    A claim that has no record, or whose measure, region or least number of runs has changed since, is NOT_JUDGED, with
    the reason. One that was reworded keeps its verdict, with REWORDED in its remark, which also says when it was judged
    where that was after the others.
    """
    by_name = {record["name"]: record for record in records if record["paper"] == book.paper}
    return [_restored(book.paper, claim, by_name.get(claim.name)) for claim in book.claims.values()]


def merged(kept: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Two documents of `claims_json` as one: what the later one, `found`, could tell takes the place of what is kept.

    Each record that it gives says when and by which commit it was judged. A record without evidence, as of a claim
    whose sweep was not trained, takes the place of nothing. Where `found` tells whatever was told, it is the document.
    """
    told, told_before = (
        {_key(record): record for record in document["claims"] if record["holds_if"] is not None}
        for document in (found, kept)
    )
    if told.keys() >= told_before.keys():
        return dict(found)
    provenance = found["provenance"]
    judged = f"{provenance['at'][:10]} at {provenance['git_commit'][:7]}"
    later = {key: {**record, "judged": judged} for key, record in told.items()}
    records = [later.pop(_key(record), record) for record in kept["claims"]]
    return {**kept, "claims": [*records, *later.values()]}


def _key(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["paper"], record["name"]


def _restored(paper: str, claim: Claim, record: Mapping[str, Any] | None) -> JudgedClaim:
    if record is None:
        return JudgedClaim(claim, paper, NOT_JUDGED, "added since", None)
    if changed := _changed(claim, record):
        return JudgedClaim(claim, paper, NOT_JUDGED, changed, None)
    estimate = Estimate(*(np.nan if number is None else number for number in record["estimate"]))
    told = record["holds_if"] is not None
    # Records of before units were recorded lack them.
    units = (record.get("unit") or "", record.get("num_units"))
    figures = (estimate.value, estimate.low, estimate.high, record["num_runs"], record["note"] or "")
    evidence = Evidence(*figures, *units) if told else None
    remarks = ["" if record["statement"] == claim.statement else REWORDED]
    remarks += [f"judged {record['judged']}"] if record.get("judged") else []
    remark = ", ".join(filter(None, remarks))
    registered = record.get("registered") or ""
    return JudgedClaim(claim, paper, record["verdict"], record["reason"] or "", evidence, remark, registered)


def _changed(claim: Claim, record: Mapping[str, Any]) -> str:
    """What a verdict rests on and is no longer so; empty where all of it is."""
    if record["version"] != claim.version:
        return "measured otherwise since"
    if record["holds_if"] not in (None, str(claim.region)):
        return f"held if {record['holds_if']} until then"
    if record["least_runs"] != claim.least_runs:
        return f"needed {record['least_runs']} run(s) until then"
    return ""
