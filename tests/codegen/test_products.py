"""Products and sums by row of generated programs, on sizes that fill no tile and no vector."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from pipeline.numerics.compiler import compiled, toolchain

pytestmark = pytest.mark.skipif(toolchain() is None, reason="there is no g++ here")

TABLES = [(5, 3, 7), (6, 70, 21), (4, 9, 40)]
SUMS = [(4, 4, 3), (7, 5, 2), (9, 36, 5), (5, 8, 1)]
# The bits of a number that no arithmetic leaves as it is, not even a 0 that is added.
SIGNALLING = 0x7FA00000
# Rows, columns, terms, blocks.
BLOCKS = [(5, 21, 2, 4), (13, 48, 1, 8), (2, 3, 4, 1), (7, 8, 9, 2)]
# Columns, terms.
SINGLE_ROWS = [(21, 9), (48, 8), (8, 17)]
RAGGED = [(7, 9, 3), (5, 3, 4), (1, 6, 2)]
PROBE = """
#include "functions.h"
#include "products.h"
extern "C" int num_lanes() { return LANES; }
extern "C" void weights(const real* left, const real* right, real* out) {
  multiply<5, 27, 11, 11, 1, 2, 22, 27, 1>(left, right, out);
}
"""
# Terms of a table's numbers, rows and columns: with 8 and 16 rows a column is read as vectors.
LOOKUPS = [(5, 8, 3), (4, 16, 18), (3, 7, 2), (19, 27, 5)]
# Positions, rows of each one's table, and columns.
POSITIONS = [(3, 5, 21), (2, 4, 70), (5, 3, 2)]
# A table is the transpose of (d, n) times (n, v), whose right operand is read by columns.
ONE_LOOKUP = """
extern "C" void lookup_{n}_{v}_{d}(const real* left, const real* right, real* table, const Ints* rows, Lanes* out) {{
  multiply<{d}, {v}, {n}, {n}, 1, 1, {n}, {v}, 1>(left, right, table);
  look_up<{n}, {v}, {d}, 1, 1, {v}>(table, rows, out);
}}
"""
ONE_TABLE = """
extern "C" void table_{n}_{v}_{d}(const Lanes* values, const Ints* rows, real* sums) {{
  add_by_row<{n}, {v}, {d}, 1, {d}, 1>(values, rows, sums);
}}
"""
ONE_SUM_OF_ROWS = """
extern "C" void rows_{n}_{v}_{d}(const real* tables, const Ints* rows, Lanes* out) {{
  look_up_sum<{n}, {v}, {d}, 2>(tables, rows, out);
}}
extern "C" void to_rows_{n}_{v}_{d}(const Lanes* values, const Ints* rows, real* sums) {{
  add_to_rows<{n}, {v}, {d}, 2, 1>(values, rows, sums);
}}
"""
# The left operand is read by columns, so its steps are those of a transpose.
ONE_SUM = """
extern "C" void sum_{m}_{n}_{k}(const Lanes* left, const Lanes* right, real* sums) {{
  add_product_sums<{m}, {n}, {k}, 1, {m}, {n}, 1, {n}, 1>(left, right, sums);
}}
"""
# The left operand of each block is (m, k), and the right one (k, n) stands behind it.
ONE_OF_BLOCKS = """
extern "C" void blocks_{m}_{n}_{k}(const Lanes* left, const Lanes* right, real* sums) {{
  constexpr int LEFT = {m} * {k} + 1, RIGHT = {n} * {k};
  add_turned_sums<{m}, {n}, {k}, {k}, 1, {n}, 1, {blocks}, LEFT, RIGHT>(left, right, sums);
}}
"""
# The same row alone and as the first of two, with steps of two between the numbers of a result.
ONE_ROW = """
extern "C" void row_{n}_{k}(const Lanes* left, const real* right, Lanes* alone, Lanes* beside) {{
  multiply<1, {n}, {k}, {k}, 1, {n}, 1, 1, 2>(left, right, alone);
  multiply<2, {n}, {k}, {k}, 1, {n}, 1, 1, 2>(left, right, beside);
}}
"""
ONE_RAGGED = """
extern "C" void columns_{m}_{n}_{k}(const Lanes* left, const Lanes* right, Lanes* out, const int* first,
                                    const int* last) {{
  multiply_to<0, {m}, {n}, {k}, {k}, 1, {n}, 1, {n}, 1>(left, right, out, first, last);
}}
extern "C" void terms_{m}_{n}_{k}(const Lanes* left, const Lanes* right, Lanes* out, const int* first,
                                  const int* last) {{
  for (int m = 0; m < {m}; ++m)
    multiply_terms<{n}, 1, {n}, 1, 1>(left + {k} * m, right, out + {n} * m, first[m], last[m]);
}}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The functions, compiled once for all sizes."""
    parts = [PROBE, *(ONE_TABLE.format(n=n, v=v, d=d) for n, v, d in TABLES)]
    parts += [ONE_LOOKUP.format(n=n, v=v, d=d) for n, v, d in LOOKUPS]
    parts += [ONE_SUM_OF_ROWS.format(n=n, v=v, d=d) for n, v, d in POSITIONS]
    parts += [ONE_SUM.format(m=m, n=n, k=k) for m, n, k in SUMS]
    parts += [ONE_OF_BLOCKS.format(m=m, n=n, k=k, blocks=blocks) for m, n, k, blocks in BLOCKS]
    parts += [ONE_ROW.format(n=n, k=k) for n, k in SINGLE_ROWS]
    parts += [ONE_RAGGED.format(m=m, n=n, k=k) for m, n, k in RAGGED]
    path = tmp_path_factory.mktemp("products") / "probe.cpp"
    path.write_text("".join(parts))
    found = compiled(str(path), "#define REAL float\n")
    assert found is not None
    return found


def aligned(*shape, kind=np.float32):
    """Zeros that begin where a vector may."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(kind).reshape(shape)


