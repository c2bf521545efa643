"""Streams: the published vectors, and draws that depend on stream, seed, step and position alone."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.numerics.kernels import compiled_kernels
from pipeline.numerics.streams import Draws, philox4x32, stream_key, stream_keys

# From the reference implementation's known-answer file (Random123, kat_vectors, philox4x32 10).
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def draws(seed: int = 0, steps: tuple[int, ...] = (0,), num_rows: int = 4, stream: str = "data") -> Draws:
    keys = torch.tensor([stream_key(stream, seed)] * len(steps))
    return Draws(keys, torch.tensor(steps), num_rows)


@pytest.mark.parametrize(("counter", "key", "expected"), PUBLISHED)
def test_philox_gives_the_published_vectors(counter, key, expected):
    words = philox4x32(tuple(map(torch.tensor, counter)), tuple(map(torch.tensor, key)))
    assert tuple(int(word) for word in words) == expected


def test_a_smaller_array_is_a_corner_of_a_larger_one():
    for kind in ("words", "uniform", "normal"):
        small = getattr(draws(num_rows=3), kind)(5, 1)
        large = getattr(draws(num_rows=9), kind)(12, 1)
        assert torch.equal(small, large[:, :3, :5]), kind


def test_draws_depend_on_seed_step_stream_and_lane_and_on_nothing_else():
    base = draws().words(8, 0)
    assert torch.equal(base, draws().words(8, 0))
    for other in (draws(seed=1), draws(steps=(1,)), draws(stream="order")):
        assert not torch.equal(base, other.words(8, 0))
    assert not torch.equal(base, draws().words(8, 1))


def test_a_slot_draws_the_same_beside_any_others():
    together = draws(steps=(3, 700, 3)).normal(7, 0)
    for slot, step in enumerate((3, 700, 3)):
        assert torch.equal(together[slot], draws(steps=(step,)).normal(7, 0)[0])


def test_rows_can_be_drawn_in_pieces():
    whole = draws(num_rows=10).words(6, 0)
    piece = Draws(draws().keys_S2, draws().steps_S, 4, first_row=6).words(6, 0)
    assert torch.equal(whole[:, 6:], piece)


def test_seed_zero_is_a_seed_like_any_other():
    assert stream_key("data", 0) != (0, 0)
    seeds = [0, 1, 2**70]
    assert stream_keys("data", seeds).tolist() == [list(stream_key("data", seed)) for seed in seeds]
    assert not torch.equal(draws(seed=0).words(64, 0), draws(seed=1).words(64, 0))


def test_integers_cover_their_range_evenly():
    counts = np.bincount(draws(num_rows=4000).integers(7, 10, 0).flatten().numpy(), minlength=7)
    assert len(counts) == 7
    assert stats.chisquare(counts).pvalue > 1e-4


def test_uniforms_and_normals_have_their_distribution():
    uniform = draws(num_rows=2000).uniform(20, 0).flatten().numpy()
    normal = draws(num_rows=2000).normal(20, 1).flatten().numpy()
    assert uniform.min() > 0
    assert uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-4
    assert stats.kstest(normal, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(normal[0::2], normal[1::2])[0, 1]) < 0.03


def test_normals_agree_with_an_independent_computation():
    words = draws(num_rows=50).words(10, 0).numpy().astype(np.float64)
    unit = (2 * np.floor(words / 512) + 1) / 2**24
    expected = np.sqrt(-2 * np.log(unit[..., 0::2])) * np.cos(2 * np.pi * unit[..., 1::2])
    assert np.abs(draws(num_rows=50).normal(10, 0).numpy()[..., 0::2] - expected).max() < 2e-6


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="must be >= 0"):
        stream_key("data", -1)
    with pytest.raises(ValueError, match="must be >= 0"):
        stream_keys("data", [0, -1])


def test_another_process_draws_the_same():
    code = "from tests.numerics.test_streams import draws; print(draws(seed=5, steps=(9,)).words(3, 2).tolist())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(draws(seed=5, steps=(9,)).words(3, 2).tolist())


@pytest.fixture
def eager(monkeypatch):
    """Runs a function as on a machine without a compiler."""
    import pipeline.numerics.streams

    def run(function):
        with monkeypatch.context() as patch:
            patch.setattr(pipeline.numerics.streams, "compiled_kernels", lambda: None)
            return function()

    return run


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize(("num_rows", "num_columns"), [(1, 1), (3, 5), (4, 16), (7, 17), (64, 110)])
def test_the_compiled_kernels_give_the_bits_of_torch(num_rows, num_columns, eager):
    assert compiled_kernels() is not None
    keys = torch.tensor([stream_key("data", seed) for seed in range(3)])
    mine = Draws(keys, torch.tensor([0, 5, 2**31]), num_rows, first_row=2)
    draws_of = {
        "integers": lambda: mine.integers(13, num_columns, 1),
        "uniform": lambda: mine.uniform(num_columns, 2),
        "uniform64": lambda: mine.uniform(num_columns, 2, torch.float64),
        "normal": lambda: mine.normal(num_columns, 3),
    }
    for name, draw in draws_of.items():
        reference = eager(draw)
        assert draw().dtype == reference.dtype, name
        assert torch.equal(draw(), reference), name


def test_without_a_compiler_draws_go_on_and_it_is_said_once():
    code = (
        "import torch; from pipeline.numerics.streams import Draws, stream_key\n"
        "draws = Draws(torch.tensor([stream_key('data', 0)]), torch.zeros(1, dtype=torch.int64), 2)\n"
        "print(draws.integers(9, 3, 0).tolist(), draws.uniform(2, 0).shape)"
    )
    environment = {"PATH": "/nowhere", "CXX": "no-such-compiler", "HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith(str(draws(num_rows=2).integers(9, 3, 0).tolist()))
    assert done.stderr.count("no C++ compiler") == 1
