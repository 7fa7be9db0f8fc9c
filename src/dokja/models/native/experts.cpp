// The routed experts of a mixture in one pass per expert: gather its tokens, gate and up, SwiGLU, down, weigh; then the
// results of a token are summed in the order of its choices. All of an expert's work stays in the cache.
//
// A vector's lanes are tokens, so activations are transposed, [feature, lane], and the weights of the forward pass are
// read as they lie. Shape letters: N tokens, A choices of each, E experts, C width, F hidden width.
#include "gemm.h"

#include <vector>

using namespace dokja;

namespace {

struct Shape {
  int64_t tokens, active, experts, width, hidden;
};

constexpr int64_t PAD = 16;  // lanes of an expert are padded to this on every machine

// The slots (token * active + choice) of each expert, in order. first[e]: where expert e begins among sorted slots,
// lane[e]: where it begins among padded lanes.
struct Plan {
  std::vector<int64_t> slots, first, lane;

  Plan(const Shape& s, const int64_t* expert) : slots(s.tokens * s.active), first(s.experts + 1), lane(s.experts + 1) {
    for (int64_t i = 0; i < s.tokens * s.active; i++) first[expert[i] + 1]++;
    for (int64_t e = 0; e < s.experts; e++) {
      lane[e + 1] = lane[e] + round_up(first[e + 1], PAD);
      first[e + 1] += first[e];
    }
    std::vector<int64_t> next(first.begin(), first.end() - 1);
    for (int64_t i = 0; i < s.tokens * s.active; i++) slots[next[expert[i]]++] = i;
  }
  int64_t count(int64_t e) const { return first[e + 1] - first[e]; }
  int64_t lanes(int64_t e) const { return lane[e + 1] - lane[e]; }
};

// in [rows, columns] to out [columns, rows]; rows a multiple of W.
void transpose_matrix(const float* in, int64_t rows, int64_t columns, float* out) {
  for (int64_t r = 0; r < rows; r += W) {
    const float* at[W];
    for (int i = 0; i < W; i++) at[i] = in + (r + i) * columns;
    pack_transposed(at, columns, 1.0f, out + r, rows);
  }
}

// W columns of in [dim, stride] to rows out [W, dim].
void unpack_matrix(const float* in, int64_t stride, int64_t dim, float* out) {
  float* at[W];
  for (int i = 0; i < W; i++) at[i] = out + i * dim;
  unpack_transposed(in, stride, dim, splat(1.0f), at, W);
}

// Rows of x (of the tokens that own the slots) as [width, lanes], zeros in lanes without one.
void gather_columns(const float* x, const Shape& s, const int64_t* slots, int64_t count, int64_t lanes, const float* zeros,
                    float* out) {
  for (int64_t i = 0; i < lanes; i += W) {
    const float* at[W];
    for (int j = 0; j < W; j++) at[j] = i + j < count ? x + slots[i + j] / s.active * s.width : zeros;
    pack_transposed(at, s.width, 1.0f, out + i, lanes);
  }
}

void gather_rows(const float* x, const Shape& s, const int64_t* slots, int64_t count, float* out) {
  for (int64_t i = 0; i < count; i++) copy(x + slots[i] / s.active * s.width, s.width, out + i * s.width);
}

// Columns of in [width, lanes], times factor of each lane, to rows slots[..] of out.
void scatter_columns(const float* in, const Shape& s, const int64_t* slots, int64_t count, int64_t lanes,
                     const float* factor, float* out) {
  for (int64_t i = 0; i < count; i += W) {
    const int n = (int)std::min<int64_t>(W, count - i);
    float* at[W];
    for (int j = 0; j < n; j++) at[j] = out + slots[i + j] * s.width;
    unpack_transposed(in + i, lanes, s.width, factor ? load(factor + i) : splat(1.0f), at, n);
  }
}

// out[token] = sum of its slots, choice by choice.
void sum_slots(const float* slots, const Shape& s, int threads, float* out) {
  parallel(s.tokens, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; t++)
      vectors(s.width, [&](int64_t i, int n) {
        Vec total = load_n(slots + t * s.active * s.width + i, n);
        for (int64_t a = 1; a < s.active; a++) total += load_n(slots + (t * s.active + a) * s.width + i, n);
        store_n(out + t * s.width + i, total, n);
      });
  });
}

Shape shape_of(const int64_t* p) { return {p[0], p[1], p[2], p[3], p[4]}; }

}  // namespace

