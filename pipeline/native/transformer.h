// pipeline/models/attention_only.py and transformer.py: pre-norm causal layers on tokens, with or without an MLP.
// Parameters: embedding, position, each layer's query, key, value, output (and up, down), unembedding.
#pragma once

struct Model {
  static constexpr int L = Task::LENGTH, V = Task::SIZE, OUTPUTS = Task::OUTPUTS, TARGETS = Task::TARGETS;
  static constexpr int D = constants::width, HEADS = constants::num_heads, K = constants::head_width;
  static constexpr int LAYERS = constants::num_layers, M = constants::mlp_width, I = HEADS * K;
  static constexpr int ASKED = L - TARGETS;  // the first asked position
  static constexpr bool HAS_SOFTMAX = true, HAS_MLP = M > 0;
  // A small vocabulary's column is a few vectors, looked up by a shuffle.
  static constexpr bool IN_REGISTERS = V <= 4 * LANES;
  static constexpr int TABLE = V <= LANES ? 1 : V <= 2 * LANES ? 2 : 4;
  static constexpr real EPSILON = static_cast<real>(1e-5);
  using Batch = Task::Batch;

  struct Norm {
    Lanes normed[L * D], inverse[L];
  };
  struct Attention {
    Norm norm;
    Lanes query[L * I], key[L * I], value[L * I], mixed[L * I], share[HEADS][L][L];
    Lanes looked_for[HEADS * D], mean[HEADS * D];  // for a single query, instead of keys and values
    Lanes entropy[HEADS][L];                       // where asked for
  };
  struct Mlp {
    Norm norm;
    Lanes active[L * (M + 1)], slope[L * (M + 1)];
  };
  struct Tape {
    Lanes table[IN_REGISTERS ? D * TABLE : 1];  // of embeddings, turned
    Lanes x[L * D], x_slope[L * D], normed_slope[L * D];
    Lanes query_slope[L * I], key_slope[L * I], value_slope[L * I], mixed_slope[L * I], hidden_slope[L * (M + 1)];
    Attention attention[LAYERS];
    Mlp mlp[LAYERS];
    Norm last;
  };

  enum { QUERY, KEY, VALUE, OUTPUT, UP, DOWN };
  static constexpr int PER_LAYER = HAS_MLP ? 6 : 4;
  static constexpr int offset(int layer, int index) { return constants::offsets[2 + layer * PER_LAYER + index]; }
  static constexpr int unembedding() { return constants::offsets[2 + LAYERS * PER_LAYER]; }

  static void begin(const real* w, Tape& tape) {
    if constexpr (IN_REGISTERS) {
      for (int v = 0; v < V; ++v)
        for (int d = 0; d < D; ++d)
          reinterpret_cast<real*>(tape.table + d * TABLE)[v] = w[constants::offsets[0] + v * D + d];
    }
  }
  static void finish(const real*, Tape&, real*) {}

  template <bool FULL>
  static void forward(const real* w, const Batch& batch, Tape& tape, Lanes* predictions) {
    embed(w, batch, tape);
    for (int layer = 0; layer < LAYERS - 1; ++layer) {
      attend<0, FULL>(w, layer, tape);
      if constexpr (HAS_MLP) transform<0>(w, layer, tape);
    }
    constexpr int FROM = FULL ? 0 : ASKED;
    attend<FROM, FULL>(w, LAYERS - 1, tape);
    if constexpr (HAS_MLP) transform<FROM>(w, LAYERS - 1, tape);
    normalise<TARGETS>(tape.x + ASKED * D, tape.last);
    times<TARGETS, D, OUTPUTS>(w + unembedding(), tape.last.normed, predictions);
  }

  static void backward(const real* w, const Batch& batch, Tape& tape, const Lanes* slopes, real* g) {
    std::memset(&tape.x_slope, 0, sizeof tape.x_slope);
    outer<TARGETS, D, OUTPUTS>(tape.last.normed, slopes, g + unembedding());
    times_transposed<TARGETS, D, OUTPUTS>(w + unembedding(), slopes, tape.normed_slope);
    add_norm_slopes<TARGETS>(tape.last, tape.normed_slope, tape.x_slope + ASKED * D);
    if constexpr (HAS_MLP) transform_back<ASKED>(w, LAYERS - 1, tape, g);
    attend_back<ASKED>(w, LAYERS - 1, tape, g);
    for (int layer = LAYERS - 2; layer >= 0; --layer) {
      if constexpr (HAS_MLP) transform_back<0>(w, layer, tape, g);
      attend_back<0>(w, layer, tape, g);
    }
    embed_back(batch, tape.x_slope, g);
  }

