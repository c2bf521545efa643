// pipeline/tasks/linear_regression.py, sampled in blocks of examples.
#pragma once

#include "philox.h"

struct Task {
  static constexpr int D = constants::dim, N = constants::num_pairs;
  static constexpr int LENGTH = N + 1, SIZE = D + 1, OUTPUTS = 1, TARGETS = 1;
  static constexpr bool HAS_ACCURACY = false, HAS_REFERENCE = true;

  struct Batch {
    Lanes tokens[LENGTH][SIZE];
    Lanes target;
  };

  static void sample(const Stream* streams, const real* vectors, std::uint32_t first, Batch& batch) {
    if constexpr (constants::num_batches > 0) {
      Stream again[constants::NUM_STREAMS];
      for (int s = 0; s < constants::NUM_STREAMS; ++s) {
        again[s] = streams[s];
        again[s].step %= static_cast<std::uint32_t>(constants::num_batches);
      }
      draw_batch(again, vectors, first, batch);
    } else {
      draw_batch(streams, vectors, first, batch);
    }
  }

  static void draw_batch(const Stream* streams, const real* vectors, std::uint32_t first, Batch& batch) {
    constexpr real range = static_cast<real>(constants::input_range);
    const Stream &data = streams[constants::stream::data], &label_noise = streams[constants::stream::label_noise];
    const real noise = vectors[constants::task_vector::label_noise];
    draw(data, first, LENGTH * D, 0, [&](int column, Words w) {
      batch.tokens[column / D][column % D] = symmetric(w, range);
    });
    Lanes teacher[D];
    draw_normals(data, first, D, 1, [&](int column, Lanes z) { teacher[column] = z; });
    for (int j = 0; j < LENGTH; ++j) {
      Lanes y{};
      for (int d = 0; d < D; ++d) y += batch.tokens[j][d] * teacher[d];
      batch.tokens[j][D] = y;
    }
    batch.target = batch.tokens[N][D];
    batch.tokens[N][D] = Lanes{};
    if (noise > 0) draw_normals(label_noise, first, N, 0, [&](int j, Lanes z) { batch.tokens[j][D] += noise * z; });
  }

  static Lanes loss(const Lanes* predictions, const Batch& batch, int, Lanes* slopes) {
    const Lanes error = predictions[0] - batch.target;
    if (slopes) slopes[0] = error;
    return error * error / 2;
  }

  static Lanes correct(const Lanes*, const Batch&, int) { return Lanes{}; }

  // One step of gradient descent from zero on the context, step size eta*.
  static Lanes reference_loss(const Batch& batch) {
    Lanes total{};
    for (int j = 0; j < N; ++j) {
      Lanes inner{};
      for (int d = 0; d < D; ++d) inner += batch.tokens[j][d] * batch.tokens[N][d];
      total += inner * batch.tokens[j][D];
    }
    const Lanes prediction = total * static_cast<real>(constants::step_size / N);
    return loss(&prediction, batch, 0, nullptr);
  }
};
