// The routed experts of a mixture in one pass per expert: gather its tokens, gate and up, SwiGLU, down, weigh; then the
// results of a token are summed in the order of its choices. All of an expert's work stays in the cache.
//
// Shape letters: N tokens, A choices of each, E experts, C width, F hidden width.
#include "gemm.h"

using namespace dokja;

namespace {

constexpr int64_t DEPTH = 256;  // of a product, so that the weights of a tile's columns stay in the nearest cache

struct Shape {
  int64_t tokens, active, experts, width, hidden;
};

// The slots (token * active + choice) of each expert, in order. first[e]: where expert e begins among sorted slots,
// row[e]: where it begins among rows that are padded to whole tiles.
struct Plan {
  std::vector<int64_t> slots, first, row;

  Plan(const Shape& s, const int64_t* expert) : slots(s.tokens * s.active), first(s.experts + 1), row(s.experts + 1) {
    for (int64_t i = 0; i < s.tokens * s.active; i++) first[expert[i] + 1]++;
    for (int64_t e = 0; e < s.experts; e++) {
      row[e + 1] = row[e] + round_up(first[e + 1], ROWS);
      first[e + 1] += first[e];
    }
    std::vector<int64_t> next(first.begin(), first.end() - 1);
    for (int64_t i = 0; i < s.tokens * s.active; i++) slots[next[expert[i]]++] = i;
  }
  int64_t count(int64_t e) const { return first[e + 1] - first[e]; }
  int64_t rows(int64_t e) const { return row[e + 1] - row[e]; }
  // `size` floats of each in `weights`: those of the first of the experts e + 1 .. end - 1 that has tokens, else null.
  const float* next(int64_t e, int64_t end, const float* weights, int64_t size) const {
    for (e++; e < end; e++)
      if (count(e)) return weights + e * size;
    return nullptr;
  }
};

// Rows of x (of the tokens that own the slots), zeros behind.
void gather(const float* x, const Shape& s, const int64_t* slots, int64_t count, int64_t rows, float* out) {
  for (int64_t i = 0; i < count; i++) copy(x + slots[i] / s.active * s.width, s.width, out + i * s.width);
  std::memset(out + count * s.width, 0, sizeof(float) * (rows - count) * s.width);
}

// out[token] = sum of its slots, choice by choice, and of its row of `further` (may be null).
void sum_slots(const float* slots, const Shape& s, const float* further, int threads, float* out) {
  parallel(s.tokens, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; t++)
      vectors(s.width, [&](int64_t i, int n) {
        Vec total = load_n(slots + t * s.active * s.width + i, n);
        for (int64_t a = 1; a < s.active; a++) total += load_n(slots + (t * s.active + a) * s.width + i, n);
        store_n(out + t * s.width + i, further ? total + load_n(further + t * s.width + i, n) : total, n);
      });
  });
}

Shape shape_of(const int64_t* p) { return {p[0], p[1], p[2], p[3], p[4]}; }

}  // namespace

