"""The YAML subset of specs; everything else is refused with its line."""

import os

import pytest

from pipeline.spec import yaml_source
from pipeline.spec.errors import SpecError
from pipeline.spec.yaml_source import read_scalar, read_spec_file, read_text, to_yaml

SCALARS = [
    ("1e-3", 1e-3),
    ("1E5", 1e5),
    ("-2.5e+3", -2500.0),
    (".5", 0.5),
    ("1.", 1.0),
    ("+7", 7),
    ("-0", 0),
    ("0", 0),
    ("9223372036854775807", 2**63 - 1),
    ("true", True),
    ("false", False),
    ("null", None),
    ("~", None),
    ("", None),
    ("no", "no"),
    ("yes", "yes"),
    ("on", "on"),
    ("off", "off"),
    ("True", "True"),
    ("NULL", "NULL"),
    ("012", "012"),
    ("0x1F", "0x1F"),
    ("1_000", "1_000"),
    ("1:30", "1:30"),
    ("2024-01-01", "2024-01-01"),
    ("1e", "1e"),
    ("e3", "e3"),
    ("١", "١"),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_unquoted_text_means_what_the_table_says(text, value):
    found = read_scalar(text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "text", [".nan", "NaN", "nan", ".inf", "-.inf", "inf", "Infinity", "1e999", "9" * 5000, str(2**63)]
)
def test_numbers_that_no_field_could_hold_are_refused(text):
    with pytest.raises(SpecError, match=r"^s:1: a: must be "):
        _data(f"a: {text}")


def test_quotes_make_text():
    assert _data("a: \"1e-3\"\nb: 'true'\nc: |\n  1\n") == {"a": "1e-3", "b": "true", "c": "1\n"}


REFUSED = {
    "duplicate": ("a: 1\nb: 2\na: 3\n", "s:3: a: duplicate key, first given at s:1"),
    "duplicate inside": ("a:\n  - {x: 1, x: 2}\n", "s:2: a[0].x: duplicate key, first given at s:2"),
    "anchor": ("a: 1\nb: &x 2\n", "s:2: b: anchors"),
    "alias": ("a: 1\nb: *x\n", "s:2: b: aliases"),
    "merge": ("a: 1\n<<: {b: 2}\n", "s:2: merge keys"),
    "tag": ("a: !!int 3\n", "s:1: a: tags"),
    "python tag": ("a: !!python/object/apply:os.system [ls]\n", "s:1: a: tags"),
    "tagged key": ("!x a: 3\n", "s:1: a: anchors and tags"),
    "list as key": ("b: 1\n? [1]\n: 2\n", "s:2: a key must be plain text"),
    "empty key": ("'': 2\n", "s:1: a key must be text"),
    "tab": ("a:\n\tb: 1\n", "s:2: tab in the indentation"),
    "two documents": ("a: 1\n---\nb: 1\n", "s:2: one document per file"),
    "empty": ("", "s:1: a spec must be a mapping of `key: value`; the file is empty"),
    "only a comment": ("# x\n", "s:1: a spec must be a mapping of `key: value`; the file is empty"),
    "list": ("- 1\n", "s:1: a spec must be a mapping of `key: value`; given [1]"),
    "text": ("hello\n", "s:1: a spec must be a mapping of `key: value`; given 'hello'"),
    "directive": ("%YAML 1.1\n---\na: 1\n", "s:1: directives"),
    "unclosed": ("a: 1\nb: [1,\n", "s:3: not valid YAML: "),
    "control character": ("a: 1\nb: \x01\n", "s:2: character"),
    "Unicode line break": ("a: 1\nb: x\u2028y\n", "s:2: line break U+2028 is refused"),
    "old line break": ("a: 1\nb: x\ry\n", "s:2: line break U+000D is refused"),
    "old line break at the end": ("a: 1\r", "s:1: line break U+000D is refused"),
    "surrogate": ('a: "\\ud800"\n', "s:1: a: text must be Unicode"),
    "impossible escape": ('a: "\\UFFFFFFFF"\n', "s:1: here or below, an escape"),
    "deep list": ("a: " + "[" * 60, "s:1: nested more than 50 deep"),
    "deep mapping": ("".join(f"{' ' * i}a:\n" for i in range(60)), "s:52: nested more than 50 deep"),
    "very deep": ("[" * 500_000, "s:1: nested more than 50 deep"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_surprising_yaml_is_refused_where_it_stands(case):
    text, expected = REFUSED[case]
    with pytest.raises(SpecError) as refused:
        _data(text)
    assert str(refused.value).startswith(expected)


def test_several_refusals_are_told_at_once():
    with pytest.raises(SpecError) as refused:
        _data("a: .nan\nb: *x\nc: !t 1\na: 2\n")
    assert [mistake.where for mistake in refused.value.mistakes] == ["s:1", "s:2", "s:3", "s:4"]


def test_an_alias_bomb_is_refused_without_being_expanded():
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40)]
    with pytest.raises(SpecError, match="aliases"):
        _data("\n".join(lines))


def test_every_value_knows_its_line():
    source = read_text("a: 1\nb:\n  c: [1,\n    2]\n  d:\n    - x: 1\n", "s")
    lines = {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 3,
        ("b", "c", 1): 4,
        ("b", "d", 0): 6,
        ("b", "d", 0, "x"): 6,
    }
    assert {place: source.where[place] for place in lines} == {place: f"s:{line}" for place, line in lines.items()}
    assert source.locate(("b", "d", 0, "missing", "deeper")) == "s:6"
    assert source.locate(("nothing",)) == "s:1"


FILES = {
    "not UTF-8": (b"a: 1\nb: \xff\n", ":2: must be UTF-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), ":1: must be UTF-8"),
    "too many values": (
        b"a: [" + b"1, " * yaml_source.MAX_ITEMS + b"1]",
        ":1: a spec holds at most 20000 values; write long lists as {range: [0, N]}",
    ),
    "too large": (b"a: 1\n" + b"#" * yaml_source.MAX_BYTES, ":1: a spec holds at most 1048576 bytes"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_spec_are_refused(tmp_path, case):
    content, expected = FILES[case]
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as refused:
        read_spec_file(path)
    assert str(refused.value).startswith(f"{path}{expected}")


def test_after_two_hundred_mistakes_reading_stops_and_says_so():
    with pytest.raises(SpecError) as refused:
        read_text("a: 1\n" * 1000 + "b: [", "s")
    assert len(refused.value.mistakes) == 201
    assert str(refused.value).endswith("s:201: 200 mistakes so far; the rest of the file was not read")


def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(SpecError, match="cannot be read: it is a pipe, a device or a socket, not a file"):
            read_spec_file(path)


@pytest.mark.parametrize("name", ["missing.yaml", ".", "nul\0byte"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(SpecError, match="cannot be read") as refused:
        read_spec_file(f"{tmp_path}/{name}")
    assert str(tmp_path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: 2\r\n".encode())
    source = read_spec_file(path)
    assert source.data == {"a": 1, "b": 2}
    assert source.where[("b",)] == f"{path}:2"


def test_text_that_looks_like_something_else_survives_writing():
    values = [text for text, _ in SCALARS] + [
        "<<",
        ".nan",
        "a: b",
        "- x",
        "é\n ü",
        "\ttab",
        "a\x85b",
        "\u2028",
        "\ufeffx",
        "\x07",
        "#",
        "*x",
        "&x",
        "!t",
        "x" * 300,
    ]
    data = {"values": values, "numbers": [1e-3, 1, 1e22, -0.5, None, True, 1e-300], "again": values}
    assert read_text(to_yaml(data)).data == data


def _data(text):
    source = read_text(text, "s")
    if source.mistakes:
        raise SpecError(source.mistakes)
    return source.data
