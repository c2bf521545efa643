// pipeline/tasks/separate_regression.py: the contexts of linear_regression.py, with x and y in tokens of their own.
#pragma once

#include "philox.h"

struct Task {
  static constexpr int D = constants::dim, N = constants::num_pairs;
  static constexpr int LENGTH = 2 * N + 1, SIZE = D, OUTPUTS = 1, TARGETS = 1;
  static constexpr bool HAS_ACCURACY = false, HAS_REFERENCE = true;

  struct Batch {
    Lanes tokens[LENGTH][SIZE];
    Lanes target;
  };

  static void sample(const Stream* streams, const real*, std::uint32_t first, Batch& batch) {
    constexpr real range = static_cast<real>(constants::input_range);
    draw(streams[constants::stream::data], first, (N + 1) * D, 0, [&](int column, Words w) {
      batch.tokens[2 * (column / D)][column % D] = symmetric(w, range);
    });
    Lanes teacher[D];
    draw_normals(streams[constants::stream::data], first, D, 1, [&](int column, Lanes z) { teacher[column] = z; });
    for (int j = 0; j <= N; ++j) {
      Lanes y{};
      for (int d = 0; d < D; ++d) y += batch.tokens[2 * j][d] * teacher[d];
      Lanes& to = j < N ? batch.tokens[2 * j + 1][D - 1] : batch.target;
      if (j < N)
        for (int d = 0; d < D - 1; ++d) batch.tokens[2 * j + 1][d] = Lanes{};
      to = y;
    }
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
      for (int d = 0; d < D; ++d) inner += batch.tokens[2 * j][d] * batch.tokens[2 * N][d];
      total += inner * batch.tokens[2 * j + 1][D - 1];
    }
    const Lanes prediction = total * static_cast<real>(constants::step_size / N);
    return loss(&prediction, batch, 0, nullptr);
  }
};
