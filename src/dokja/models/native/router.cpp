// A mixture's router: scores, choice, weights, load and balance of each token in one go.
//
// Shape letters: N tokens, A choices of each, E experts, C width.
#include "gemm.h"

using namespace dokja;

namespace {

constexpr int64_t BLOCK = 128;  // tokens
constexpr float TINY = 1e-20f;

struct Shape {
  int64_t tokens, width, experts, active, groups, kept, softmax;
  int64_t blocks() const { return (tokens + BLOCK - 1) / BLOCK; }
};

// The places of the `count` largest of `score` [n], largest first, the earlier of equals; never out of range.
void largest(const float* score, int64_t n, int64_t count, int64_t* place, float* value) {
  for (int64_t i = 0; i < count; i++) place[i] = i, value[i] = -INFINITY;
  for (int64_t e = 0; e < n; e++) {
    if (!(score[e] > value[count - 1])) continue;
    int64_t i = count - 1;
    for (; i > 0 && score[e] > value[i - 1]; i--) place[i] = place[i - 1], value[i] = value[i - 1];
    place[i] = e, value[i] = score[e];
  }
}

void to_scores(const Shape& s, float* row) {
  if (!s.softmax) return vectors(s.experts, [&](int64_t i, int n) { store_n(row + i, sigmoid(load_n(row + i, n)), n); });
  float top = row[0], total = 0.0f;
  for (int64_t e = 1; e < s.experts; e++) top = std::max(top, row[e]);
  vectors(s.experts, [&](int64_t i, int n) { store_n(row + i, exp(load_n(row + i, n) - top), n); });
  for (int64_t e = 0; e < s.experts; e++) total += row[e];
  vectors(s.experts, [&](int64_t i, int n) { store_n(row + i, load_n(row + i, n) / total, n); });
}

float total_of(const float* row, int64_t n) {
  Vec total = {};
  vectors(n, [&](int64_t i, int part) { total += load_n(row + i, part); });
  return sum(total);
}

Shape shape_of(const int64_t* p) { return {p[0], p[1], p[2], p[3], p[4], p[5], p[6]}; }

}  // namespace

extern "C" {

// shape: N, C, E, A, groups, groups kept, softmax (else sigmoid); N, C and E are multiples of 8. x: [N, C]; matrix: [E,
// C]; bias: [E], which chooses but does not weigh, or null. scores: [N, E], kept for the backward pass; expert, weight:
// [N, A]; load: [E], tokens of each expert; balance: E times the sum over experts of load share times mean share of the
// scores.
int dokja_router(const int64_t* shape, const float* x, const float* matrix, const float* bias, float scale, float* scores,
                 int64_t* expert, float* weight, int64_t* load, float* balance, int threads) {
  const Shape s = shape_of(shape);
  const int64_t C = s.width, E = s.experts, A = s.active, size = E / s.groups;
  std::vector<float> shares(s.blocks() * E);  // block by block, so that sums do not depend on threads
  parallel(s.blocks(), threads, [&](int64_t begin, int64_t end, int) {
    float* packed = thread_scratch().get(Panels::size(C, E));
    std::vector<float> choice(E), group(s.groups), value(std::max<int64_t>({A, s.kept, 2}));
    std::vector<int64_t> place(value.size());
    Panels::pack_transpose(matrix, E, C, packed);
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * BLOCK, count = std::min(BLOCK, s.tokens - first);
      Panels::multiply(count, E, C, x + first * C, C, packed, scores + first * E, E);
      for (int64_t t = first; t < first + count; t++) {
        float *row = scores + t * E, *pick = row, *share = shares.data() + b * E;
        to_scores(s, row);
        if (bias || s.groups > 1) {
          pick = choice.data();
          for (int64_t e = 0; e < E; e++) pick[e] = row[e] + (bias ? bias[e] : 0.0f);
        }
        if (s.groups > 1) {
          for (int64_t g = 0; g < s.groups; g++) {
            largest(pick + g * size, size, 2, place.data(), value.data());
            group[g] = value[0] + value[1];
          }
          largest(group.data(), s.groups, s.kept, place.data(), value.data());
          for (int64_t g = 0; g < s.groups; g++)
            if (std::find(place.begin(), place.begin() + s.kept, g) == place.begin() + s.kept)
              std::fill_n(pick + g * size, size, -INFINITY);
        }
        largest(pick, E, A, expert + t * A, value.data());
        float total = TINY;
        for (int64_t a = 0; a < A; a++) total += row[expert[t * A + a]];
        for (int64_t a = 0; a < A; a++) weight[t * A + a] = row[expert[t * A + a]] / total * scale;
        const float inverse = 1.0f / (total_of(row, E) + TINY);
        vectors(E, [&](int64_t i, int n) { store_n(share + i, load_n(share + i, n) + load_n(row + i, n) * inverse, n); });
      }
    }
  });
  std::fill_n(load, E, 0);
  for (int64_t i = 0; i < s.tokens * A; i++) load[expert[i]]++;
  double sum = 0.0;
  for (int64_t e = 0; e < E; e++) {
    double share = 0.0;
    for (int64_t b = 0; b < s.blocks(); b++) share += shares[b * E + e];
    sum += share * load[e];
  }
  *balance = (float)(sum * E / ((double)s.tokens * s.tokens * A));
  return 0;
}

