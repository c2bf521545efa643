// One layer of pipeline/models/linear_self_attention.py: -e_q[last] - sum_j (e_j . u) (e_j . r), with u = e_q W_Q^T W_K
// and r = p W_V, p the last row of P. Parameters: query, key, value, projection, each square.
#pragma once

struct Model {
  static constexpr int N = Task::LENGTH - 1, D = Task::SIZE, HEADS = 1, LAYERS = 1;
  static constexpr bool HAS_SOFTMAX = false;
  using Batch = Task::Batch;

  struct Tape {
    real merged[D * D], readout[D];  // W_Q^T W_K and r, of the present weights
    Lanes looked_for[D], weight[N], value[N];
    Lanes merged_slope[D * D], readout_slope[D];  // summed over blocks
  };

  static const real* matrix(const real* weights, int index) { return weights + constants::offsets[index]; }

  static void begin(const real* weights, Tape& tape) {
    const real *query = matrix(weights, 0), *key = matrix(weights, 1), *value = matrix(weights, 2);
    const real* last = matrix(weights, 3) + (D - 1) * D;
    std::memset(&tape.merged, 0, sizeof tape.merged);
    std::memset(&tape.readout, 0, sizeof tape.readout);
    for (int c = 0; c < D; ++c)
      for (int b = 0; b < D; ++b) {
        tape.readout[b] += last[c] * value[c * D + b];
        for (int a = 0; a < D; ++a) tape.merged[b * D + a] += query[c * D + b] * key[c * D + a];
      }
    std::memset(&tape.merged_slope, 0, sizeof tape.merged_slope);
    std::memset(&tape.readout_slope, 0, sizeof tape.readout_slope);
  }

  template <bool FULL>
  static void forward(const real*, const Batch& batch, Tape& tape, Lanes* predictions) {
    const Lanes* query = batch.tokens[N];
    times<1, D, D>(tape.merged, query, tape.looked_for);
    Lanes total = query[D - 1];
    for (int j = 0; j < N; ++j) {
      Lanes weight{}, value{};
      for (int d = 0; d < D; ++d) {
        weight += batch.tokens[j][d] * tape.looked_for[d];
        value += batch.tokens[j][d] * tape.readout[d];
      }
      tape.weight[j] = weight, tape.value[j] = value;
      total += weight * value;
    }
    predictions[0] = -total;
  }

  static void backward(const real*, const Batch& batch, Tape& tape, const Lanes* slopes, real*) {
    Lanes looked_for_slope[D] = {};
    for (int j = 0; j < N; ++j) {
      const Lanes by_weight = -slopes[0] * tape.value[j], by_value = -slopes[0] * tape.weight[j];
      for (int d = 0; d < D; ++d) {
        looked_for_slope[d] += by_weight * batch.tokens[j][d];
        tape.readout_slope[d] += by_value * batch.tokens[j][d];
      }
    }
    for (int a = 0; a < D; ++a)
      for (int b = 0; b < D; ++b) tape.merged_slope[a * D + b] += batch.tokens[N][a] * looked_for_slope[b];
  }

  // Once per step, after all blocks.
  static void finish(const real* weights, Tape& tape, real* gradient) {
    real merged[D * D] = {}, readout[D] = {};
    add_sums(tape.merged_slope, D * D, merged);
    add_sums(tape.readout_slope, D, readout);
    const real *query = matrix(weights, 0), *key = matrix(weights, 1), *value = matrix(weights, 2);
    const real* last = matrix(weights, 3) + (D - 1) * D;
    real *to_query = gradient + constants::offsets[0], *to_key = gradient + constants::offsets[1];
    real *to_value = gradient + constants::offsets[2], *to_last = gradient + constants::offsets[3] + (D - 1) * D;
    for (int c = 0; c < D; ++c)
      for (int a = 0; a < D; ++a) {
        real slope = 0;
        for (int b = 0; b < D; ++b) slope += merged[a * D + b] * key[c * D + b];
        to_query[c * D + a] += slope;
        to_value[c * D + a] += last[c] * readout[a];
        to_last[c] += readout[a] * value[c * D + a];
        for (int b = 0; b < D; ++b) to_key[c * D + b] += query[c * D + a] * merged[a * D + b];
      }
  }

  static Lanes attention(const Tape&, int, int, int, int) { return Lanes{}; }
  static Lanes entropy(const Tape&, int, int, int) { return Lanes{}; }
};
