"""Claims on widths and learning rates: judged rightly on planted sweeps."""

import pytest

from analysis.claims.claims import DOES_NOT, HOLDS
from benchmarks.landscape.tables import TABLES
from sweeps.landscape.details import details
from sweeps.landscape.sizes.phase_diagram import phase_diagram
from tests.papers.landscape.planted import judged_sweeps, rates_of, verdicts, widths_of


def test_spreads_that_fall_with_the_width_are_told_from_those_that_do_not():
    falling, flat = (verdicts(judged_sweeps(widths_of(exponent))) for exponent in (-0.5, 0.0))
    assert set(falling.values()) == {HOLDS}
    assert len(falling) == 3
    assert set(flat.values()) == {DOES_NOT}


def test_fresh_seeds_are_judged_by_themselves_and_shown_with_the_others():
    wider = {exponent: widths_of(exponent, "wider", (16, 32, 64, 128), count=128) for exponent in (-0.5, -0.05)}
    names = ("independent_parts_again", "spread_falls_at_scaled_rates_again")
    assert verdicts(judged_sweeps(wider[-0.5])) == dict.fromkeys(names, HOLDS)
    assert verdicts(judged_sweeps(wider[-0.05])) == dict.fromkeys(names, DOES_NOT)
    low = {power: rates_of(power, name="rates_low", rates=(7e-4, 1.5e-3, 3.2e-3), count=40) for power in (-0.6, -0.1)}
    assert verdicts(judged_sweeps(low[-0.6])) == {"narrow_heads_need_twice_the_rate": HOLDS}
    assert verdicts(judged_sweeps(low[-0.1])) == {"narrow_heads_need_twice_the_rate": DOES_NOT}
    found = details(judged_sweeps(widths_of(-0.5), wider[-0.5], rates_of(-0.5), low[-0.6]))
    assert found["widths"]["one rate"]["runs"] == [96, 224, 224, 224, 128]
    assert found["rates"]["runs"] == {"on the grid": 18 * 32, "about its boundaries": 9 * 40}
    assert found["rates"]["lower boundary"] != found["rates"]["lower boundary by the grid alone"]
    table = TABLES["rates"][1](found["rates"])
    assert "With 360 runs about them, 3 boundaries have intervals ." in table
    assert "these are 936." in table


def test_boundaries_of_rates_are_found_on_both_sides():
    sweeps = judged_sweeps(rates_of(-0.5, worst=2e-2))
    assert verdicts(sweeps) == {"narrow_heads_need_higher_rates": HOLDS, "high_rates_fail": HOLDS}
    found = phase_diagram(sweeps)
    assert found.boundary(4).value == pytest.approx(1.5e-3, rel=0.1)
    assert found.ratio(2, 8).value == pytest.approx(2.0, rel=0.15)
    assert 5e-3 < found.boundary(4, is_upper=True).value < 2e-2
    contrary = verdicts(judged_sweeps(rates_of(0.5)))
    assert contrary == {"narrow_heads_need_higher_rates": DOES_NOT, "high_rates_fail": DOES_NOT}
