"""Former names of fields are refused with the present one; American spelling is understood."""

import pytest

from pipeline.spec.renamed import present_form
from pipeline.spec.sweep import SweepSpec
from tests.spec.spec_texts import FORK, GOOD


def test_american_spelling_reads_as_the_same_spec(load):
    american = GOOD.replace("optimiser", "optimizer")
    assert load(american) == load(GOOD)
    assert load(GOOD, "optimizer.lr=1e-2", "vary=[]") == load(GOOD, "optimiser.lr=1e-2", "vary=[]")
    assert load(FORK.replace("optimiser", "optimizer")) == load(FORK)


def test_a_mistake_is_told_at_the_line_of_the_american_spelling(mistakes):
    (told,) = mistakes(GOOD.replace("optimiser: {name: adamw, lr: 3e-3", "optimizer: {name: adamw, lr: -3"))
    assert told.startswith("s.yaml:4: optimiser.lr: should be greater than 0, given -3")


def test_both_spellings_at_once_are_refused(mistakes):
    (told,) = mistakes(GOOD.replace("schedule:", "optimizer: {name: sgd, lr: 1}\nschedule:"))
    assert told.startswith("s.yaml:5: optimizer: unknown key 'optimizer'; did you mean 'optimiser'?")


@pytest.mark.parametrize(
    ("present", "former", "told"),
    [
        ("vary:", "settings:", "s.yaml:9: settings: is called vary now"),
        ("{slots: 8", "{width: 8", "s.yaml:18: resources.width: is called resources.slots now"),
        (
            "{slots: 8",
            "{mode: eager",
            "s.yaml:18: resources.mode: is called resources.engine (auto, torch or compiled) now",
        ),
        ("{slots: 8", "{products: bf16", "s.yaml:18: resources.products: is called resources.matmul_precision now"),
    ],
)
def test_a_former_field_is_refused_with_its_present_name(mistakes, present, former, told):
    assert mistakes(GOOD.replace(present, former)) == [told]


def test_a_stored_spec_of_an_earlier_version_means_what_it_meant(load):
    """Its `snapshots.weights` were whole states, and nothing was read from weights at windows."""
    today = load(GOOD, "windows=[]", "readings=[]")
    earlier = {name: value for name, value in today.identity().items() if name not in ("windows", "readings")}
    earlier["snapshots"] = {"weights": [0, 100, 1200], "attention": []}
    assert SweepSpec.model_validate(present_form(earlier)) == today
    assert present_form(load(GOOD).identity()) == load(GOOD).identity()
    assert present_form(load(FORK).identity()) == load(FORK).identity()
