// Blocks of threads on a processor: each thread is a coroutine, which runs to the next point where all wait for each
// other. Threads take their turns in an order that is drawn anew at each of them, so what reads another thread's number
// without waiting for it comes out differently by the seed of that order.
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "generated_kernel.h"

namespace {

struct Coroutine {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  // Where it waits; null once it has ended.
  void* place;
};

Coroutine coroutines[THREADS];
ucontext_t scheduler;
std::function<void()> body;
int thread_now, block_now;

void enter() {
  body();
  coroutines[thread_now].place = nullptr;
}

// Whether all threads came to the same places in the same order.
bool run_block(int block, std::mt19937& order_of_turns) {
  constexpr std::size_t STACK = sizeof(Example) + (1 << 20);
  block_now = block;
  for (Coroutine& one : coroutines) {
    if (!one.stack) one.stack.reset(new char[STACK]);
    getcontext(&one.context);
    one.context.uc_stack.ss_sp = one.stack.get();
    one.context.uc_stack.ss_size = STACK;
    one.context.uc_link = &scheduler;
    makecontext(&one.context, enter, 0);
  }
  std::vector<int> turns(THREADS);
  std::iota(turns.begin(), turns.end(), 0);
  while (true) {
    std::shuffle(turns.begin(), turns.end(), order_of_turns);
    for (int t : turns) {
      thread_now = t;
      swapcontext(&scheduler, &coroutines[t].context);
    }
    for (const Coroutine& one : coroutines)
      if (one.place != coroutines[0].place) return false;
    if (!coroutines[0].place) return true;
  }
}

bool run_blocks(std::int64_t count, std::int64_t seed, std::function<void()> work) {
  body = work;
  std::mt19937 order_of_turns(static_cast<unsigned>(seed));
  for (int block = 0; block < count; ++block)
    if (!run_block(block, order_of_turns)) return false;
  return true;
}

}  // namespace

int thread_number() { return thread_now; }

int block_number() { return block_now; }

__attribute__((noinline)) void wait_for_all() {
  Coroutine& own = coroutines[thread_now];
  own.place = __builtin_return_address(0);
  swapcontext(&own.context, &scheduler);
}

extern "C" {

int num_scalars() { return Model::Tape::NUM_SCALARS; }

bool emulated_train(const Arrays* arrays, const Memory* memory, const std::int64_t* slots, std::int64_t count,
                    std::int64_t num_steps, std::int64_t seed) {
  return run_blocks(count, seed, [=] { seedbed_train(*arrays, *memory, slots, num_steps); });
}

bool emulated_evaluate(const Arrays* arrays, const Memory* memory, const std::int64_t* slots, std::int64_t count,
                       const HeldOut* held_out, double* found, std::int64_t seed) {
  return run_blocks(count, seed, [=] { seedbed_evaluate(*arrays, *memory, slots, *held_out, found); });
}
}
