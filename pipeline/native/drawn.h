// Examples that torch has drawn. `keys` holds, for every slot, the addresses of inputs (steps, rows, LENGTH[, SIZE]) and
// of targets (steps, rows, TARGETS), the first of these steps, and the number of rows.
#pragma once

namespace {

// Integers of `keys` for each slot.
constexpr int KEY_WORDS = 1;

// The examples of one run at one step.
struct Source {
  const Task::Token* inputs;
  const Task::Target* targets;
  int rows;

  Source(const Arrays&, const std::int64_t* const* keys, int slot, std::int64_t step) {
    rows = static_cast<int>(keys[constants::stream::rows][slot]);
    const std::int64_t row = (step - keys[constants::stream::first_step][slot]) * rows;
    inputs = at<Task::Token>(keys[constants::stream::inputs][slot]) + row * Task::NUM_INPUTS;
    targets = at<Task::Target>(keys[constants::stream::targets][slot]) + row * Task::TARGETS;
  }

  // Lanes behind the last row repeat it; nobody counts them.
  void sample(int first, Task::Batch& batch) const {
    for (int i = 0; i < LANES; ++i) {
      const std::int64_t row = std::min(first + i, rows - 1);
      copy<Task::NUM_INPUTS>(inputs + row * Task::NUM_INPUTS, batch.tokens, i);
      copy<Task::TARGETS>(targets + row * Task::TARGETS, batch.targets, i);
    }
  }

 private:
  template <typename Number>
  static const Number* at(std::int64_t address) {
    return reinterpret_cast<const Number*>(static_cast<std::uintptr_t>(address));
  }

  // The numbers of one example, into a lane of as many vectors.
  template <int COUNT, typename Number, typename Vectors>
  static void copy(const Number* from, Vectors* to, int lane) {
    using Element = std::conditional_t<std::is_same_v<Number, real>, real, std::int32_t>;
    Element* numbers = reinterpret_cast<Element*>(to) + lane;
    for (int n = 0; n < COUNT; ++n) numbers[n * LANES] = static_cast<Element>(from[n]);
  }
};

}  // namespace
