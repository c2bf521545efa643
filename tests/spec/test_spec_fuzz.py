"""Fuzzing: reading any file gives a spec, or a SpecError with a location on every line."""

import copy
import difflib
import os
import re
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.spec.sweep import SpecError, SweepSpec, load_spec
from pipeline.spec.yaml_source import read_text, to_yaml
from tests.spec.spec_texts import FORK, GOOD, TAKING

# `make fuzz` tries 5000.
EXAMPLES = int(os.environ.get("SEEDBED_EXAMPLES", "80"))
PLACE = re.compile(r"(.*/s\.yaml:[0-9]+|override .*?): .")

fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def outcome(folder, content, overrides=()):
    """The spec, or None after checking that every line of the error has a place."""
    path = folder / "s.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        spec = load_spec(path, overrides)
    except SpecError as error:
        refused = error
    else:
        assert isinstance(spec, SweepSpec)
        assert spec.fork is not None or all(run.run_id for run in spec.runs()[:10])
        return spec
    lines = str(refused).split("\n")
    assert len(lines) == len(refused.mistakes) >= 1
    num_lines = path.read_bytes().count(b"\n") + 1
    for line in lines:
        assert PLACE.match(line), line
        place = re.match(r".*?/s\.yaml:([0-9]+):", line)
        assert place is None or 1 <= int(place[1]) <= num_lines
    return None


tokens = st.sampled_from(
    [
        *"{}[]:,-?&*!|>%@`'\"#~\n\t \\",
        *("\n  ", "\n- ", ": ", "- ", "<<: ", "&a ", "*a", "!!str ", "---\n", "...\n", "null", "true", "1e-3", ".nan"),
        *("0x1f", "name", "task", "budget: 1", "seeds", "\ufeff", "\x00", "\x85", "\u2028", "\\ud800", '"\\UFFFFFFFF"'),
    ]
)


@fuzzed
@given(st.lists(st.one_of(tokens, st.text(max_size=5)), max_size=40).map("".join))
def test_random_text(folder, text):
    outcome(folder, text)


@fuzzed
@given(st.binary(max_size=200))
def test_random_bytes(folder, content):
    outcome(folder, content)


@fuzzed
@given(st.sampled_from([GOOD, FORK]), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 6), tokens), max_size=4))
def test_a_good_file_with_characters_cut_and_put_in(folder, text, edits):
    for place, num_cut, token in edits:
        place %= len(text) + 1
        text = text[:place] + token + text[place + num_cut :]
    outcome(folder, text)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.integers(-3, 60),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["1e-3", "adamw", "cosine", "linear_regression", "data", "all", "range", "0123456789abcdef"]),
)
keys = st.one_of(
    st.sampled_from(["name", "range", "random", "num", "together", "model.width", "streams.data", "step"]),
    st.text(max_size=6),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)


def places(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*prefix, key))


def edited(value, place, how, new, key):
    """A copy of `value` with the item at `place` replaced, dropped, or given a neighbour."""
    if not place:
        return new if how == "replace" else value
    head, *rest = place
    copy = dict(value) if isinstance(value, dict) else list(value)
    if rest:
        copy[head] = edited(copy[head], rest, how, new, key)
    elif how == "replace":
        copy[head] = new
    elif how == "drop":
        del copy[head]
    elif isinstance(copy, dict):
        copy[key] = new
    else:
        copy.append(new)
    return copy


@st.composite
def mutated(draw):
    data = read_text(draw(st.sampled_from([GOOD, FORK, TAKING]))).data
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list(places(data))))
        data = edited(data, place, draw(st.sampled_from(["replace", "drop", "add"])), draw(values), draw(keys))
        if not isinstance(data, dict):
            break
    return data


@fuzzed
@given(mutated())
def test_a_good_spec_with_other_values(folder, data):
    text = yaml.safe_dump(data, sort_keys=False)
    spec = outcome(folder, text)
    if spec is not None:
        again = outcome(folder, spec.to_yaml())
        assert again == spec
        assert again.sweep_id == spec.sweep_id