  static Lanes attention(const Tape& tape, int layer, int head, int query, int key) {
    return key <= query ? tape.attention[layer].share[head][query][key] : Lanes{};
  }

  // Nats, of query `query`'s attention.
  static Lanes entropy(const Tape& tape, int layer, int head, int query) {
    return tape.attention[layer].entropy[head][query];
  }

  static void embed(const real* w, const Batch& batch, Tape& tape) {
    Lanes* x = tape.x;
    const real *embedding = w + constants::offsets[0], *position = w + constants::offsets[1];
    for (int i = 0; i < L; ++i)
      for (int d = 0; d < D; ++d) x[i * D + d] = lanes(position[i * D + d]);
    if constexpr (IN_REGISTERS) {
      for (int i = 0; i < L; ++i) {
        const Mask token = __builtin_convertvector(batch.tokens[i], Mask);
        for (int d = 0; d < D; ++d) x[i * D + d] += look_up(tape.table + d * TABLE, token);
      }
    } else {
      for (int i = 0; i < L; ++i)
        for (int d = 0; d < D; ++d)
          for (int lane = 0; lane < LANES; ++lane) x[i * D + d][lane] += embedding[batch.tokens[i][lane] * D + d];
    }
  }

  static Lanes look_up(const Lanes* table, Mask token) {
    if constexpr (V <= LANES) return __builtin_shuffle(table[0], token);
    const Lanes lower = __builtin_shuffle(table[0], table[1 % TABLE], token);
    if constexpr (V <= 2 * LANES) return lower;
    return token >= 2 * LANES ? __builtin_shuffle(table[2 % TABLE], table[3 % TABLE], token) : lower;
  }

  static void embed_back(const Batch& batch, const Lanes* slope, real* g) {
    real *embedding = g + constants::offsets[0], *position = g + constants::offsets[1];
    add_sums(slope, L * D, position);
    if constexpr (IN_REGISTERS) {
      for (int v = 0; v < V; ++v) {
        Lanes total[D] = {};
        for (int i = 0; i < L; ++i) {
          const Mask is_here = __builtin_convertvector(batch.tokens[i], Mask) == v;
          for (int d = 0; d < D; ++d) total[d] += is_here ? slope[i * D + d] : Lanes{};
        }
        add_sums(total, D, embedding + v * D);
      }
    } else {
      for (int i = 0; i < L; ++i)
        for (int lane = 0; lane < LANES; ++lane)
          for (int d = 0; d < D; ++d) embedding[batch.tokens[i][lane] * D + d] += slope[i * D + d][lane];
    }
  }

  template <int P>
  static void normalise(const Lanes* x, Norm& norm) {
    for (int p = 0; p < P; ++p) {
      Lanes mean{}, variance{};
      for (int d = 0; d < D; ++d) mean += x[p * D + d];
      mean *= static_cast<real>(1.0 / D);
      for (int d = 0; d < D; ++d) {
        const Lanes centred = x[p * D + d] - mean;
        variance += centred * centred;
      }
      norm.inverse[p] = 1 / root(variance * static_cast<real>(1.0 / D) + EPSILON);
      for (int d = 0; d < D; ++d) norm.normed[p * D + d] = (x[p * D + d] - mean) * norm.inverse[p];
    }
  }

  template <int P>
  static void add_norm_slopes(const Norm& norm, const Lanes* normed_slope, Lanes* x_slope) {
    for (int p = 0; p < P; ++p) {
      const Lanes *n = norm.normed + p * D, *s = normed_slope + p * D;
      Lanes mean{}, along{};
      for (int d = 0; d < D; ++d) mean += s[d], along += s[d] * n[d];
      mean *= static_cast<real>(1.0 / D), along *= static_cast<real>(1.0 / D);
      for (int d = 0; d < D; ++d) x_slope[p * D + d] += norm.inverse[p] * (s[d] - mean - n[d] * along);
    }
  }

  // In place; the entropy is log Z less the mean score, and is wanted by probes alone.
  template <bool WITH_ENTROPY>
  static void softmax(Lanes* scores, int count, Lanes& entropy) {
    Lanes most = scores[0], total{}, weighted{};
    for (int j = 1; j < count; ++j) most = larger(most, scores[j]);
    for (int j = 0; j < count; ++j) {
      const Lanes score = scores[j] - most;
      scores[j] = exp(score);
      total += scores[j];
      if (WITH_ENTROPY) weighted += scores[j] * score;
    }
    const Lanes inverse = 1 / total;
    if (WITH_ENTROPY) entropy = log(total) - weighted * inverse;
    for (int j = 0; j < count; ++j) scores[j] *= inverse;
  }

  static constexpr real scale() { return static_cast<real>(constants::attention_scale); }

