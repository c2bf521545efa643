"""The figures of von Oswald et al. (2023) on planted sweeps, and what the fast profile has of them."""

from __future__ import annotations

import json
import re

import pytest

from analysis.claims.claims import HOLDS
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.figures import specification, to_svg
from sweeps.von_oswald_2023.claims import CLAIMS, FIGURES
from sweeps.von_oswald_2023.paper import PAPER
from tests.figure_texts import overlaps, untitled
from tests.papers import planted_von_oswald as planted

# The claim whose estimate stands in the title of a figure.
TITLES = {
    "training": "one_layer_has_the_loss_of_one_step",
    "context_lengths": "longer_contexts_have_the_loss_of_one_step",
    "roll_out": "rolling_out_lowers_the_loss",
    "plateaus": "two_heads_leave_earlier",
    "fixed_tasks": "many_fixed_tasks_suffice",
    "mlp_block": "a_block_with_mlp_groks",
    "softmax": "two_softmax_heads_come_near",
    "copying": "copying_layers_jump",
    "sine": "sine_layers_match_the_gradient_step",
}


@pytest.fixture(scope="module")
def sweeps():
    return planted.everything()


@pytest.mark.slow
def test_every_figure_is_drawn_and_every_claim_names_one(sweeps):
    drawn = {figure.__name__: figure(sweeps) for figure in FIGURES}
    assert {found.name for found in drawn.values()} == set(drawn)
    assert {claim.figure for claim in CLAIMS.claims.values()} <= set(drawn)
    for figure in drawn.values():
        text = specification(figure)
        assert not untitled(json.loads(text)), figure.name
        assert not overlaps(to_svg(figure)), figure.name
        lines = " ".join(json.loads(text)["title"]["subtitle"])
        assert any(f"{name}: {len(sweeps[name].history.runs)} runs" in lines for name in sweeps)
        assert "sweep_id abc" in lines
        assert '"low"' in text
        assert "95%" in lines
    for name, claim in TITLES.items():
        assert CLAIMS.judged_claim(claim, sweeps).estimate.concise() in drawn[name].title
    # The worst of all shifts that are drawn, of which claims judge some.
    for name in ("shifted_contexts", "shifted_contexts_of_layers"):
        assert re.search(r" the loss of \w+ layers? is \d\.\d+ \(\d\.\d+-\d\.\d+\) times ", drawn[name].title)


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_a_figure_without_its_sweep_is_not_drawn(draw):
    with pytest.raises(UndecidedError):
        draw(Sweeps({}))


@pytest.mark.slow
def test_the_fast_profile_decides_on_one_layer_and_heads_and_draws_them(sweeps):
    fast = Sweeps({sweep.name: sweeps[sweep.name] for sweep in PAPER.of_profile("fast")})
    found = {claim.name for claim in CLAIMS.judged(fast) if claim.verdict == HOLDS}
    assert {"one_layer_has_the_loss_of_one_step", "some_seeds_sit_on_a_plateau"} <= found
    for draw in FIGURES:
        if draw.__name__ in ("training", "context_lengths", "shifted_contexts", "roll_out", "plateaus"):
            specification(draw(fast))
