// The routed experts of a mixture in one pass per expert: gather its tokens, gate and up, SwiGLU, down, weigh; then the
// results of a token are summed in the order of its choices. All of an expert's work stays in the cache.
//
// Shape letters: N tokens, A choices of each, E experts, C width, F hidden width.
#include "gemm.h"

using namespace dokja;

namespace {

constexpr int64_t BLOCK = 256;  // rows of an expert at once, a multiple of ROWS: they and its weights fit the cache

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
  // `size` floats of each in `weights`: those of the first of the experts e + 1 .. end - 1 that has tokens, else null.
  const float* next(int64_t e, int64_t end, const float* weights, int64_t size) const {
    for (e++; e < end; e++)
      if (count(e)) return weights + e * size;
    return nullptr;
  }
};

// f(begin, end, thread) over all experts, cut where each thread gets about as many rows: a router has favourites.
template <class F> void parallel_experts(const Plan& plan, int threads, F f) {
  const auto cut = [&](int64_t t) {
    return std::lower_bound(plan.row.begin(), plan.row.end() - 1, plan.row.back() * t / threads) - plan.row.begin();
  };
  const int64_t last = plan.row.size() - 1;
  parallel(threads, threads, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t t = begin; t < end; t++) f(t ? cut(t) : 0, t + 1 < threads ? cut(t + 1) : last, thread);
  });
}

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
  parallel_experts(plan, threads, [&](int64_t begin, int64_t end, int) {
    const int64_t up = Panels::size(C, 2 * F);
    float* first = thread_scratch().get(up + Panels::size(F, C) + (2 * C + F) * BLOCK);
    float *second = first + up, *input = second + Panels::size(F, C);
    float *act = input + C * BLOCK, *output = act + F * BLOCK;
    for (int64_t e = begin; e < end; e++) {
      if (plan.count(e)) {
        Panels::pack(gate_up + e * C * 2 * F, C, 2 * F, first);
        Panels::pack(down + e * F * C, F, C, second);
      }
      for (int64_t at = 0; at < plan.count(e); at += BLOCK) {
        const int64_t count = std::min(BLOCK, plan.count(e) - at), rows = round_up(count, ROWS);
        const int64_t* mine = plan.slots.data() + plan.first[e] + at;
        const bool last = at + BLOCK >= plan.count(e);  // what is fetched ahead is the next expert's
        float* hidden = before + (plan.row[e] + at) * 2 * F;
        gather(x, s, mine, count, rows, input);
        Ahead next(last ? plan.next(e, end, gate_up, C * 2 * F) : nullptr, C * 2 * F, rows, 2 * F, C);
        Panels::multiply(rows, 2 * F, C, input, C, first, hidden, 2 * F, next);
        for (int64_t r = 0; r < rows; r++)
          vectors(F, [&](int64_t i, int n) {
            const Vec gate = load_n(hidden + r * 2 * F + i, n);
            store_n(act + r * F + i, gate * sigmoid(gate) * load_n(hidden + r * 2 * F + F + i, n), n);
          });
        next = Ahead(last ? plan.next(e, end, down, F * C) : nullptr, F * C, rows, C, F);
        Panels::multiply(rows, C, F, act, F, second, output, C, next);
        for (int64_t r = 0; r < count; r++) {
          const float share = weight[mine[r]];
          float* mixed = output + r * C;
          vectors(C, [&](int64_t i, int n) { store_n(mixed + i, load_n(mixed + i, n) * share, n); });
          copy_or_stream(mixed, C, slots + mine[r] * C, s.tokens * s.active * C);
        }
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
  parallel_experts(plan, threads, [&](int64_t begin, int64_t end, int) {
    const int64_t up = Panels::size(C, F), in = Panels::size(2 * F, C);
    float* gathered = thread_scratch().get((2 * C + 4 * F) * BLOCK + up + in + 3 * C * F);
    float *dinput = gathered + C * BLOCK, *act = dinput + C * BLOCK, *dact = act + F * BLOCK;
    float *dhidden = dact + F * BLOCK, *down_t = dhidden + 2 * F * BLOCK, *gate_up_t = down_t + up;
    float *first = gate_up_t + in, *second = first + C * 2 * F;  // gradients of the two matrices
    for (int64_t e = begin; e < end; e++) {
      Panels::pack_transpose(down + e * F * C, F, C, down_t);
      Panels::pack_transpose(gate_up + e * C * 2 * F, C, 2 * F, gate_up_t);
      for (int64_t at = 0; !at || at < plan.count(e); at += BLOCK) {  // an expert without tokens has gradients of 0
        const int64_t count = std::min(BLOCK, plan.count(e) - at), rows = round_up(count, ROWS);
        const int64_t* mine = plan.slots.data() + plan.first[e] + at;
        const bool last = at + BLOCK >= plan.count(e);
        const float* hidden = before + (plan.row[e] + at) * 2 * F;
        // Through down: the gradient of what SwiGLU gave, before the router's weight is counted.
        gather(g, s, mine, count, rows, gathered);
        Ahead next(last ? plan.next(e, end, down, F * C) : nullptr, F * C, rows, F, C);
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
        gemm<1>(F, C, count, act, F, gathered, C, second, C, at > 0);
        gather(x, s, mine, count, rows, gathered);
        gemm<1>(C, 2 * F, count, gathered, C, dhidden, 2 * F, first, 2 * F, at > 0);
        // Through gate and up.
        next = Ahead(last ? plan.next(e, end, gate_up, C * 2 * F) : nullptr, C * 2 * F, rows, C, 2 * F);
        Panels::multiply(rows, C, 2 * F, dhidden, 2 * F, gate_up_t, dinput, C, next);
        for (int64_t r = 0; r < count; r++)
          copy_or_stream(dinput + r * C, C, slots + mine[r] * C, s.tokens * s.active * C);
      }
      stream(second, F * C, ddown + e * F * C);
      stream(first, C * 2 * F, dgate_up + e * C * 2 * F);
    }
  });
  sum_slots(slots, s, nullptr, threads, dx);
  return 0;
}

}  // extern "C"