  // Adds to x at positions FROM and later.
  template <int FROM, bool FULL>
  static void attend(const real* w, int layer, Tape& tape) {
    constexpr int P = L - FROM;
    Attention& a = tape.attention[layer];
    normalise<L>(tape.x, a.norm);
    const Lanes* normed = a.norm.normed;
    times<P, D, I>(w + offset(layer, QUERY), normed + FROM * D, a.query);
    if constexpr (P == 1) {
      look(w, layer, a);
    } else {
      times<L, D, I>(w + offset(layer, KEY), normed, a.key);
      times<L, D, I>(w + offset(layer, VALUE), normed, a.value);
      for (int h = 0; h < HEADS; ++h)
        for (int i = FROM; i < L; ++i) mix<FULL>(a, h, i, (i - FROM) * I + h * K);
    }
    times<P, I, D, true>(w + offset(layer, OUTPUT), a.mixed, tape.x + FROM * D);
  }

  // Attention of query i, whose numbers begin at `at`.
  template <bool FULL>
  static void mix(Attention& a, int h, int i, int at) {
    Lanes* share = a.share[h][i];
    Lanes query[K], mixed[K] = {};
    for (int k = 0; k < K; ++k) query[k] = a.query[at + k] * scale();
    for (int j = 0; j <= i; ++j) {
      Lanes score{};
      for (int k = 0; k < K; ++k) score += query[k] * a.key[j * I + h * K + k];
      share[j] = score;
    }
    softmax<FULL>(share, i + 1, a.entropy[h][i]);
    for (int j = 0; j <= i; ++j)
      for (int k = 0; k < K; ++k) mixed[k] += share[j] * a.value[j * I + h * K + k];
    for (int k = 0; k < K; ++k) a.mixed[at + k] = mixed[k];
  }

  // The last position's attention. Keys and values are never formed: q (W_K^T x) = (W_K q) x, and so for the mean.
  static void look(const real* w, int layer, Attention& a) {
    const Lanes* normed = a.norm.normed;
    for (int h = 0; h < HEADS; ++h) {
      Lanes *looked_for = a.looked_for + h * D, *mean = a.mean + h * D, *share = a.share[h][L - 1];
      product<1, K, D, 1, I, I, D, false>(w + offset(layer, KEY) + h * K, a.query + h * K, looked_for);
      for (int d = 0; d < D; ++d) looked_for[d] *= scale(), mean[d] = Lanes{};
      for (int j = 0; j < L; ++j) {
        Lanes score{};
        for (int d = 0; d < D; ++d) score += looked_for[d] * normed[j * D + d];
        share[j] = score;
      }
      softmax<false>(share, L, a.entropy[h][L - 1]);
      for (int j = 0; j < L; ++j)
        for (int d = 0; d < D; ++d) mean[d] += share[j] * normed[j * D + d];
      product<1, D, K, I, 1, D, I, false>(w + offset(layer, VALUE) + h * K, mean, a.mixed + h * K);
    }
  }

  template <int FROM>
  static void attend_back(const real* w, int layer, Tape& tape, real* g) {
    constexpr int P = L - FROM;
    Attention& a = tape.attention[layer];
    const Lanes *normed = a.norm.normed, *x_slope = tape.x_slope + FROM * D;
    outer<P, I, D>(a.mixed, x_slope, g + offset(layer, OUTPUT));
    times_transposed<P, I, D>(w + offset(layer, OUTPUT), x_slope, tape.mixed_slope);
    std::memset(&tape.normed_slope, 0, sizeof tape.normed_slope);
    if constexpr (P == 1) {
      look_back(w, layer, tape, g);
    } else {
      std::memset(&tape.key_slope, 0, sizeof tape.key_slope);
      std::memset(&tape.value_slope, 0, sizeof tape.value_slope);
      for (int h = 0; h < HEADS; ++h)
        for (int i = FROM; i < L; ++i) mix_back(a, tape, h, i, (i - FROM) * I + h * K);
      outer<L, D, I>(normed, tape.key_slope, g + offset(layer, KEY));
      outer<L, D, I>(normed, tape.value_slope, g + offset(layer, VALUE));
      times_transposed<L, D, I, true>(w + offset(layer, KEY), tape.key_slope, tape.normed_slope);
      times_transposed<L, D, I, true>(w + offset(layer, VALUE), tape.value_slope, tape.normed_slope);
    }
    outer<P, D, I>(normed + FROM * D, tape.query_slope, g + offset(layer, QUERY));
    times_transposed<P, D, I, true>(w + offset(layer, QUERY), tape.query_slope, tape.normed_slope + FROM * D);
    add_norm_slopes<L>(a.norm, tape.normed_slope, tape.x_slope);
  }

