"""What is measured on circuits of trained models, on a model built by hand whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.tasks.dictionary_lookup import DictionaryLookup
from sweeps.zhao_2023.circuits.measurements import Sequences, of_one_run, swaps
from tests.analysis.test_circuits import K, N, V, built, renamed

TASK = DictionaryLookup(num_keys=K, num_values=V, num_pairs=N)


@pytest.fixture(scope="module")
def asked():
    return Sequences.drawn(TASK, "circuits", 200)


def test_sequences_are_lookups_that_are_drawn_again_alike_and_otherwise_for_another_purpose(asked):
    again, other = (Sequences.drawn(TASK, purpose, 200) for purpose in ("circuits", "stitching"))
    np.testing.assert_array_equal(asked.tokens, again.tokens)
    assert not np.array_equal(asked.tokens, other.tokens)
    for tokens, target in zip(asked.tokens, asked.targets, strict=True):
        assert target + K in tokens[1::2][tokens[:-1:2] == tokens[-1]]


def test_a_run_is_measured_by_what_was_built_into_it(asked):
    found = of_one_run(built(), TASK, asked)
    assert {name for name, value in found.items() if value == pytest.approx(1, abs=1e-6)} == {
        "circuit_accuracy",
        "ablated_accuracy/keys",
        "ablated_accuracy/query",
        "qk_previous",
        "qk_matching",
        "ov_copying",
        "attention_values_to_previous",
    }
    assert max(found[f"ablated_accuracy/{where}"] for where in ("layer1", "layer2", "values")) < 0.7
    # The query looks at itself in layer 1.
    assert found["attention_query_to_same_key"] < 1e-6


def test_a_run_is_given_parts_of_every_other_run_and_none_of_its_own(asked):
    host, donor = built(), renamed(built(), 1)
    found = swaps(host, 7, {7: host, 8: donor}, asked, Sequences.drawn(TASK, "stitching", 200))
    assert set(found) == {f"{kind}_accuracy/8" for kind in ("maps", "transplanted", "stitched")}
    assert (found["maps_accuracy/8"], found["stitched_accuracy/8"]) == (1, 1)
    assert found["transplanted_accuracy/8"] < 0.7