@fuzzed
@given(
    st.sampled_from([GOOD, FORK, TAKING]),
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.builds(
                "{}={}".format,
                st.sampled_from(
                    [
                        "budget",
                        "optimiser.lr",
                        "model",
                        "grid.chunk",
                        "streams.data",
                        "vary",
                        "fork.steps",
                        "fork.changes",
                        "a.b",
                        "seeds",
                    ]
                ),
                st.one_of(
                    st.text(max_size=10),
                    scalars.map(str),
                    values.map(lambda value: yaml.safe_dump(value, default_flow_style=True)),
                ),
            ),
        ),
        max_size=3,
    ),
)
def test_overrides(folder, text, overrides):
    outcome(folder, text, overrides)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63) + 1, 2**63 - 1) | finite | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text.filter(bool), inner, max_size=4),
    max_leaves=12,
)


@fuzzed
@given(st.dictionaries(text.filter(bool), plain, max_size=4))
def test_what_is_written_reads_back_the_same(data):
    source = read_text(to_yaml(data))
    assert not source.mistakes
    assert repr(source.data) == repr(data)


def misspelt(key, place, how):
    """The key with one letter left out, doubled, exchanged with the next, or replaced."""
    place %= len(key)
    before, letter, after = key[:place], key[place], key[place + 1 :]
    return {
        "left out": before + after,
        "doubled": before + 2 * letter + after,
        "exchanged": before + after[:1] + letter + after[1:],
        "replaced": f"{before}x{after}",
    }[how]


def refusal(folder, data):
    """The mistakes of a spec that is written a key a line, and the lines of its text."""
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=False)
    (folder / "s.yaml").write_text(text)
    with pytest.raises(SpecError) as refused:
        load_spec(folder / "s.yaml", ())
    return refused.value.mistakes, text.split("\n")


def sections(data):
    """(place, key) of every key of the file that a misspelling can stand beside."""
    inner = ("task", "model", "optimiser", "schedule", "grid", "converged", "snapshots", "resources", "tracking")
    return [((), key) for key in data] + [((name,), key) for name in inner for key in data[name] if key != "name"]


@fuzzed
@given(st.data(), st.integers(0, 30), st.sampled_from(["left out", "doubled", "exchanged", "replaced"]))
def test_a_misspelt_key_is_one_error_with_its_line_and_the_nearest_name(folder, draw, letter, how):
    data = read_text(GOOD).data
    place, key = draw.draw(st.sampled_from(sections(data)))
    word = misspelt(key, letter, how)
    section = data[place[0]] if place else data
    assume(word and word not in section)
    section[word] = copy.deepcopy(section[key])
    (mistake,), lines = refusal(folder, data)
    assert mistake.field == ".".join((*place, word))
    indent = "  " * len(place)
    assert re.match(rf"{indent}['\"]?{re.escape(word)}['\"]?:", lines[int(mistake.where.rpartition(":")[2]) - 1])
    named = re.search(r"did you mean '(.+?)'\?", mistake.message)
    assert named, mistake.message
    likeness = [difflib.SequenceMatcher(None, name, word).ratio() for name in (key, named[1])]
    assert likeness[1] >= likeness[0] - 0.01


def numbers(value, place=()):
    """The places of all numbers inside a value that are not in a list."""
    for key, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, int | float) and not isinstance(item, bool):
            yield (*place, key)
        yield from numbers(item, (*place, key))


@fuzzed
@given(st.data(), st.sampled_from(["many", "1e", "0x10", "- 1", "1 000"]) | st.text("abc ", min_size=1, max_size=6))
def test_text_in_the_place_of_a_number_is_one_error_with_its_line_and_field(folder, draw, word):
    data = read_text(GOOD).data
    for name in ("vary", "seeds", "streams"):
        data.pop(name, None)
    data["seeds"] = {"together": [0]}
    place = draw.draw(st.sampled_from(list(numbers(data))))
    section = data
    for name in place[:-1]:
        section = section[name]
    section[place[-1]] = word
    (mistake,), lines = refusal(folder, data)
    assert mistake.field == ".".join(place)
    assert lines[int(mistake.where.rpartition(":")[2]) - 1].strip().startswith(f"{place[-1]}:")
    assert "given" in mistake.message
