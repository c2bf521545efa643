// Examples of runs that see the same ones, drawn once for all of them: batches of runs under one data seed, held-out
// items of all runs.
#pragma once

namespace {

// Bytes of examples that are drawn at once: beside the state of a run they fit into a core's second-level cache.
constexpr std::int64_t SHARED_BYTES = 1 << 17;
constexpr int BLOCKS_AT_ONCE = std::max<std::int64_t>(1, SHARED_BYTES / static_cast<std::int64_t>(sizeof(Task::Batch)));
constexpr int ITEMS_AT_ONCE = BLOCKS_AT_ONCE * LANES;
constexpr int BATCH_BLOCKS = (constants::batch_size + LANES - 1) / LANES;
constexpr int BATCHES_AT_ONCE = std::max(1, BLOCKS_AT_ONCE / BATCH_BLOCKS);

// Runs that see the same examples, by their places in a selection of slots.
using Group = std::vector<std::int64_t>;

// The examples of one run at one step, in blocks of a vector's lanes.
struct Examples {
  const Source& source;
  // The blocks from example `start` on; null where each is drawn when it is asked for.
  const Task::Batch* drawn;
  int start;

  // The blocks from example `first` to `last`, as many as a model computes at once; `own` is memory for them, if they are
  // drawn here. In blocks behind the last there may be any examples.
  template <int COUNT>
  const Task::Batch* blocks(int first, int last, Task::Batch (&own)[COUNT]) const {
    if (drawn) return drawn + (first - start) / LANES;
    for (int block = 0; block < COUNT && first < last; ++block, first += LANES) source.sample(first, own[block]);
    return own;
  }
};

// Memory of this thread for so many blocks, until it is asked for again.
Task::Batch* memory_of_blocks(std::size_t count) {
  static thread_local std::vector<Task::Batch> blocks;
  // A model may read as many blocks as it computes at once.
  count += Model::BLOCKS - 1;
  if (blocks.size() < count) blocks.resize(count);
  return blocks.data();
}

// The examples from `first` to `last` of a run at a step.
const Task::Batch* draw_items(const Source& source, int first, int last) {
  Task::Batch* const blocks = memory_of_blocks((last - first + LANES - 1) / LANES);
  for (int item = first; item < last; item += LANES) source.sample(item, blocks[(item - first) / LANES]);
  return blocks;
}

// The next batches of the run in a slot, BATCH_BLOCKS each.
const Task::Batch* draw_batches(const Arrays& arrays, int slot, int count) {
  Task::Batch* const blocks = memory_of_blocks(count * BATCH_BLOCKS);
  for (int step = 0; step < count; ++step) {
    const Source source(arrays, arrays.keys, slot, arrays.steps[slot] + step);
    for (int block = 0; block < BATCH_BLOCKS; ++block)
      source.sample(block * LANES, blocks[step * BATCH_BLOCKS + block]);
  }
  return blocks;
}

// Three-way comparison of slots by all that their examples are functions of; `steps` is null where all are of step 0.
struct ExampleOrder {
  const Arrays& arrays;
  const std::int64_t* const* keys;
  const std::int64_t* steps;

  int operator()(std::int64_t one, std::int64_t other) const {
    for (int s = 0; s < constants::NUM_STREAMS; ++s)
      if (const int found = compare(keys[s] + one * KEY_WORDS, keys[s] + other * KEY_WORDS, KEY_WORDS)) return found;
    for (int v = 0; v < constants::NUM_TASK_VECTORS; ++v)
      if (const int found = compare(arrays.task_vectors[v] + one, arrays.task_vectors[v] + other, 1)) return found;
    return steps ? compare(steps + one, steps + other, 1) : 0;
  }

 private:
  template <typename Number>
  static int compare(const Number* one, const Number* other, int count) {
    return std::memcmp(one, other, count * sizeof(Number));
  }
};

// The places of a selection by what the slots there see, in groups small enough for every thread to have some.
std::vector<Group> groups_of(const Arrays& arrays, const std::int64_t* const* keys, const std::int64_t* steps,
                             const Selection& selection) {
  const ExampleOrder order{arrays, keys, steps};
  const auto slot_of = [&](std::int64_t place) { return selection.slots[place]; };
  std::vector<std::int64_t> places(selection.count);
  for (std::int64_t place = 0; place < selection.count; ++place) places[place] = place;
  std::stable_sort(places.begin(), places.end(), [&](std::int64_t one, std::int64_t other) {
    return order(slot_of(one), slot_of(other)) < 0;
  });
  const std::size_t most = (places.size() + selection.num_threads - 1) / selection.num_threads;
  std::vector<Group> groups;
  for (const std::int64_t place : places) {
    if (groups.empty() || groups.back().size() == most || order(slot_of(groups.back()[0]), slot_of(place)) != 0)
      groups.emplace_back();
    groups.back().push_back(place);
  }
  return groups;
}

}  // namespace
