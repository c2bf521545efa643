// The whole training of runs as one program, compiled for one static setting: draws, forward, backward, clipping,
// schedule and optimiser, run by run, so that a run stays in the cache for all the steps of a chunk and its bits
// depend on no other run. Shapes come as constants from pipeline/engine/program.py, which also names the five headers;
// the structures that it is called with from pipeline/engine/program_arguments.py.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include TASK_HEADER
#include MODEL_HEADER
#include OPTIMISER_HEADER
#include SCHEDULE_HEADER

#include EXAMPLES_HEADER

#include "shared_examples.h"

namespace {

constexpr int P = constants::row_width;

constexpr int NUM_PREDICTIONS = Task::TARGETS * Task::OUTPUTS;

template <typename Forward>
struct ForwardScratch {
  Task::Batch batches[Forward::BLOCKS] = {};
  typename Forward::Tape tape;
  Lanes predictions[Forward::BLOCKS * NUM_PREDICTIONS];
};

struct Scratch : ForwardScratch<Model> {
  Lanes slopes[Model::BLOCKS * NUM_PREDICTIONS];
  alignas(64) real gradient[P], before[P], fixed[P];
};

// A model that draws in training is evaluated by the structure that is measured.
using Evaluated = std::conditional_t<(constants::NUM_NOISE_STREAMS > 0), Probe, Model>;
using EvaluatedScratch = std::conditional_t<std::is_same_v<Evaluated, Model>, Scratch, ForwardScratch<Probe>>;

template <typename Memory>
Memory& own() {
  static thread_local std::unique_ptr<Memory> found(new Memory);
  return *found;
}

Scratch& scratch() { return own<Scratch>(); }

// 1 for the lanes that hold examples of the batch.
Lanes present(int first, int count) {
  Lanes mask;
  for (int i = 0; i < LANES; ++i) mask[i] = first + i < count;
  return mask;
}

// Tells a model that draws which stream it draws from at this step, and for which examples.
template <typename Tape>
void tell_stream(Tape& tape, const Arrays& arrays, int slot) {
  if constexpr (constants::NUM_NOISE_STREAMS > 0) {
    const std::int64_t* key = arrays.noise[0] + 2 * slot;
    tape.noise = {{static_cast<std::uint32_t>(key[0]), static_cast<std::uint32_t>(key[1])},
                  static_cast<std::uint32_t>(arrays.steps[slot])};
  }
}
template <typename Tape>
void tell_examples(Tape& tape, int first) {
  if constexpr (constants::NUM_NOISE_STREAMS > 0) tape.first = first;
}

// Mean loss of a batch, and its gradient.
real differentiate(const real* weights, const Examples& examples, Scratch& s) {
  constexpr real share = static_cast<real>(1.0 / (constants::batch_size * Task::TARGETS));
  Lanes total{};
  std::memset(s.gradient, 0, sizeof s.gradient);
  Model::begin(weights, s.tape);
  for (int first = 0; first < constants::batch_size; first += Model::BLOCKS * LANES) {
    const Task::Batch* batches = examples.blocks(first, constants::batch_size, s.batches);
    tell_examples(s.tape, first);
    Model::forward(weights, batches, s.tape, s.predictions);
    for (int block = 0; block < Model::BLOCKS; ++block) {
      const Lanes weight = present(first + block * LANES, constants::batch_size) * share;
      for (int t = 0; t < Task::TARGETS; ++t) {
        const int place = block * NUM_PREDICTIONS + t * Task::OUTPUTS;
        Lanes* slopes = s.slopes + place;
        total += weight * Task::loss(s.predictions + place, batches[block], t, slopes);
        for (int o = 0; o < Task::OUTPUTS; ++o) slopes[o] *= weight;
      }
    }
    Model::backward(weights, batches, s.tape, s.slopes, s.gradient);
  }
  Model::finish(weights, s.tape, s.gradient);
  return sum(total);
}

real norm(const real* row) {
  Lanes total{};
  for (int i = 0; i < P; i += LANES) {
    Lanes part;
    std::memcpy(&part, row + i, sizeof part);
    total += part * part;
  }
  return std::sqrt(sum(total));
}

// As `Schedule.fraction` of pipeline/schedules/base.py.
real scheduled_fraction(real step, const Hyperparameters& hyperparameters) {
  const real warmup = hyperparameters[constants::schedule::warmup_steps];
  return std::min((step + 1) / (warmup + 1), static_cast<real>(1)) * Schedule::after_warmup(step, hyperparameters);
}

// The learning rate after the schedule, and the optimiser's step from `gradient` times `scale`.
void update(const Arrays& arrays, int slot, const real* gradient, real scale) {
  const Hyperparameters hyperparameters{arrays.columns, slot};
  OptimiserState state;
  for (int m = 0; m < constants::NUM_MOMENTS; ++m) state.moments[m] = arrays.moments[m] + slot * P;
  for (int m = 0; m < constants::NUM_SCALARS; ++m) state.scalars[m] = arrays.scalars[m] + slot;
  const real fraction = scheduled_fraction(static_cast<real>(arrays.steps[slot]), hyperparameters);
  const real lr = hyperparameters[constants::optimiser::lr] * fraction;
  Optimiser::update(arrays.weights + slot * P, gradient, scale, lr, state, hyperparameters);
}

// A parameter that is not trained, which the optimiser may have changed all the same.
void copy_fixed(int number, const real* from, real* to) {
  const int first = constants::fixed[2 * number], size = constants::fixed[2 * number + 1];
  std::memcpy(to + first, from + first, size * sizeof(real));
}

// `drawn`: the batches of these steps, one behind another; null where this run draws its own. What a chunk reports is
// of its last step.
void train_run(const Arrays& arrays, int slot, int num_steps, bool ends_chunk, const Task::Batch* drawn, Scratch& s) {
  real* weights = arrays.weights + slot * P;
  for (int f = 0; f < constants::NUM_FIXED; ++f) copy_fixed(f, weights, s.fixed);
  for (int step = 0; step < num_steps; ++step) {
    const bool is_last = ends_chunk && step == num_steps - 1;
    const Source source(arrays, arrays.keys, slot, arrays.steps[slot]);
    const Examples examples{source, drawn ? drawn + step * BATCH_BLOCKS : nullptr, 0};
    tell_stream(s.tape, arrays, slot);
    const real loss = differentiate(weights, examples, s), size = norm(s.gradient);
    const real limit = arrays.columns[constants::optimiser::clip][slot] / (size + static_cast<real>(1e-6));
    if (is_last) std::memcpy(s.before, weights, sizeof s.before);
    update(arrays, slot, s.gradient, limit < 1 ? limit : static_cast<real>(1));
    for (int f = 0; f < constants::NUM_FIXED; ++f) copy_fixed(f, s.fixed, weights);
    arrays.steps[slot] += 1;
    if (is_last) {
      for (int i = 0; i < P; ++i) s.before[i] -= weights[i];
      arrays.train_loss[slot] = loss, arrays.grad_norm[slot] = size, arrays.update_norm[slot] = norm(s.before);
    }
  }
}

// Runs that see the same examples: a few steps of each in turn, whose batches are drawn once.
void train_group(const Arrays& arrays, const Selection& selection, const Group& places, int num_steps, Scratch& s) {
  const auto slot_of = [&](std::int64_t place) { return static_cast<int>(selection.slots[place]); };
  const int one = slot_of(places[0]);
  if (places.size() == 1) return train_run(arrays, one, num_steps, true, nullptr, s);
  for (int first = 0; first < num_steps; first += BATCHES_AT_ONCE) {
    const int count = std::min(BATCHES_AT_ONCE, num_steps - first);
    const Task::Batch* drawn = draw_batches(arrays, one, count);
    for (const std::int64_t place : places)
      train_run(arrays, slot_of(place), count, first + count == num_steps, drawn, s);
  }
}

// Sums over items of one run, by lane.
struct Totals {
  Lanes loss{}, correct{}, reference{};

