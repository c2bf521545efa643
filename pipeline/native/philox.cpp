// Philox4x32-10 (Salmon et al. 2011) for many counters at once: the same bits as streams.philox4x32, without its passes
// over memory. Counters are (column / 4, row, step, lane); a compiler turns the inner loop into vector code.
#include <cstdint>

namespace {

constexpr std::uint32_t M0 = 0xD2511F53u, M1 = 0xCD9E8D57u, W0 = 0x9E3779B9u, W1 = 0xBB67AE85u;
constexpr int kBlock = 16;  // counters in flight

struct Words {
  std::uint32_t value[4][kBlock];
};

inline void philox(Words& w, std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kBlock; ++i) {
      const std::uint64_t p0 = static_cast<std::uint64_t>(M0) * w.value[0][i];
      const std::uint64_t p1 = static_cast<std::uint64_t>(M1) * w.value[2][i];
      const std::uint32_t c1 = w.value[1][i], c3 = w.value[3][i];
      w.value[0][i] = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      w.value[1][i] = static_cast<std::uint32_t>(p1);
      w.value[2][i] = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      w.value[3][i] = static_cast<std::uint32_t>(p0);
    }
    k0 += W0;
    k1 += W1;
  }
}

// Calls put(place, word) for every word of a (slots, rows, columns) array.
template <typename Put>
void fill(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
          std::int64_t first_row, std::int64_t columns, std::int64_t lane, Put put) {
  const std::int64_t counters = (columns + 3) / 4, per_slot = rows * counters;
  Words w;
  for (std::int64_t slot = 0; slot < slots; ++slot) {
    for (std::int64_t start = 0; start < per_slot; start += kBlock) {
      std::int64_t row = start / counters, group = start % counters;
      const std::int64_t first = start;
      for (int i = 0; i < kBlock; ++i) {
        w.value[0][i] = static_cast<std::uint32_t>(group);
        w.value[1][i] = static_cast<std::uint32_t>(first_row + row);
        w.value[2][i] = static_cast<std::uint32_t>(steps[slot]);
        w.value[3][i] = static_cast<std::uint32_t>(lane);
        if (++group == counters) group = 0, ++row;
      }
      philox(w, static_cast<std::uint32_t>(keys[2 * slot]), static_cast<std::uint32_t>(keys[2 * slot + 1]));
      row = first / counters, group = first % counters;
      for (int i = 0; i < kBlock && first + i < per_slot; ++i) {
        const std::int64_t place = (slot * rows + row) * columns + 4 * group;
        const std::int64_t left = columns - 4 * group;
        for (int j = 0; j < 4 && j < left; ++j) put(place + j, w.value[j][i]);
        if (++group == counters) group = 0, ++row;
      }
    }
  }
}

}  // namespace

extern "C" {

void seedbed_integers(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
                      std::int64_t first_row, std::int64_t columns, std::int64_t lane, std::uint64_t high,
                      std::int64_t* out) {
  fill(keys, steps, slots, rows, first_row, columns, lane, [=](std::int64_t place, std::uint32_t word) {
    out[place] = static_cast<std::int64_t>((word * high) >> 32);
  });
}

void seedbed_uniform32(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
                       std::int64_t first_row, std::int64_t columns, std::int64_t lane, float* out) {
  fill(keys, steps, slots, rows, first_row, columns, lane, [=](std::int64_t place, std::uint32_t word) {
    out[place] = static_cast<float>(static_cast<std::int32_t>((word >> 9) * 2 + 1)) * 0x1p-24f;
  });
}

void seedbed_uniform64(const std::int64_t* keys, const std::int64_t* steps, std::int64_t slots, std::int64_t rows,
                       std::int64_t first_row, std::int64_t columns, std::int64_t lane, double* out) {
  fill(keys, steps, slots, rows, first_row, columns, lane, [=](std::int64_t place, std::uint32_t word) {
    out[place] = static_cast<double>(static_cast<std::int32_t>((word >> 9) * 2 + 1)) * 0x1p-24;
  });
}
}
