// The training of runs as kernels: one run a block of threads, one example a thread, so many steps a launch. The
// arithmetic is that of native/program.cpp, from the same texts of models and losses; sums over examples are taken in the
// order of threads, so a run's bits depend on no other run. Constants and headers come from
// pipeline/engine/cuda_program.py.
#pragma once

namespace {

constexpr int P = constants::row_stride, NUM_GROUPS = P / constants::row_width;
static_assert(P % constants::row_width == 0);

struct Example {
  Task::Batch batch;
  Model::Tape tape;
  Lanes predictions[Task::TARGETS * Task::OUTPUTS], slopes[Task::TARGETS * Task::OUTPUTS];
};

// Mean loss of a batch, and its gradient.
inline real differentiate(const real* weights, const Source& source, Example& e, real* gradient) {
  constexpr real share = static_cast<real>(1.0 / (constants::batch_size * Task::TARGETS));
  Lanes total{};
  for (int i = thread_number(); i < P; i += THREADS) gradient[i] = 0;
  Model::begin(weights, e.tape);
  wait_for_all();
  for (int first = 0; first < constants::batch_size; first += THREADS) {
    const int row = first + thread_number();
    source.sample(row, e.batch);
    Model::forward(weights, &e.batch, e.tape, e.predictions);
    // Threads behind the last example compute it once more, and count for nothing.
    const Lanes weight = row < constants::batch_size ? share : real{};
    for (int t = 0; t < Task::TARGETS; ++t) {
      Lanes* slopes = e.slopes + t * Task::OUTPUTS;
      total += weight * Task::loss(e.predictions + t * Task::OUTPUTS, e.batch, t, slopes);
      for (int o = 0; o < Task::OUTPUTS; ++o) slopes[o] *= weight;
    }
    Model::backward(weights, &e.batch, e.tape, e.slopes, gradient);
  }
  wait_for_all();
  Model::finish(weights, e.tape, gradient);
  return sum(total);
}

inline real norm(const real* row) {
  Lanes total{};
  for (int i = thread_number(); i < P; i += THREADS) total += row[i] * row[i];
  return std::sqrt(sum(total));
}

// As `Schedule.fraction` of pipeline/schedules/base.py.
inline real scheduled_fraction(real step, const Hyperparameters& hyperparameters) {
  const real warmup = hyperparameters[constants::schedule::warmup_steps];
  return std::min((step + 1) / (warmup + 1), static_cast<real>(1)) * Schedule::after_warmup(step, hyperparameters);
}

// The optimiser's step from `gradient` times `scale`: threads take groups of row_width weights in turn, each with copies
// of the run's scalars. When a thread returns, all have updated their weights.
inline void update(const Arrays& arrays, int slot, const real* gradient, real scale, real step) {
  const Hyperparameters hyperparameters{arrays.columns, slot};
  const real lr = hyperparameters[constants::optimiser::lr] * scheduled_fraction(step, hyperparameters);
  real scalars[constants::NUM_SCALARS + 1];
  OptimiserState state;
  for (int m = 0; m < constants::NUM_SCALARS; ++m) state.scalars[m] = scalars + m;
  for (int group = thread_number(); group < NUM_GROUPS; group += THREADS) {
    const int first = group * constants::row_width;
    for (int m = 0; m < constants::NUM_SCALARS; ++m) scalars[m] = arrays.scalars[m][slot];
    for (int m = 0; m < constants::NUM_MOMENTS; ++m) state.moments[m] = arrays.moments[m] + slot * P + first;
    Optimiser::update(arrays.weights + slot * P + first, gradient + first, scale, lr, state, hyperparameters);
  }
  wait_for_all();
  // The first thread has the first group.
  if (thread_number() == 0)
    for (int m = 0; m < constants::NUM_SCALARS; ++m) arrays.scalars[m][slot] = scalars[m];
}

// Parameters that are not trained, which the optimiser may have changed all the same.
inline void copy_fixed(const real* from, real* to) {
  for (int f = 0; f < constants::NUM_FIXED; ++f) {
    const int first = constants::fixed[2 * f], size = constants::fixed[2 * f + 1];
    for (int i = thread_number(); i < size; i += THREADS) to[first + i] = from[first + i];
  }
}

inline void train_run(const Arrays& arrays, const Memory& memory, int slot, std::int64_t num_steps) {
  const std::int64_t block = block_number();
  real *const weights = arrays.weights + slot * P, *const gradient = memory.gradient + block * P;
  real *const before = memory.before + block * P, *const fixed = memory.fixed + block * P;
  Example e;
  e.tape.scalars = memory.scalars + block * Model::Tape::NUM_SCALARS;
  copy_fixed(weights, fixed);
  const std::int64_t first_step = arrays.steps[slot];
  for (std::int64_t step = 0; step < num_steps; ++step) {
    const bool is_last = step == num_steps - 1;
    wait_for_all();
    const Source source(arrays, arrays.keys, slot, first_step + step);
    const real loss = differentiate(weights, source, e, gradient), size = norm(gradient);
    const real limit = arrays.columns[constants::optimiser::clip][slot] / (size + static_cast<real>(1e-6));
    for (int i = thread_number(); i < P && is_last; i += THREADS) before[i] = weights[i];
    wait_for_all();
    update(arrays, slot, gradient, limit < 1 ? limit : static_cast<real>(1), static_cast<real>(first_step + step));
    copy_fixed(fixed, weights);
    if (!is_last) continue;
    wait_for_all();
    for (int i = thread_number(); i < P; i += THREADS) before[i] -= weights[i];
    const real moved = norm(before);
    if (thread_number() > 0) continue;
    arrays.train_loss[slot] = loss, arrays.grad_norm[slot] = size, arrays.update_norm[slot] = moved;
    arrays.steps[slot] = first_step + num_steps;
  }
}

// Mean loss, accuracy and reference loss over items, into three numbers.
inline void score_run(const Arrays& arrays, const Memory& memory, const HeldOut& held_out, int slot, double* found) {
  const std::int64_t block = block_number(), items = held_out.num_items;
  const real* const weights = arrays.weights + slot * P;
  const Source source(arrays, held_out.keys, slot, arrays.steps[slot]);
  Example e;
  e.tape.scalars = memory.scalars + block * Model::Tape::NUM_SCALARS;
  Lanes loss{}, correct{}, reference{};
  Model::begin(weights, e.tape);
  wait_for_all();
  for (std::int64_t first = 0; first < items; first += THREADS) {
    const std::int64_t row = first + thread_number();
    source.sample(static_cast<int>(row), e.batch);
    Model::forward(weights, &e.batch, e.tape, e.predictions);
    const Lanes here = row < items;
    for (int t = 0; t < Task::TARGETS; ++t) {
      loss += here * Task::loss(e.predictions + t * Task::OUTPUTS, e.batch, t, nullptr);
      if (Task::HAS_ACCURACY) correct += here * Task::correct(e.predictions + t * Task::OUTPUTS, e.batch, t);
    }
    if (Task::HAS_REFERENCE) reference += here * Task::reference_loss(e.batch);
  }
  const double count = static_cast<double>(items * Task::TARGETS);
  const real totals[3] = {sum(loss), sum(correct), sum(reference)};
  if (thread_number() == 0) found[0] = totals[0] / count, found[1] = totals[1] / count, found[2] = totals[2] / items;
}

}  // namespace

// Block b trains the run in slots[b] for `num_steps` steps.
KERNEL seedbed_train(const Arrays arrays, const Memory memory, const std::int64_t* slots, std::int64_t num_steps) {
  train_run(arrays, memory, static_cast<int>(slots[block_number()]), num_steps);
}

// Block b measures the run in slots[b] on held-out items at its own step; found: (blocks, 3) loss, accuracy, reference
// loss.
KERNEL seedbed_evaluate(const Arrays arrays, const Memory memory, const std::int64_t* slots, const HeldOut held_out,
                        double* found) {
  score_run(arrays, memory, held_out, static_cast<int>(slots[block_number()]), found + 3 * block_number());
}