  // Mean loss, accuracy and reference loss of so many items, into three numbers.
  void write(int items, double* found) const {
    found[0] = double(sum(loss)) / (items * Task::TARGETS), found[1] = double(sum(correct)) / (items * Task::TARGETS);
    found[2] = double(sum(reference)) / items;
  }
};

// Adds the items from `first` to `last`, out of `items`; look(first, present) sees every block.
template <typename Forward, typename Memory, typename Look>
void score(const real* weights, const Examples& examples, int first, int last, int items, Totals& totals, Memory& s,
           Look look) {
  Lanes loss = totals.loss, correct = totals.correct, reference = totals.reference;
  Forward::begin(weights, s.tape);
  while (first < last) {
    const Task::Batch* batches = examples.blocks(first, last, s.batches);
    Forward::forward(weights, batches, s.tape, s.predictions);
    for (int block = 0; block < Forward::BLOCKS && first < last; ++block, first += LANES) {
      const Task::Batch& batch = batches[block];
      const Lanes* predictions = s.predictions + block * NUM_PREDICTIONS;
      const Lanes here = present(first, items);
      for (int t = 0; t < Task::TARGETS; ++t) {
        loss += here * Task::loss(predictions + t * Task::OUTPUTS, batch, t, nullptr);
        if (Task::HAS_ACCURACY) correct += here * Task::correct(predictions + t * Task::OUTPUTS, batch, t);
      }
      if (Task::HAS_REFERENCE) reference += here * Task::reference_loss(batch);
      look(first, here);
    }
  }
  totals = {loss, correct, reference};
}

// The scores of runs that see the same items, each into `width` numbers from its place in the selection on;
// look(place, first, present) sees every block of every run.
template <typename Forward, typename Memory, typename Look>
void score_group(const Arrays& arrays, const Selection& selection, const Group& places, const Source& source, int items,
                 double* found, std::int64_t width, Memory& s, Look look) {
  const int at_once = places.size() == 1 ? items : ITEMS_AT_ONCE;
  std::vector<Totals> totals(places.size());
  for (int first = 0; first < items; first += at_once) {
    const int last = std::min(first + at_once, items);
    const Examples examples{source, places.size() == 1 ? nullptr : draw_items(source, first, last), first};
    for (std::size_t member = 0; member < places.size(); ++member) {
      const std::int64_t place = places[member];
      score<Forward>(arrays.weights + selection.slots[place] * P, examples, first, last, items, totals[member], s,
                     [&](int block, Lanes here) { look(place, block, here); });
    }
  }
  for (std::size_t member = 0; member < places.size(); ++member)
    totals[member].write(items, found + width * places[member]);
}

// Calls work(i) for every i < count, spread over threads; each i is computed by itself, so threads move no bit.
template <typename Work>
void spread(std::int64_t count, std::int64_t num_threads, Work work) {
  const auto share = [=](std::int64_t first) {
    for (std::int64_t i = first; i < count; i += num_threads) work(i);
  };
  std::vector<std::thread> others;
  for (std::int64_t t = 1; t < num_threads; ++t) others.emplace_back(share, t);
  share(0);
  for (std::thread& other : others) other.join();
}

// What an evaluation finds, then for every head of every layer the entropy of its attention and its mass inside each
// mask, of runs that see the same items.
void probe_group(const Arrays& arrays, const Selection& selection, const Group& places, const HeldOut& held_out,
                 const Masks& masks, double* found, std::int64_t width, const Maps& asked) {
  constexpr int CELLS = Task::LENGTH * Task::LENGTH;
  const Source source(arrays, held_out.keys, selection.slots[places[0]], 0);
  const int items = static_cast<int>(held_out.num_items);
  // A model without maps is measured as it is evaluated, in the same memory.
  auto& s = own<std::conditional_t<std::is_base_of_v<Model, Probe>, Scratch, ForwardScratch<Probe>>>();
  const auto look = [&](std::int64_t place, int first, Lanes here) {
    double* next = found + width * place + 3;
    real* const maps = asked.values + place * Probe::NUM_HEADS * asked.num_items * CELLS;
    for (int head = 0; head < Probe::NUM_HEADS; ++head) {
      const Lanes* map = Probe::maps(s.tape) + head * CELLS;
      for (int item = 0; item < LANES && first + item < asked.num_items; ++item)
        for (int c = 0; c < CELLS; ++c) maps[(head * asked.num_items + first + item) * CELLS + c] = map[c][item];
      *next++ += sum(here * Probe::entropies(s.tape)[head]);
      for (int m = 0; m < masks.count; ++m) {
        Lanes mass{};
        for (std::int64_t c = masks.starts[m]; c < masks.starts[m + 1]; ++c) {
          Lanes inside;
          std::memcpy(&inside, masks.cells + (first / LANES * masks.starts[masks.count] + c) * LANES, sizeof inside);
          mass += inside * map[masks.places[c]];
        }
        *next++ += sum(here * mass);
      }
    }
  };
  score_group<Probe>(arrays, selection, places, source, items, found, width, s, look);
}

}  // namespace