  static void mix_back(const Attention& a, Tape& tape, int h, int i, int at) {
    const Lanes* share = a.share[h][i];
    Lanes slope[L], along{}, mixed_slope[K], query[K], query_slope[K] = {};
    for (int k = 0; k < K; ++k) mixed_slope[k] = tape.mixed_slope[at + k], query[k] = a.query[at + k];
    for (int j = 0; j <= i; ++j) {
      Lanes by_share{};
      for (int k = 0; k < K; ++k) {
        by_share += mixed_slope[k] * a.value[j * I + h * K + k];
        tape.value_slope[j * I + h * K + k] += share[j] * mixed_slope[k];
      }
      slope[j] = by_share;
      along += share[j] * by_share;
    }
    for (int j = 0; j <= i; ++j) {
      const Lanes by_score = share[j] * (slope[j] - along) * scale();
      for (int k = 0; k < K; ++k) {
        query_slope[k] += by_score * a.key[j * I + h * K + k];
        tape.key_slope[j * I + h * K + k] += by_score * query[k];
      }
    }
    for (int k = 0; k < K; ++k) tape.query_slope[at + k] = query_slope[k];
  }

  static void look_back(const real* w, int layer, Tape& tape, real* g) {
    Attention& a = tape.attention[layer];
    const Lanes* normed = a.norm.normed;
    for (int h = 0; h < HEADS; ++h) {
      const Lanes *share = a.share[h][L - 1], *looked_for = a.looked_for + h * D;
      Lanes mean_slope[D], looked_slope[D] = {}, slope[L], along{};
      outer<1, D, K, D, I, I>(a.mean + h * D, tape.mixed_slope + h * K, g + offset(layer, VALUE) + h * K);
      product<1, K, D, 1, I, I, D, false>(w + offset(layer, VALUE) + h * K, tape.mixed_slope + h * K, mean_slope);
      for (int j = 0; j < L; ++j) {
        Lanes by_share{};
        for (int d = 0; d < D; ++d) by_share += mean_slope[d] * normed[j * D + d];
        slope[j] = by_share;
        along += share[j] * by_share;
      }
      for (int j = 0; j < L; ++j) {
        const Lanes by_score = share[j] * (slope[j] - along);
        for (int d = 0; d < D; ++d) {
          tape.normed_slope[j * D + d] += share[j] * mean_slope[d] + by_score * looked_for[d];
          looked_slope[d] += by_score * normed[j * D + d];
        }
      }
      for (int d = 0; d < D; ++d) looked_slope[d] *= scale();
      outer<1, D, K, D, I, I>(looked_slope, a.query + h * K, g + offset(layer, KEY) + h * K);
      product<1, D, K, I, 1, D, I, false>(w + offset(layer, KEY) + h * K, looked_slope, tape.query_slope + h * K);
    }
  }

  template <int FROM>
  static void transform(const real* w, int layer, Tape& tape) {
    constexpr int P = L - FROM;
    Mlp& m = tape.mlp[layer];
    normalise<P>(tape.x + FROM * D, m.norm);
    times<P, D, M>(w + offset(layer, UP), m.norm.normed, m.active);
    for (int i = 0; i < P * M; ++i) gelu(m.active[i], m.slope[i]);
    times<P, M, D, true>(w + offset(layer, DOWN), m.active, tape.x + FROM * D);
  }

  template <int FROM>
  static void transform_back(const real* w, int layer, Tape& tape, real* g) {
    constexpr int P = L - FROM;
    Mlp& m = tape.mlp[layer];
    Lanes* x_slope = tape.x_slope + FROM * D;
    outer<P, M, D>(m.active, x_slope, g + offset(layer, DOWN));
    times_transposed<P, M, D>(w + offset(layer, DOWN), x_slope, tape.hidden_slope);
    for (int i = 0; i < P * M; ++i) tape.hidden_slope[i] *= m.slope[i];
    outer<P, D, M>(m.norm.normed, tape.hidden_slope, g + offset(layer, UP));
    times_transposed<P, D, M>(w + offset(layer, UP), tape.hidden_slope, tape.normed_slope);
    add_norm_slopes<P>(m.norm, tape.normed_slope, x_slope);
  }

  // GELU in the tanh approximation (Hendrycks and Gimpel 2016), in place, and its derivative.
  static void gelu(Lanes& x, Lanes& slope) {
    constexpr real a = static_cast<real>(0.7978845608028654), b = static_cast<real>(0.044715);
    const Lanes square = x * x, t = tanh(a * x * (1 + b * square));
    slope = (1 + t + x * (1 - t * t) * (a * (1 + 3 * b * square))) / 2;
    x = x * (1 + t) / 2;
  }
};
