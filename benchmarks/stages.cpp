// A step taken apart, for the limit study: the program of a static setting, stopped after each of its stages.
#include "program.cpp"

namespace {

// Independent chains of multiply-adds on registers: what the core can do at most.
double peak(std::int64_t rounds) {
  const Lanes a = lanes(static_cast<real>(0.999)), b = lanes(static_cast<real>(1e-3));
  // Different from each other, or a compiler would compute equal chains once.
  const Lanes n = lanes(static_cast<real>(rounds));
  Lanes c0 = n, c1 = n + 1, c2 = n + 2, c3 = n + 3, c4 = n + 4, c5 = n + 5;
  Lanes c6 = n + 6, c7 = n + 7, c8 = n + 8, c9 = n + 9, c10 = n + 10, c11 = n + 11;
  for (std::int64_t r = 0; r < rounds; ++r) {
    c0 = c0 * a + b, c1 = c1 * a + b, c2 = c2 * a + b, c3 = c3 * a + b, c4 = c4 * a + b, c5 = c5 * a + b;
    c6 = c6 * a + b, c7 = c7 * a + b, c8 = c8 * a + b, c9 = c9 * a + b, c10 = c10 * a + b, c11 = c11 * a + b;
  }
  return sum(c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11);
}

// A chain of integer additions, each of which waits for the one before it: one a cycle, so its rate is the clock's.
std::int64_t additions(std::int64_t rounds) {
  std::int64_t total = rounds;
  for (std::int64_t r = 0; r < rounds; ++r) {
    // Hidden from the compiler, which would add them all at once.
#define ADDED total += r; asm volatile("" : "+r"(total));
    ADDED ADDED ADDED ADDED ADDED ADDED ADDED ADDED
#undef ADDED
  }
  return total;
}

}  // namespace

extern "C" {

double seedbed_peak(std::int64_t rounds) { return peak(rounds); }

std::int64_t seedbed_additions(std::int64_t rounds) { return additions(rounds); }

// Stage 0: draws. 1: and the forward pass. 2: and loss and backward pass, which is all but clipping and optimiser.
double seedbed_stage(const Arrays* arrays, std::int64_t stage, std::int64_t num_steps) {
  Scratch& s = scratch();
  const real* weights = arrays->weights;
  double kept = 0;
  for (int step = 0; step < num_steps; ++step) {
    const Source source(*arrays, arrays->keys, 0, step);
    if (stage == 2) {
      kept += differentiate(weights, Examples{source, nullptr, 0}, s);
      continue;
    }
    Model::begin(weights, s.tape);
    const Examples examples{source, nullptr, 0};
    for (int first = 0; first < constants::batch_size; first += Model::BLOCKS * LANES) {
      const Task::Batch* batches = examples.blocks(first, constants::batch_size, s.batches);
      if (stage == 1) Model::forward(weights, batches, s.tape, s.predictions);
      // Else a compiler may leave out what nobody reads.
      asm volatile("" : : "r"(&s) : "memory");
    }
  }
  return kept;
}
}
