"""Stored claims of the last reproduction, the current rows, and the two pages that show both."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace

import pytest

from analysis.claims.claims import DOES_NOT, HOLDS, UNDECIDED, Claim, ClaimBook, Evidence, JudgedClaim, Region
from analysis.claims.records import NOT_JUDGED, REWORDED, claims_json, merged, restored
from analysis.claims.text import with_figures
from analysis.figures.figures import specification, to_svg
from benchmarks import papers
from sweeps.papers import papers_of
from tests.figure_texts import overlaps, untitled

CLAIM = Claim("jumps", "Losses jump: share of runs", "all", Region(low=0.5), "losses", lambda sweeps: None)
JUDGED = JudgedClaim(CLAIM, "P", HOLDS, "", Evidence(0.8, 0.7, 0.9, 20, "A note."))
UNTOLD = JudgedClaim(replace(CLAIM, name="untold"), "P", UNDECIDED, "sweep 'a' is missing", None)
COUNTED = Evidence(0.8, 0.7, 0.9, 20, "A note.", "seeds", 5)
RECORDS = claims_json([JUDGED, UNTOLD])["claims"]


@pytest.fixture(scope="module")
def document():
    return json.loads(papers.KEPT.read_text())


@pytest.fixture
def pages(tmp_path, monkeypatch, document):
    """The pages and the kept claims, to be written to."""
    for name in ("KEPT", "INDEX", "README"):
        copy = tmp_path / getattr(papers, name).name.replace("papers.json", "kept.json")
        copy.write_text(getattr(papers, name).read_text())
        monkeypatch.setattr(papers, name, copy)
    monkeypatch.setattr(papers, "PAGES", shutil.copytree(papers.PAGES, tmp_path / "papers"))
    return papers


def restored_claims(claims, records=RECORDS):
    return restored(ClaimBook("P", claims), records)


def test_what_was_judged_comes_back_as_it_was():
    assert restored_claims([CLAIM, UNTOLD.claim]) == [JUDGED, UNTOLD]
    assert claims_json(restored_claims([CLAIM, UNTOLD.claim]))["claims"] == RECORDS


def test_a_reworded_claim_keeps_its_verdict_and_says_so():
    (found,) = restored_claims([replace(CLAIM, statement="The loss of most runs jumps: share of runs")])
    assert (found.verdict, found.remark, found.evidence) == (HOLDS, REWORDED, JUDGED.evidence)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "new"}, "added since"),
        ({"region": Region(low=0.6)}, "held if at least 0.5 until then"),
        ({"least_runs": 30}, "needed 10 run(s) until then"),
        ({"version": 2}, "measured otherwise since"),
    ],
)
def test_a_claim_whose_verdict_would_rest_on_something_else_is_not_judged_yet(change, reason):
    (found,) = restored_claims([replace(CLAIM, **change)])
    assert (found.verdict, found.reason, found.evidence, found.remark) == (NOT_JUDGED, reason, None, "")


def test_a_record_without_a_row_is_dropped_and_one_of_another_paper_is_not_taken():
    assert restored_claims([CLAIM]) == [JUDGED]
    (found,) = restored_claims([CLAIM], [record | {"paper": "Q"} for record in RECORDS])
    assert found.verdict == NOT_JUDGED


def test_a_region_that_decided_nothing_may_change():
    (found,) = restored_claims([replace(UNTOLD.claim, region=Region(high=0.1))])
    assert (found.verdict, found.reason) == (UNDECIDED, UNTOLD.reason)


def test_a_later_reproduction_of_a_part_gives_what_it_could_tell_and_says_when():
    provenance = {"at": "2026-11-22T16:00:00Z", "git_commit": "0123456789ab"}
    again = replace(JUDGED, verdict=DOES_NOT, evidence=Evidence(0.3, 0.2, 0.4, 64))
    other, new = (replace(JUDGED, claim=replace(CLAIM, name=name)) for name in ("other", "new"))
    kept = claims_json([JUDGED, other, UNTOLD], {"at": "2026-11-20"})
    untold = replace(other, verdict=UNDECIDED, evidence=None)
    document = merged(kept, claims_json([again, untold, new], provenance))
    assert document["provenance"] == {"at": "2026-11-20"}
    found = restored_claims([CLAIM, other.claim, UNTOLD.claim, new.claim], document["claims"])
    said = "judged 2026-11-22 at 0123456"
    assert found == [replace(again, remark=said), other, UNTOLD, replace(new, remark=said)]
    assert merged(kept, claims_json([untold], provenance)) == kept
    whole = claims_json([again, other, UNTOLD], provenance)
    assert merged(kept, whole) == whole


def part_of(page, name="claims"):
    begin, end = papers.markers(name)
    return page.partition(begin)[2].partition(end)[0].strip()


def page_of(paper):
    return (papers.PAGES / f"{paper.name}.md").read_text()


def written():
    return [path.read_text() for path in (papers.INDEX, papers.README, *sorted(papers.PAGES.glob("*.md")))]


def test_the_pages_show_every_row_with_the_verdict_that_is_kept_and_say_which_is_older(document):
    """Fails where `python -m benchmarks.papers --refresh` is left to be run."""
    claims = papers.all_claims(document)
    assert part_of(papers.README.read_text()) == papers.readme_part(claims).strip()
    assert part_of(papers.INDEX.read_text()) == papers.index_part(document).strip()
    for paper in papers_of():
        own = papers.kept_claims(document, paper)
        assert part_of(page_of(paper)) == papers.page_part(document["provenance"], own).strip()
        assert part_of(page_of(paper), "findings") == papers.findings_part(paper.findings, own).strip()
        further = papers.findings_part(paper.further_findings, own, start=6)
        assert part_of(page_of(paper), "further findings") == further.strip()
    tables = "\n".join(part_of(page_of(paper)) for paper in papers_of())
    rows = [row.split(" | ") for row in re.findall(r"^\| (.*) \|$", tables, re.M)]
    shown = {row[0]: row[7] for row in rows if row[0] not in ("claim", "---")}
    kept = {record["name"]: record for record in document["claims"]}
    assert shown.keys() == {claim.claim.statement for claim in claims}
    for claim in claims:
        cell, record = shown[claim.claim.statement], kept.get(claim.name)
        if cell.startswith(NOT_JUDGED):
            continue
        assert cell.startswith(record["verdict"])
        assert record["holds_if"] in (None, str(claim.claim.region))
        assert (REWORDED in cell) == (record["statement"] != claim.claim.statement)
        assert ("judged" in cell) == ("judged" in record)


def test_a_page_says_by_what_it_was_judged_and_which_units_were_not_counted(document):
    counted, dated = replace(JUDGED, evidence=COUNTED), replace(JUDGED, evidence=COUNTED, remark="judged 2026-11-22")
    parts = {name: papers.page_part(document["provenance"], claims).partition("**P**")[0] for name, claims in {
        "old": [JUDGED], "counted": [counted], "dated": [dated], "both": [JUDGED, dated]
    }.items()}  # fmt: skip
    says = (
        "Judged 2026-11-20 at commit",
        'Units given as "runs"',
        "Every verdict says when",
        "A verdict with a date is",
    )
    assert {name: [sentence in part for sentence in says] for name, part in parts.items()} == {
        "old": [True, True, False, False],
        "counted": [True, False, False, False],
        "dated": [False, False, True, False],
        "both": [True, True, False, True],
    }


def test_kept_verdicts_are_those_of_their_own_interval_and_region(document):
    bounds = {"at least": lambda a: (a, float("inf")), "at most": lambda a: (float("-inf"), a)}
    for record in document["claims"]:
        if record["holds_if"] is None or None in record["estimate"] or record["num_runs"] < record["least_runs"]:
            assert record["verdict"] == UNDECIDED, record["name"]
            continue
        words, _, number = record["holds_if"].rpartition(" ")
        low, high = bounds[words](float(number)) if words in bounds else map(float, record["holds_if"].split(" to "))
        _, least, most = record["estimate"]
        inside, outside = low <= least and most <= high, most < low or high < least
        assert record["verdict"] == (HOLDS if inside else DOES_NOT if outside else UNDECIDED), record["name"]


def test_refreshing_changes_nothing_where_nothing_has_changed(pages):
    before = written()
    pages.refresh()
    assert written() == before


def test_a_page_without_the_markers_of_a_part_is_refused():
    with pytest.raises(ValueError, match="the page has no part 'findings'"):
        papers.with_part("# A page", "findings", "1. Found.")


def test_findings_show_what_is_kept_of_the_claims_that_they_name():
    claims = {"jumps": JUDGED, "untold": UNTOLD, "counted": replace(JUDGED, evidence=COUNTED, verdict=DOES_NOT)}
    sentence = "A share of {jumps} jump, {untold} do not, of {counted} more is known."
    assert with_figures(sentence, claims) == (
        "A share of **.80** (.70-.90; 20 runs; holds) jump, (undecided) do not, of **.80** (.70-.90; 5 seeds; does not "
        "hold) more is known."
    )
    unknown = replace(COUNTED, estimate=math.nan, low=math.nan, high=math.nan)
    claims["unknown"] = replace(JUDGED, evidence=unknown, verdict=UNDECIDED)
    assert with_figures("A ratio: {unknown}.", claims) == "A ratio: **no estimate** (5 seeds; undecided)."
    with pytest.raises(KeyError, match="unheard_of"):
        with_figures("{unheard_of}", claims)


@pytest.mark.parametrize("paper", papers_of(), ids=lambda paper: paper.name)
def test_every_paper_has_five_findings_and_few_further_ones_of_its_own_claims(paper):
    assert len(paper.findings) == 5
    assert len(paper.further_findings) <= 5
    for finding in (*paper.findings, *paper.further_findings):
        assert set(re.findall(r"{(\w+)}", finding)) & paper.claims_module().CLAIMS.claims.keys(), finding


def test_refreshing_shows_a_claim_that_was_added_and_drops_one_that_was_removed(pages, monkeypatch, document):
    claims = [j for j in papers.all_claims(document) if j.claim.stated_by == "paper" and not j.claim.is_check]
    num_before = sum(judged.verdict == NOT_JUDGED for judged in claims)
    book = papers_of()[0].claims_module().CLAIMS
    told = "".join((*papers_of()[0].findings, *papers_of()[0].further_findings))
    first, *others = sorted(book.claims.values(), key=lambda claim: f"{{{claim.name}}}" in told)
    added = replace(others[0], name="added", statement="Something new is so: share of runs")
    monkeypatch.setattr(book, "claims", {claim.name: claim for claim in (*others, added)})
    kept = pages.KEPT.read_text()
    pages.refresh()
    page, readme = page_of(papers_of()[0]), pages.README.read_text()
    assert first.statement not in page
    assert re.search(rf"^\| Something new is so: share of runs \|.*\| {NOT_JUDGED}: added since \|", page, re.M)
    assert f'"{NOT_JUDGED.capitalize()}": ' in page
    assert f", {num_before + 1} {NOT_JUDGED}" in readme
    assert pages.KEPT.read_text() == kept, "what was found stays as it was found"


def test_keeping_a_reproduction_brings_its_claims_and_figures(pages, tmp_path, document):
    folder = tmp_path / "full"
    for paper in papers_of():
        (folder / paper.name / "figures").mkdir(parents=True)
        for figure in paper.page_figures:
            (folder / paper.name / "figures" / f"{figure}.svg").write_text(f"<svg>{figure}</svg>")
    changed = document["provenance"] | {"git_commit": "0123456789ab"}
    undated = [{name: value for name, value in record.items() if name != "judged"} for record in document["claims"]]
    (folder / "claims.json").write_text(json.dumps({"provenance": changed, "claims": undated}))
    pages.keep(folder)
    pages.refresh()
    assert all("at commit 0123456789ab" in page_of(paper) for paper in papers_of())
    assert (pages.PAGES / "zhao_2023_fates.svg").read_text() == "<svg>fates</svg>"


@pytest.mark.parametrize("paper", papers_of(), ids=lambda paper: paper.name)
def test_the_figures_of_a_page_are_those_that_are_kept_its_task_first(paper):
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page_of(paper))
    assert pictures == [f"{paper.name}_{figure}.svg" for figure in ("task", *paper.page_figures)]
    for picture in pictures:
        assert (papers.PAGES / picture).read_text().startswith("<svg")
    assert {path.name for path in papers.PAGES.glob(f"{paper.name}_*.svg")} == set(pictures)
    task = paper.claims_module().TASK_PICTURE()
    assert (papers.PAGES / pictures[0]).read_text() == to_svg(task)
    assert not overlaps(to_svg(task))
    assert not untitled(json.loads(specification(task)))