extern "C" {

// x: [N, C]; gate_up: [E, C, 2F]; down: [E, F, C]; expert, weight: [N, A]; further: [N, C] to be added, or null. before:
// [rows, 2F], kept for the backward pass, where rows <= N * A + 8 E; slots: [N * A, C], for the use of this call; out:
// [N, C]. C and F are multiples of 8. Returns 1 when an expert is out of range.
int dokja_experts(const int64_t* shape, const float* x, const float* gate_up, const float* down, const int64_t* expert,
                  const float* weight, const float* further, float* before, float* slots, float* out, int threads) {
  const Shape s = shape_of(shape);
  for (int64_t i = 0; i < s.tokens * s.active; i++)
    if (expert[i] < 0 || expert[i] >= s.experts) return 1;
  const Plan plan(s, expert);
  const int64_t C = s.width, F = s.hidden;
  parallel(s.experts, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t e = begin; e < end; e++) {
      const int64_t count = plan.count(e), rows = plan.rows(e), *mine = plan.slots.data() + plan.first[e];
      float* input = thread_scratch().get((2 * C + F) * rows);
      float *act = input + C * rows, *output = act + F * rows, *hidden = before + plan.row[e] * 2 * F;
      gather(x, s, mine, count, rows, input);
      Ahead next(plan.next(e, end, gate_up, C * 2 * F), C * 2 * F, rows, 2 * F, C);
      for (int64_t c = 0; c < C; c += DEPTH)
        gemm_rows(rows, 2 * F, std::min(DEPTH, C - c), input + c, C, gate_up + (e * C + c) * 2 * F, 2 * F, hidden, 2 * F,
                  c > 0, next);
      for (int64_t r = 0; r < rows; r++)
        vectors(F, [&](int64_t i, int n) {
          const Vec gate = load_n(hidden + r * 2 * F + i, n);
          store_n(act + r * F + i, gate * sigmoid(gate) * load_n(hidden + r * 2 * F + F + i, n), n);
        });
      next = Ahead(plan.next(e, end, down, F * C), F * C, rows, C, F);
      gemm_rows(rows, C, F, act, F, down + e * F * C, C, output, C, false, next);
      for (int64_t r = 0; r < count; r++) {
        const float share = weight[mine[r]];
        float* mixed = output + r * C;
        vectors(C, [&](int64_t i, int n) { store_n(mixed + i, load_n(mixed + i, n) * share, n); });
        copy_or_stream(mixed, C, slots + mine[r] * C, s.tokens * s.active * C);
      }
    }
  });
  sum_slots(slots, s, further, threads, out);
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
      const int64_t count = plan.count(e), rows = plan.rows(e), *mine = plan.slots.data() + plan.first[e];
      const int64_t up = Panels::size(C, F), in = Panels::size(2 * F, C);
      float* gathered = thread_scratch().get((2 * C + 4 * F) * rows + up + in + C * 2 * F);
      float *dinput = gathered + C * rows, *act = dinput + C * rows, *dact = act + F * rows, *dhidden = dact + F * rows;
      float *down_t = dhidden + 2 * F * rows, *gate_up_t = down_t + up, *gradient = gate_up_t + in;
      const float* hidden = before + plan.row[e] * 2 * F;
      // Through down: the gradient of what SwiGLU gave, before the router's weight is counted.
      gather(g, s, mine, count, rows, gathered);
      Panels::pack_transpose(down + e * F * C, F, C, down_t);
      Ahead next(plan.next(e, end, down, F * C), F * C, rows, F, C);
      Panels::multiply(rows, F, C, gathered, C, down_t, dact, F, next);
      // Through SwiGLU; the gradient of the router's weight is <act, dact>, which spares the expert's output.
      for (int64_t r = 0; r < rows; r++) {
        const float share = r < count ? weight[mine[r]] : 0.0f;
        Vec dot = {};
        vectors(F, [&](int64_t i, int n) {
          const Vec gate = load_n(hidden + r * 2 * F + i, n), up = load_n(hidden + r * 2 * F + F + i, n);
          const Vec sig = sigmoid(gate), silu = gate * sig, d = load_n(dact + r * F + i, n);
          dot += silu * up * d;
          store_n(act + r * F + i, silu * up * share, n);
          store_n(dhidden + r * 2 * F + i, d * share * up * (sig + silu * (1.0f - sig)), n);
          store_n(dhidden + r * 2 * F + F + i, d * share * silu, n);
        });
        if (r < count) dweight[mine[r]] = sum(dot);
      }
      // Gradients of the two matrices: sums over rows.
      gemm<1>(F, C, count, act, F, gathered, C, gradient, C, false);
      stream(gradient, F * C, ddown + e * F * C);
      gather(x, s, mine, count, rows, gathered);
      gemm<1>(C, 2 * F, count, gathered, C, dhidden, 2 * F, gradient, 2 * F, false);
      stream(gradient, C * 2 * F, dgate_up + e * C * 2 * F);
      // Through gate and up.
      Panels::pack_transpose(gate_up + e * C * 2 * F, C, 2 * F, gate_up_t);
      next = Ahead(plan.next(e, end, gate_up, C * 2 * F), C * 2 * F, rows, C, 2 * F);
      Panels::multiply(rows, C, 2 * F, dhidden, 2 * F, gate_up_t, dinput, C, next);
      for (int64_t r = 0; r < count; r++)
        copy_or_stream(dinput + r * C, C, slots + mine[r] * C, s.tokens * s.active * C);
    }
  });
  sum_slots(slots, s, nullptr, threads, dx);
  return 0;
}

}  // extern "C"
