// The draws of pipeline/numerics/streams.py as whole (slots, rows, columns) arrays, without torch's passes over memory.
#define REAL float
#include "philox.h"

namespace {

// Lanes hold consecutive counters of a slot, row after row: rows may be shorter than a vector, or longer.
template <typename Number, typename Convert>
void fill(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
          std::int64_t first_row, std::int64_t columns, std::int64_t lane, Number* out, Convert convert) {
  const std::int64_t groups = (columns + 3) / 4, per_slot = rows * groups;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    const auto k0 = static_cast<std::uint32_t>(keys[2 * slot]), k1 = static_cast<std::uint32_t>(keys[2 * slot + 1]);
    const Words step = Words{} + static_cast<std::uint32_t>(steps[slot]);
    for (std::int64_t start = 0; start < per_slot; start += LANES) {
      Words group_of, row_of;
      std::int64_t row = start / groups, group = start % groups;
      for (int i = 0; i < LANES; ++i) {
        group_of[i] = static_cast<std::uint32_t>(group), row_of[i] = static_cast<std::uint32_t>(first_row + row);
        if (++group == groups) group = 0, ++row;
      }
      const FourWords four = philox({{group_of, row_of, step, Words{} + static_cast<std::uint32_t>(lane)}}, k0, k1);
      const decltype(convert(four.value[0])) values[] = {convert(four.value[0]), convert(four.value[1]),
                                                         convert(four.value[2]), convert(four.value[3])};
      row = start / groups, group = start % groups;
      for (int i = 0; i < LANES && start + i < per_slot; ++i) {
        Number* place = out + (slot * rows + row) * columns + 4 * group;
        for (int j = 0; j < 4 && 4 * group + j < columns; ++j) place[j] = values[j][i];
        if (++group == groups) group = 0, ++row;
      }
    }
  }
}

}  // namespace

extern "C" {

void seedbed_integers(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
                      std::int64_t first_row, std::int64_t columns, std::int64_t lane, std::uint32_t high,
                      std::int64_t* out) {
  fill(keys, steps, slots, rows, first_row, columns, lane, out, [=](Words w) { return integers(w, high); });
}

void seedbed_uniform32(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
                       std::int64_t first_row, std::int64_t columns, std::int64_t lane, float* out) {
  fill(keys, steps, slots, rows, first_row, columns, lane, out, [](Words w) { return unit(w); });
}

void seedbed_uniform64(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
                       std::int64_t first_row, std::int64_t columns, std::int64_t lane, double* out) {
  fill(keys, steps, slots, rows, first_row, columns, lane, out, [](Words w) { return unit(w); });
}
}
