"""The study of the landscape: figures, details, profiles, what is registered, and the page."""

import json

import pytest

from analysis.claims.registration import NOT_REGISTERED
from analysis.claims.sweeps import Sweeps
from benchmarks.landscape import page
from benchmarks.landscape.tables import TABLES
from pipeline.spec.sweep import load_spec
from sweeps.landscape.claims import CLAIMS, FIGURES
from sweeps.landscape.details import details
from sweeps.landscape.study import (
    BY_MATRIX,
    CHOSEN,
    FIXED_MATRIX,
    LATER,
    MATRICES,
    ORDINARY,
    PAIRS,
    SINGLE_MATRICES,
    STUDY,
)
from sweeps.registered import registration_of, seeds_by_sweep
from tests.papers.landscape.planted import (
    TOGETHER,
    G,
    by_matrix,
    history_of,
    judged_sweeps,
    rates_of,
    sweeps_of,
    widths_of,
)

# Their figures are drawn in tests/papers/landscape/test_parts.py.
PARTS = ("fates", "settings", "adam")


def test_figures_are_drawn_and_details_have_every_part():
    histories = [history_of(pair, TOGETHER, seed=seed) for seed, pair in enumerate(PAIRS)]
    sweeps = Sweeps(
        dict(judged_sweeps(*histories, widths_of(-0.5), rates_of(-0.5)))
        | dict(by_matrix({(0, 3): 0.3, (1, 2, 4): 0.2}))
    )
    drawn = {figure.__name__: figure(sweeps) for figure in FIGURES if figure.__module__.split(".")[2] not in PARTS}
    assert all(figure.chart is not None for figure in drawn.values())
    assert {name: figure.name for name, figure in drawn.items()} == {name: name for name in drawn}
    assert {figure.__name__ for figure in FIGURES} >= {claim.figure for claim in CLAIMS.claims.values()}
    found = details(sweeps)
    assert [name for name, part in found.items() if "not there" in part] == [
        *("fates", "all fates", "exchanges", "adam_epsilon")
    ]
    of_pair = found["factorials"]["log"]["pair_1"]
    assert of_pair["by order"][2][0] == pytest.approx(0.09 / 0.26, abs=0.05)
    assert found["correlation of coefficients between chosen pairs"]["pair_1, pair_2"]["order 2 and above"] > 0.9
    assert found["matrices"]["largest coefficients"][0]["factors"] == ["embedding", MATRICES[3]]
    own_tables = [at for at in TABLES.items() if at[0] in ("pairs", "coefficients", "widths", "rates")]
    tables = {name: table(json.loads(json.dumps(found[part]))) for name, (part, table) in own_tables}
    assert tables["coefficients"].splitlines()[2].startswith("| embedding, 1 key | 2 | -.")
    assert tables["pairs"].count("| 17 and 27 |") == 2
    assert len(tables["widths"].splitlines()) == 2 + 8 + 2
    assert len(tables["rates"].splitlines()) == 2 + 3 + 2
    assert tables["rates"].endswith("576 runs on the grid.\n")
    assert [design["runs of a pair"] for design in found["designs"]] == [256, 64, 32, 16]


def test_parts_that_were_not_trained_are_said_to_be_missing():
    found = details(sweeps_of(TOGETHER))
    assert {name for name, part in found.items() if "not there" in part} == {
        "matrices",
        "population",
        "widths",
        "rates",
        "fates",
        "all fates",
        "exchanges",
        "settings",
        "designs",
        "adam_epsilon",
    }


def test_the_fast_profile_is_the_beginning_of_the_full_one():
    fast = {sweep.name: sweep for sweep in STUDY.of_profile("fast")}
    full = {sweep.name: sweep for sweep in STUDY.of_profile("full")}
    assert set(fast) == {"screening", *(pair.name for pair in CHOSEN + ORDINARY), "widths"}
    assert all(sweep.overrides("fast") == sweep.overrides("full") for sweep in fast.values())
    # One of each kind; the registered seeds are of all.
    for pair in (CHOSEN[0], ORDINARY[0], LATER[0]):
        spec = load_spec(full[pair.name].path, full[pair.name].overrides("full"))
        assert len(spec.expanded_settings) == 2**G
        assert spec.name == f"landscape_{pair.name}"


def test_parents_of_ordinary_pairs_are_not_those_of_chosen_ones():
    of_ordinary = {seed for pair in ORDINARY for seed in (pair.first, pair.second)}
    assert len(of_ordinary) == 2 * len(ORDINARY)
    assert not of_ordinary & set(range(32))


def test_the_terms_in_the_code_are_those_that_are_registered():
    """Fails where `python -m benchmarks.registration REASON` is left to be run."""
    registration = registration_of(STUDY)
    found = {claim.name for claim in CLAIMS.claims.values() if registration.status(claim) == NOT_REGISTERED}
    assert found == set()
    registered = registration.in_force("sweeps")
    assert registered == seeds_by_sweep(STUDY)
    assert registered["pair_4"]["streams"]["init/embedding"] == [40, 41]
    assert registered["matrices"]["streams"] == {
        f"init/{name}": [17] if name == FIXED_MATRIX else [17, 27] for name in MATRICES
    }
    (matrices,) = (sweep for sweep in STUDY.sweeps if sweep.name == BY_MATRIX.name)
    assert matrices.full[1].count("{") == len(SINGLE_MATRICES)


def test_the_page_is_made_from_what_is_kept(tmp_path, monkeypatch):
    copy = tmp_path / "landscape.md"
    copy.write_text(page.PAGE.read_text())
    monkeypatch.setattr(page, "PAGE", copy)
    page.refresh()
    assert copy.read_text() == (page.FOLDER.parents[1] / "docs" / "landscape.md").read_text()
