// What generated programs draw for a block of examples, as real numbers.
#pragma once

#include "functions.h"
#include "philox.h"

// The same stream with steps counted modulo `period`.
inline Stream repeated(Stream stream, std::uint32_t period) {
  stream.step %= period;
  return stream;
}

// 1 where a comparison holds, else 0: those of vectors are -1 where they hold.
#ifdef ONE_LANE
inline Ints truth(bool holds) { return holds; }
#else
inline Ints truth(Ints holds) { return -holds; }
#endif

// 1 where an integer below `high` is below `bound`, else 0.
inline Lanes is_below(Words w, std::uint32_t high, int bound) { return real_numbers(truth(integers(w, high) < bound)); }

// 0 .. COUNT - 1 in the order of as many integers below `high`, equal ones by place.
template <int COUNT>
inline void draw_order(const Stream& stream, std::uint32_t first, std::uint32_t lane, std::uint32_t high, Lanes* found) {
  Ints words[COUNT], rank[COUNT] = {};
  draw(stream, first, COUNT, lane, [&](int i, Words w) { words[i] = integers(w, high); });
  for (int i = 0; i < COUNT; ++i)
    for (int other = 0; other < COUNT; ++other)
      rank[i] += truth(other < i ? words[other] <= words[i] : words[other] < words[i]);
  for (int place = 0; place < COUNT; ++place) {
    Ints number{};
    for (int i = 0; i < COUNT; ++i) number = rank[i] == place ? Ints{} + i : number;
    found[place] = real_numbers(number);
  }
}

// Numbers of a table, at a place for each example.
inline Lanes entries(const real* table, Lanes places) {
  const Ints where = on_numbers::whole_numbers(places);
#ifdef ONE_LANE
  return table[where];
#else
  Lanes found;
  for (int i = 0; i < LANES; ++i) found[i] = table[where[i]];
  return found;
#endif
}