def drawn(seed, *shape):
    numbers = aligned(*shape)
    numbers[:] = np.random.default_rng(seed).normal(size=shape)
    return numbers


def guarded(numbers):
    """The bits of numbers that nothing is to touch."""
    bits = numbers.view(np.uint32)
    bits[:] = SIGNALLING
    return bits


def call(function, *arrays):
    function(*(ctypes.c_void_p(one.ctypes.data) for one in arrays))


@pytest.mark.parametrize(("n", "v", "d"), TABLES)
def test_numbers_are_added_up_in_the_rows_of_their_examples_and_beside_them_nothing_is_touched(library, n, v, d):
    lanes = library.num_lanes()
    values, rows, sums = drawn(n, n, d, lanes), aligned(n, lanes, kind=np.int32), aligned(v * d + 64)
    rows[:] = np.random.default_rng(v).integers(0, v, (n, lanes))
    beyond = guarded(sums[v * d :])
    call(getattr(library, f"table_{n}_{v}_{d}"), values, rows, sums)
    expected = np.zeros((v, d))
    np.add.at(expected, rows, values.transpose(0, 2, 1))
    np.testing.assert_allclose(sums[: v * d].reshape(v, d), expected, rtol=1e-4, atol=1e-4)
    assert (beyond == SIGNALLING).all()


