// Examples that the program draws, by the counters of its streams.
#pragma once

namespace {

// Integers of `keys` for each slot.
constexpr int KEY_WORDS = 2;

// The examples of one run at one step.
struct Source {
  Stream streams[constants::NUM_STREAMS];
  real vectors[constants::NUM_TASK_VECTORS + 1];

  Source(const Arrays& arrays, const std::int64_t* const* keys, int slot, std::int64_t step) {
    for (int s = 0; s < constants::NUM_STREAMS; ++s)
      streams[s] = {{static_cast<std::uint32_t>(keys[s][2 * slot]), static_cast<std::uint32_t>(keys[s][2 * slot + 1])},
                    static_cast<std::uint32_t>(step)};
    for (int v = 0; v < constants::NUM_TASK_VECTORS; ++v) vectors[v] = arrays.task_vectors[v][slot];
  }

  void sample(int first, Task::Batch& batch) const { Task::sample(streams, vectors, first, batch); }
};

}  // namespace
