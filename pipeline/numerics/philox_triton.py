"""Philox4x32-10 as a kernel for GPUs, in Triton; `philox_gpu.py` imports it where Triton is installed."""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"
# Triton reads the annotations of a kernel, and knows only its own, so there is no `from __future__` and no other type.
import triton
import triton.language as tl


@triton.jit
def _value(word, high, KIND: tl.constexpr):
    """What is made of a word: itself, an integer below `high`, or a uniform number on (0, 1)."""
    if KIND == 0:
        return word.to(tl.int64)
    # Not plain statements after it, so that Triton compiles one branch alone.
    elif KIND == 1:  # noqa: RET505
        return (word.to(tl.int64) * high) >> 32
    else:
        # Below 2**24, so float32 holds it exactly, and a power of two rounds nothing.
        return ((word >> 9) * 2 + 1).to(tl.float32) * 5.9604644775390625e-08


@triton.jit
def philox_kernel(
    keys,
    steps,
    rows,
    out,
    num_rows,
    first_row,
    num_columns,
    num_counters,
    substream,
    high,
    total,
    KIND: tl.constexpr,
    HAS_ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Four columns of `out` (S, num_rows, num_columns) for each of `total` counters: column // 4, row, step, substream.

    `keys` (S, 2) and `steps` (S,) are int64. With HAS_ROWS, rows are those of `rows` (S, num_rows), at step 0.
    """
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_there = index < total
    counter = index % num_counters
    place = index // num_counters
    slot = place // num_rows
    low = tl.load(keys + 2 * slot, mask=is_there, other=0).to(tl.uint64)
    key = low | (tl.load(keys + 2 * slot + 1, mask=is_there, other=0).to(tl.uint64) << 32)
    if HAS_ROWS:
        row = tl.load(rows + place, mask=is_there, other=0).to(tl.uint32)
        step = tl.zeros_like(row)
    else:
        row = (first_row + place % num_rows).to(tl.uint32)
        step = tl.load(steps + slot, mask=is_there, other=0).to(tl.uint32)
    of_draw = (tl.zeros_like(row) + substream).to(tl.uint32)
    word0, word1, word2, word3 = tl.philox(key, counter.to(tl.uint32), row, step, of_draw)
    column = 4 * counter
    first = out + place * num_columns + column
    tl.store(first, _value(word0, high, KIND), mask=is_there)
    tl.store(first + 1, _value(word1, high, KIND), mask=is_there & (column + 1 < num_columns))
    tl.store(first + 2, _value(word2, high, KIND), mask=is_there & (column + 2 < num_columns))
    tl.store(first + 3, _value(word3, high, KIND), mask=is_there & (column + 3 < num_columns))
