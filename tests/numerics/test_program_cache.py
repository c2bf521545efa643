"""The cache of compiled programs: private, and never a program that is not whole."""

from __future__ import annotations

import os
import random

import pytest

from pipeline.numerics import program_cache
from pipeline.numerics.compiler import compiled, toolchain
from pipeline.numerics.program_cache import cache_folder, keep, kept_program, why_not_private

needs_compiler = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")


@pytest.fixture
def program(tmp_path):
    """A sealed program: random bytes."""
    tmp_path.chmod(0o700)
    built = tmp_path / "scratch"
    built.write_bytes(random.Random(0).randbytes(20_000))
    keep(built, tmp_path / "program.so")
    return tmp_path / "program.so"


def test_every_flipped_bit_is_noticed(program):
    whole, chance = bytearray(program.read_bytes()), random.Random(1)
    assert kept_program(program)
    places = {*range(len(whole) * 8 - 48 * 8, len(whole) * 8), *(chance.randrange(len(whole) * 8) for _ in range(400))}
    for place in places:
        whole[place // 8] ^= 1 << place % 8
        program.write_bytes(whole)
        assert not kept_program(program), place
        whole[place // 8] ^= 1 << place % 8
    program.write_bytes(whole)
    assert kept_program(program)


def test_a_cut_program_is_noticed_at_every_length(program):
    whole = program.read_bytes()
    for length in [*range(200), *range(200, len(whole), 997), len(whole) - 1]:
        program.write_bytes(whole[:length])
        assert not kept_program(program), length


def test_a_program_that_others_can_write_a_link_and_a_pipe_are_none(program):
    program.chmod(0o720)
    assert not kept_program(program)
    program.chmod(0o700)
    assert kept_program(program)
    (program.parent / "link.so").symlink_to(program)
    assert not kept_program(program.parent / "link.so")
    os.mkfifo(program.parent / "pipe.so")
    assert not kept_program(program.parent / "pipe.so")
    assert not kept_program(program.parent / "absent.so")


def test_a_folder_that_others_can_change_is_not_private(tmp_path):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for mode in (0o700, 0o755):
        folder.chmod(mode)
        assert why_not_private(folder) is None
    for mode in (0o770, 0o702, 0o777, 0o1777):
        folder.chmod(mode)
        assert "can be written by others" in why_not_private(folder)
    folder.chmod(0o700)
    folder.parent.chmod(0o777)
    assert "can be written by everybody" in why_not_private(folder)
    folder.parent.chmod(0o1777)
    assert why_not_private(folder) is None


def test_a_folder_of_another_user_is_not_private(tmp_path, monkeypatch):
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert "belongs to another user" in why_not_private(tmp_path)


@pytest.mark.parametrize("base", ["", "relative/folder"])
def test_a_base_that_is_no_absolute_path_is_as_none(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    assert cache_folder() == tmp_path / ".cache" / "seedbed"
    assert not (tmp_path / "seedbed").exists()


def test_without_a_private_folder_programs_are_not_kept_and_the_reason_is_told(tmp_path, monkeypatch, capfd):
    program_cache._temporary_folder.cache_clear()
    (tmp_path / "seedbed").mkdir()
    (tmp_path / "seedbed").chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    assert folder == cache_folder() != tmp_path / "seedbed"
    assert why_not_private(folder) is None
    told = capfd.readouterr().err
    assert told.count("compiled programs are not kept") == 1
    assert "chmod 700" in told
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache_folder() not in {tmp_path / "file", folder}
    assert "Not a directory" in capfd.readouterr().err


@needs_compiler
@pytest.mark.native
@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:5000], lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), None]
)
def test_a_damaged_library_is_compiled_again(damage, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "number.cpp"
    source.write_text('extern "C" int number() { return 7; }')
    first = compiled(str(source))
    (path,) = (tmp_path / "seedbed").glob("number-*.so")
    whole = path.read_bytes()
    path.write_bytes(b"planted" if damage is None else damage(whole))
    assert compiled(str(source)).number() == first.number() == 7
    assert path.read_bytes() == whole
    assert [found.name for found in (tmp_path / "seedbed").iterdir()] == [path.name]


@needs_compiler
@pytest.mark.native
@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system loads libraries from files alone")
def test_what_runs_is_what_was_checked_whatever_happens_to_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    numbers = []
    for number in range(3):
        source = tmp_path / "number.cpp"
        source.write_text(f'extern "C" int number() {{ return {number}; }}')
        numbers.append(compiled(str(source)))
    for path in (tmp_path / "seedbed").iterdir():
        path.write_bytes(b"")
    assert [library.number() for library in numbers] == [0, 1, 2]


def test_a_program_is_synced_before_it_has_its_name(tmp_path, monkeypatch):
    built, program, fsync, seen = tmp_path / "scratch", tmp_path / "program.so", os.fsync, []
    built.write_bytes(b"program")
    monkeypatch.setattr(program_cache.os, "fsync", lambda number: (seen.append(program.exists()), fsync(number)))
    keep(built, program)
    assert seen == [False]