extern "C" {

// x: [N, C]; gate_up: [E, C, 2F]; down: [E, F, C]; expert, weight: [N, A]. before: [lanes, 2F], kept for the backward
// pass, where lanes <= N * A + 16 E; slots: [N * A, C], for the use of this call; out: [N, C]. C is a multiple of 16, F
// of 8. Returns 1 when an expert is out of range.
int dokja_experts(const int64_t* shape, const float* x, const float* gate_up, const float* down, const int64_t* expert,
                  const float* weight, float* before, float* slots, float* out, int threads) {
  const Shape s = shape_of(shape);
  for (int64_t i = 0; i < s.tokens * s.active; i++)
    if (expert[i] < 0 || expert[i] >= s.experts) return 1;
  const Plan plan(s, expert);
  const int64_t C = s.width, F = s.hidden;
  parallel(s.experts, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t e = begin; e < end; e++) {
      const int64_t count = plan.count(e), lanes = plan.lanes(e), *mine = plan.slots.data() + plan.first[e];
      float* input = thread_scratch().get((C + F + C + 1) * lanes + C);
      float *act = input + C * lanes, *output = act + F * lanes, *weights = output + C * lanes;
      float *zeros = weights + lanes, *hidden = before + plan.lane[e] * 2 * F;
      std::memset(zeros, 0, sizeof(float) * C);
      gather_columns(x, s, mine, count, lanes, zeros, input);
      gemm<1>(2 * F, lanes, C, gate_up + e * C * 2 * F, 2 * F, input, lanes, hidden, lanes, false);
      vectors(F * lanes, [&](int64_t i, int n) {
        const Vec gate = load_n(hidden + i, n);
        store_n(act + i, gate * sigmoid(gate) * load_n(hidden + F * lanes + i, n), n);
      });
      gemm<1>(C, lanes, F, down + e * F * C, C, act, lanes, output, lanes, false);
      for (int64_t i = 0; i < lanes; i++) weights[i] = i < count ? weight[mine[i]] : 0.0f;
      scatter_columns(output, s, mine, count, lanes, weights, slots);
    }
  });
  sum_slots(slots, s, threads, out);
  return 0;
}

// g: [N, C], the gradient of out; all results are written, none added to.
int dokja_experts_backward(const int64_t* shape, const float* x, const float* gate_up, const float* down,
                           const int64_t* expert, const float* weight, const float* before, const float* g, float* slots,
                           float* dx, float* dgate_up, float* ddown, float* dweight, int threads) {
  const Shape s = shape_of(shape);
  const Plan plan(s, expert);
  const int64_t C = s.width, F = s.hidden;
  parallel(s.experts, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t e = begin; e < end; e++) {
      const int64_t count = plan.count(e), lanes = plan.lanes(e), *mine = plan.slots.data() + plan.first[e];
      float* rows = thread_scratch().get((4 * C + 8 * F + 2) * lanes + 3 * C * F + C);
      float *columns = rows + C * lanes, *act = columns + C * lanes, *dact = act + F * lanes;
      float *dhidden = dact + F * lanes, *act_rows = dhidden + 2 * F * lanes, *dhidden_rows = act_rows + F * lanes;
      float *dinput = dhidden_rows + 2 * F * lanes, *weights = dinput + C * lanes, *dweights = weights + lanes;
      float *down_t = dweights + lanes, *gate_up_t = down_t + C * F, *zeros = gate_up_t + 2 * C * F;
      const float* hidden = before + plan.lane[e] * 2 * F;
      std::memset(zeros, 0, sizeof(float) * C);
      for (int64_t i = 0; i < lanes; i++) weights[i] = i < count ? weight[mine[i]] : 0.0f;
      // Through down: the gradient of what SwiGLU gave, before the router's weight is counted.
      gather_columns(g, s, mine, count, lanes, zeros, columns);
      for (int64_t c = 0; c < C; c += W) unpack_matrix(down + e * F * C + c, C, F, down_t + c * F);
      gemm<1>(F, lanes, C, down_t, F, columns, lanes, dact, lanes, false);
      // Through SwiGLU; the gradient of the router's weight is <act, dact>, which spares the expert's output.
      for (int64_t i = 0; i < lanes; i += W) {
        const Vec scale = load(weights + i);
        Vec dot = {};
        for (int64_t f = 0; f < F; f++) {
          const Vec gate = load(hidden + f * lanes + i), up = load(hidden + (F + f) * lanes + i);
          const Vec sig = sigmoid(gate), silu = gate * sig, d = load(dact + f * lanes + i);
          dot += silu * up * d;
          store(act + f * lanes + i, silu * up * scale);
          store(dhidden + f * lanes + i, d * scale * up * (sig + silu * (1.0f - sig)));
          store(dhidden + (F + f) * lanes + i, d * scale * silu);
        }
        store(dweights + i, dot);
      }
      for (int64_t i = 0; i < count; i++) dweight[mine[i]] = dweights[i];
      // Gradients of the two matrices: sums over rows.
      gather_rows(g, s, mine, count, rows);
      for (int64_t i = 0; i < lanes; i += W) {
        unpack_matrix(act + i, lanes, F, act_rows + i * F);
        unpack_matrix(dhidden + i, lanes, 2 * F, dhidden_rows + i * 2 * F);
      }
      gemm<1>(F, C, count, act_rows, F, rows, C, ddown + e * F * C, C, false);
      gather_rows(x, s, mine, count, rows);
      gemm<1>(C, 2 * F, count, rows, C, dhidden_rows, 2 * F, dgate_up + e * C * 2 * F, 2 * F, false);
      // Through gate and up.
      transpose_matrix(gate_up + e * C * 2 * F, C, 2 * F, gate_up_t);
      gemm<1>(C, lanes, 2 * F, gate_up_t, C, dhidden, lanes, dinput, lanes, false);
      scatter_columns(dinput, s, mine, count, lanes, nullptr, slots);
    }
  });
  sum_slots(slots, s, threads, dx);
  return 0;
}

}  // extern "C"
