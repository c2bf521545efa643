"""What commands print: names as they are, without what a terminal obeys, on any stream."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from sweeps.cli.consoles import PlainConsole, printable
from sweeps.command.planning import varied_text


def printed(text):
    stream = io.StringIO()
    PlainConsole(file=stream, force_terminal=True, color_system=None).print(text)
    return stream.getvalue()


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x1b]0;title\x07", "a\x08b", "\x9b2J", "\u202eabc", "\udcff", "\r"])
def test_a_name_that_a_terminal_would_obey_is_shown_instead(text):
    assert printed(text).strip("\n").isprintable()
    assert printable(text) != text


def test_other_text_is_printed_as_it_is():
    text = "näme [/x] [red] :smile: 日本語 {0} %s\nnext"
    assert printed(text) == text + "\n"


def seedbed(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "sweeps.cli", *arguments], capture_output="stdout" not in options, **options
    )


def test_what_the_encoding_of_a_stream_lacks_is_shown_as_an_escape(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    ended = seedbed("status", str(tmp_path / "näme"))
    assert ended.returncode == 2
    assert rb"n\xe4me: holds no sweep" in ended.stderr


def test_a_terminal_of_no_columns_still_shows_mistakes(monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    ended = seedbed("status")
    assert ended.returncode == 2
    assert b"Usage" in ended.stderr


def test_a_terminal_of_very_many_columns_is_not_filled_with_blanks(monkeypatch):
    monkeypatch.setenv("COLUMNS", "99999999")
    ended = seedbed("status", "--help")
    assert ended.returncode == 0
    assert max(map(len, ended.stdout.decode().splitlines())) <= 1000


def test_a_full_standard_output_is_told_and_fails():
    with open("/dev/full", "w") as full:
        ended = seedbed("list", stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert ended.stderr == b"standard output: No space left on device\n"


def test_varied_values_are_short_unless_that_makes_two_alike():
    assert varied_text([1e-3, 10**-2.5, 1e-3, True, None]) == "0.001, 0.003162, True, None"
    assert varied_text([0.12345, 0.12346]) == "0.12345, 0.12346"
    assert varied_text(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, ... 12 values"
    assert varied_text([[1, 2], [1, 2]]) == "[1, 2]"
