"""Draws inside compiled programs: the bits of pipeline/numerics/streams.py, whatever vectors a processor has."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
import torch

from pipeline.numerics.compiler import compiled, instruction_sets, toolchain
from pipeline.numerics.streams import Draws, philox4x32, stream_key

pytestmark = [pytest.mark.native, pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")]

PROBE = """
#include "philox.h"
extern "C" int num_lanes() { return LANES; }
extern "C" void probe(const Stream* stream, std::uint32_t first, int columns, std::uint32_t lane, std::uint32_t high,
                      std::uint32_t* words, std::int32_t* whole, real* between) {
  draw(*stream, first, columns, lane, [&](int column, Words w) {
    const Ints below = integers(w, high);
    const Lanes real_w = unit(w);
    for (int i = 0; i < LANES; ++i)
      words[i * columns + column] = w[i], whole[i * columns + column] = below[i],
      between[i * columns + column] = real_w[i];
  });
}
"""
PORTABLE = "#undef __SSE2__\n"
# Vectors of 64, 32, 16 and 8 bytes, and what is written for any processor.
KINDS = [(level, "float", "") for level in instruction_sets()]
KINDS += [(instruction_sets()[-1], "double", ""), (instruction_sets()[-1], "float", PORTABLE)]
STEP, FIRST_ROW, SUBSTREAM, BELOW = 2**31 + 5, 2**32 - 7, 3, 70_001


@pytest.mark.parametrize(("level", "real", "preamble"), KINDS)
def test_vectors_of_every_size_give_the_bits_of_torch(level, real, preamble, tmp_path):
    (tmp_path / "probe.cpp").write_text(PROBE)
    library = compiled(str(tmp_path / "probe.cpp"), f"{preamble}#define REAL {real}\n", level)
    key, num_rows = stream_key("data", 7), library.num_lanes()
    # Rows count on from the largest word to 0.
    rows = (torch.arange(num_rows) + FIRST_ROW) % 2**32
    for columns in (1, 4, 5, 8, 9, 110):
        expected = words_of(key, rows, columns)
        words, whole = np.zeros((num_rows, columns), np.uint32), np.zeros((num_rows, columns), np.int32)
        between = np.zeros((num_rows, columns), np.float32 if real == "float" else np.float64)
        arrays = [ctypes.c_void_p(one.ctypes.data) for one in (words, whole, between)]
        stream = (ctypes.c_uint32 * 3)(*key, STEP)
        library.probe(stream, *map(ctypes.c_uint32, (FIRST_ROW, columns, SUBSTREAM, BELOW)), *arrays)
        assert (words == expected.numpy()).all(), columns
        assert (whole == (expected * BELOW >> 32).numpy()).all(), columns
        unit = ((expected >> 9) * 2 + 1).to(torch.from_numpy(between).dtype) * 2.0**-24
        assert (between == unit.numpy()).all(), columns


def words_of(key, rows, columns):
    """(rows, columns) words of counters (column // 4, row, step, substream), as int64."""
    group = torch.arange(-(-columns // 4))
    counter = (group, rows.unsqueeze(1), torch.tensor(STEP), torch.tensor(SUBSTREAM))
    shape = (len(rows), len(group))
    found = [word.expand(shape) for word in philox4x32(counter, tuple(map(torch.tensor, key)))]
    return torch.stack(found, dim=-1).flatten(1)[:, :columns]


def test_those_words_are_the_ones_that_torch_draws():
    keys = torch.tensor([stream_key("data", 7)])
    mine = Draws(keys, torch.tensor([STEP]), 3, first_row=11).words(9, SUBSTREAM)
    assert torch.equal(mine[0], words_of(stream_key("data", 7), torch.arange(3) + 11, 9))