// dweight: [N, A]; dbalance: one number. dx: [N, C]; dmatrix: zeros, [threads, E, C], to be summed over threads.
int dokja_router_backward(const int64_t* shape, const float* x, const float* matrix, float scale, const float* scores,
                          const int64_t* expert, const int64_t* load, const float* dweight, const float* dbalance,
                          float* dx, float* dmatrix, int threads) {
  const Shape s = shape_of(shape);
  const int64_t C = s.width, E = s.experts, A = s.active;
  std::vector<float> pull(E);  // of the balance on each share
  for (int64_t e = 0; e < E; e++) pull[e] = (float)(*dbalance * load[e] * E / ((double)s.tokens * s.tokens * A));
  parallel(s.blocks(), threads, [&](int64_t begin, int64_t end, int thread) {
    float* packed = thread_scratch().get(Panels::size(E, C) + BLOCK * E);
    float* slopes = packed + Panels::size(E, C);
    Panels::pack(matrix, E, C, packed);
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * BLOCK, count = std::min(BLOCK, s.tokens - first);
      for (int64_t t = first; t < first + count; t++) {
        const float *row = scores + t * E, *up = dweight + t * A;
        const int64_t* mine = expert + t * A;
        float* slope = slopes + (t - first) * E;
        const float inverse = 1.0f / (total_of(row, E) + TINY);
        Vec dot = {};
        vectors(E, [&](int64_t i, int n) { dot += load_n(pull.data() + i, n) * load_n(row + i, n); });
        const float shared = dokja::sum(dot) * inverse;
        vectors(E, [&](int64_t i, int n) { store_n(slope + i, (load_n(pull.data() + i, n) - shared) * inverse, n); });
        float total = TINY, drawn = 0.0f;
        for (int64_t a = 0; a < A; a++) total += row[mine[a]], drawn += up[a] * row[mine[a]];
        for (int64_t a = 0; a < A; a++) slope[mine[a]] += (up[a] - drawn / total) * (scale / total);
        Vec mean = {};
        if (s.softmax) vectors(E, [&](int64_t i, int n) { mean += load_n(slope + i, n) * load_n(row + i, n); });
        const float centre = dokja::sum(mean);
        vectors(E, [&](int64_t i, int n) {
          const Vec score = load_n(row + i, n), d = load_n(slope + i, n);
          store_n(slope + i, s.softmax ? score * (d - centre) : d * score * (1.0f - score), n);
        });
      }
      gemm<1>(E, C, count, slopes, E, x + first * C, C, dmatrix + thread * E * C, C, true);
      Panels::multiply(count, C, E, slopes, E, packed, dx + first * C, C);
    }
  });
  return 0;
}

}  // extern "C"