def test_weights_are_multiplied_with_weights_at_steps_along_both_axes(library):
    left, right, out = drawn(0, 5, 11), drawn(1, 27, 11, 2), aligned(5, 27)
    call(library.weights, left, right, out)
    np.testing.assert_allclose(out, left.astype(float) @ right[..., 0].astype(float).T, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n", "v", "d"), LOOKUPS)
def test_rows_of_products_of_weights_are_looked_up(library, n, v, d):
    lanes = library.num_lanes()
    left, right, table = drawn(n, d, n), drawn(v, v, n), aligned(d * v + 16)
    rows = aligned(n, lanes, kind=np.int32)
    rows[:] = np.random.default_rng(d).integers(v, size=rows.shape)
    out, beyond = aligned(n, d, lanes), guarded(table[d * v :])
    call(getattr(library, f"lookup_{n}_{v}_{d}"), left, right, table, rows, out)
    expected = right.astype(float) @ left.astype(float).T
    np.testing.assert_allclose(out.transpose(0, 2, 1), expected[rows], rtol=1e-4, atol=1e-4)
    assert (beyond == SIGNALLING).all()


@pytest.mark.parametrize(("n", "v", "d"), POSITIONS)
def test_rows_of_a_table_for_each_position_are_added_up_and_added_to(library, n, v, d):
    lanes = library.num_lanes()
    tables, rows, found = drawn(n, n, v, d), aligned(n, 2, lanes, kind=np.int32), aligned(d, lanes)
    rows[:] = np.random.default_rng(d).integers(v, size=rows.shape)
    call(getattr(library, f"rows_{n}_{v}_{d}"), tables, rows, found)
    places = np.arange(n)[:, None], rows[:, 0]
    np.testing.assert_allclose(found.T, tables[places].astype(float).sum(0), rtol=1e-4, atol=1e-5)
    values, sums = drawn(v, d, lanes), aligned(n * v * d + 64)
    beyond, expected = guarded(sums[n * v * d :]), np.zeros((n, v, d))
    np.add.at(expected, places, values.T)
    call(getattr(library, f"to_rows_{n}_{v}_{d}"), values, rows, sums)
    np.testing.assert_allclose(sums[: n * v * d].reshape(n, v, d), expected, rtol=1e-4, atol=1e-5)
    assert (beyond == SIGNALLING).all()


@pytest.mark.parametrize(("m", "n", "k"), SUMS)
def test_products_are_summed_over_examples(library, m, n, k):
    lanes = library.num_lanes()
    left, right, sums = drawn(m, k, m, lanes), drawn(n, k, n, lanes), drawn(k, m, n)
    expected = sums + np.einsum("kml,knl->mn", left.astype(float), right.astype(float))
    call(getattr(library, f"sum_{m}_{n}_{k}"), left, right, sums)
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("m", "n", "k", "num_blocks"), BLOCKS)
def test_so_are_those_of_several_blocks_at_once_and_beside_them_nothing_is_touched(library, m, n, k, num_blocks):
    lanes = library.num_lanes()
    left, right = drawn(m, num_blocks, m * k + 1, lanes), drawn(k, num_blocks, k, n, lanes)
    sums = drawn(n, m * n + 64)
    beyond = guarded(sums[m * n :])
    rows = left[:, :-1].reshape(-1, m, k, lanes)
    added = np.einsum("bmkl,bknl->mn", rows.astype(float), right.astype(float))
    expected = sums[: m * n].reshape(m, n) + added
    call(getattr(library, f"blocks_{m}_{n}_{k}"), left, right, sums)
    np.testing.assert_allclose(sums[: m * n].reshape(m, n), expected, rtol=1e-4, atol=1e-4)
    assert (beyond == SIGNALLING).all()


@pytest.mark.parametrize(("n", "k"), SINGLE_ROWS)
def test_a_single_row_times_weights_has_the_bits_that_it_has_beside_another_row(library, n, k):
    lanes = library.num_lanes()
    left, right = drawn(n, 2, k, lanes), drawn(k, k, n)
    alone, beside = aligned(n, 2, lanes), aligned(n, 2, lanes)
    call(getattr(library, f"row_{n}_{k}"), left, right, alone, beside)
    expected = np.einsum("kl,kn->nl", left[0].astype(float), right.astype(float))
    np.testing.assert_allclose(alone[:, 0], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(alone[:, 0], beside[:, 0])
    assert (alone[:, 1] == 0).all()


@pytest.mark.parametrize(("m", "n", "k"), RAGGED)
def test_rows_have_columns_or_terms_of_their_own(library, m, n, k):
    lanes = library.num_lanes()
    left, right, out = drawn(m, m, k, lanes), drawn(n, k, n, lanes), aligned(m, n, lanes)
    for kind, most in (("columns", n), ("terms", k)):
        bounds = np.sort(np.random.default_rng(most).integers(0, most + 1, (m, 2)))
        first, last = (np.ascontiguousarray(one, np.int32) for one in bounds.T)
        call(getattr(library, f"{kind}_{m}_{n}_{k}"), left, right, out, first, last)
        for row, (begin, end) in enumerate(bounds):
            terms = slice(begin, end) if kind == "terms" else slice(None)
            columns = slice(begin, end) if kind == "columns" else slice(None)
            expected = np.einsum("kl,knl->nl", left[row, terms], right[terms, columns])
            np.testing.assert_allclose(out[row, columns], expected, rtol=1e-4, atol=1e-5)
