// pipeline/tasks/linear_regression.py, drawn a block of examples at a time.
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

  // vectors: label_noise.
  static void sample(const Stream* streams, const real* vectors, std::uint32_t first, Batch& batch) {
    if constexpr (constants::num_batches > 0) {
      Stream again[] = {streams[0], streams[1]};
      for (Stream& stream : again) stream.step %= static_cast<std::uint32_t>(constants::num_batches);
      draw_batch(again, vectors, first, batch);
    } else {
      draw_batch(streams, vectors, first, batch);
    }
  }

  static void draw_batch(const Stream* streams, const real* vectors, std::uint32_t first, Batch& batch) {
    constexpr real range = static_cast<real>(constants::input_range);
    draw(streams[0], first, LENGTH * D, 0, [&](int column, Words w) {
      batch.tokens[column / D][column % D] = (2 * unit(w) - 1) * range;
    });
    Lanes teacher[D];
    draw_normals(streams[0], first, D, 1, [&](int column, Lanes z) { teacher[column] = z; });
    for (int j = 0; j < LENGTH; ++j) {
      Lanes y{};
      for (int d = 0; d < D; ++d) y += batch.tokens[j][d] * teacher[d];
      batch.tokens[j][D] = y;
    }
    batch.target = batch.tokens[N][D];
    batch.tokens[N][D] = Lanes{};
    if (vectors[0] > 0)
      draw_normals(streams[1], first, N, 0, [&](int j, Lanes z) { batch.tokens[j][D] += vectors[0] * z; });
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