extern "C" {

int seedbed_lanes() { return LANES; }

// Layers with an attention map; -1 where there are maps that this program does not measure.
int seedbed_layers() { return Probe::NUM_LAYERS; }

int seedbed_heads(int layer) { return Probe::heads[layer]; }

// What pipeline/engine/program_arguments.py holds against its own declarations.
const char* seedbed_fingerprint() { return ARGUMENTS_FINGERPRINT; }

std::int64_t seedbed_size_of(int structure) {
  constexpr std::int64_t sizes[] = ARGUMENTS_SIZES;
  return sizes[structure];
}

void seedbed_train(const Arrays* arrays, const Selection* selection, std::int64_t num_steps) {
  const auto groups = groups_of(*arrays, arrays->keys, arrays->steps, *selection);
  spread(groups.size(), selection->num_threads, [&](std::int64_t g) {
    train_group(*arrays, *selection, groups[g], static_cast<int>(num_steps), scratch());
  });
}

// found: (count, 3) loss, accuracy, reference loss, on held-out items at each slot's own step.
void seedbed_evaluate(const Arrays* arrays, const Selection* selection, const HeldOut* held_out, double* found) {
  const auto groups = groups_of(*arrays, held_out->keys, arrays->steps, *selection);
  spread(groups.size(), selection->num_threads, [&](std::int64_t g) {
    const std::int64_t slot = selection->slots[groups[g][0]];
    const Source source(*arrays, held_out->keys, slot, arrays->steps[slot]);
    score_group<Evaluated>(*arrays, *selection, groups[g], source, static_cast<int>(held_out->num_items), found, 3,
                           own<EvaluatedScratch>(), [](std::int64_t, int, Lanes) {});
  });
}

// found: (count, 3 + heads of all layers * (1 + masks)), the latter sums over items and queries, on held-out items at
// step 0. maps: (count, heads of all layers, num_items, LENGTH, LENGTH).
void seedbed_probe(const Arrays* arrays, const Selection* selection, const HeldOut* held_out, const Masks* targets,
                   const Maps* maps, double* found) {
  const Masks masks = *targets;
  const std::int64_t width = 3 + Probe::NUM_HEADS * (1 + masks.count);
  std::fill(found, found + selection->count * width, 0.0);
  const auto groups = groups_of(*arrays, held_out->keys, nullptr, *selection);
  spread(groups.size(), selection->num_threads, [&](std::int64_t g) {
    probe_group(*arrays, *selection, groups[g], *held_out, masks, found, width, *maps);
  });
}
}
