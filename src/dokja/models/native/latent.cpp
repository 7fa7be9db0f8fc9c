// Queries, keys and values of latent attention from the normalised stream: down to the latents, their norms, up to the
// heads, rotation, and the shared key beside each head's own; block of rows by block, so that what lies between never
// leaves the nearest caches.
//
// Interleaved pairs are brought to halves by the order of the weights' rows, which costs nothing for each token.
#include "gemm.h"
#include "norm.h"

using namespace dokja;

namespace {

constexpr int64_t BLOCK = 128;  // rows

struct Shape {
  int64_t rows, length, width, q_rank, kv_rank, heads, nope, rope, value, interleaved;
  int64_t dim() const { return nope + rope; }
  int64_t queries() const { return heads * dim(); }
  int64_t keys() const { return heads * (nope + value); }   // with the values
  int64_t latents() const { return q_rank + kv_rank + rope; }
  int64_t blocks() const { return (rows + BLOCK - 1) / BLOCK; }
};

struct Input {
  const float *x, *q_down, *q_norm, *q_up, *kv_down, *kv_norm, *kv_up, *cos, *sin;
  float offset, q_eps, kv_eps;
};

// Row `at` of a matrix whose rotated rows are `rope` of each `period`, at its end: where the weights have it.
int64_t source(const Shape& s, int64_t at, int64_t period) {
  const int64_t i = at % period - (period - s.rope), half = s.rope / 2;
  if (!s.interleaved || i < 0) return at;
  return at - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

// The two matrices down as one, and the queries' matrix up, with rotated rows in halves.
void order(const Shape& s, const Input& in, float* down, float* up) {
  copy(in.q_down, s.q_rank * s.width, down);
  const int64_t rows = s.kv_rank + s.rope;
  for (int64_t i = 0; i < rows; i++)
    copy(in.kv_down + source(s, i, rows) * s.width, s.width, down + (s.q_rank + i) * s.width);
  for (int64_t i = 0; i < s.queries(); i++) copy(in.q_up + source(s, i, s.dim()) * s.q_rank, s.q_rank, up + i * s.q_rank);
}

// (first, second) turned by the angles of a row; sign -1 turns backwards.
void turn(const Shape& s, const Input& in, int64_t row, float sign, const float* from, float* to) {
  const int64_t half = s.rope / 2;
  const float *c = in.cos + row % s.length * half, *z = in.sin + row % s.length * half;
  vectors(half, [&](int64_t i, int n) {
    const Vec a = load_n(from + i, n), b = load_n(from + half + i, n), co = load_n(c + i, n), si = load_n(z + i, n) * sign;
    store_n(to + i, a * co - b * si, n);
    store_n(to + half + i, b * co + a * si, n);
  });
}

Shape shape_of(const int64_t* p) { return {p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9]}; }

Input input_of(const void* const* p, const float* f) {
  const auto at = [&](int i) { return static_cast<const float*>(p[i]); };
  return {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7), at(8), f[0], f[1], f[2]};
}

}  // namespace

extern "C" {

// shape: rows (sequences times length), length, width, ranks of queries and of keys, heads, head dimensions without and
// with rotation, value dimension, interleaved; rows and matrices' sides are multiples of 8. input: x [rows, width], then
// weights as nn.Linear has them, cos and sin [length, rope / 2]; floats: what is added to the norms' weights, epsilons.
// latent: [rows, latents] and rstd: [rows, 2], kept for the backward pass; q, k: [rows, heads, dim]; v: [rows, heads,
// value].
int dokja_latent(const int64_t* shape, const void* const* input, const float* floats, float* latent, float* rstd, float* q,
                 float* k, float* v, int threads) {
  const Shape s = shape_of(shape);
  const Input in = input_of(input, floats);
  const int64_t C = s.width, L = s.latents(), Q = s.queries(), K = s.keys(), D = s.dim();
  parallel(s.blocks(), threads, [&](int64_t begin, int64_t end, int) {
    const int64_t packed[] = {Panels::size(C, L), Panels::size(s.q_rank, Q), Panels::size(s.kv_rank, K)};
    float* first = thread_scratch().get(packed[0] + packed[1] + packed[2] + L * C + Q * s.q_rank + BLOCK * (L + K));
    float *second = first + packed[0], *third = second + packed[1], *down = third + packed[2], *up = down + L * C;
    float *q_normed = up + Q * s.q_rank, *kv_normed = q_normed + BLOCK * s.q_rank, *shared = kv_normed + BLOCK * s.kv_rank;
    float* both = shared + BLOCK * s.rope;
    order(s, in, down, up);
    Panels::pack_transpose(down, L, C, first);
    Panels::pack_transpose(up, Q, s.q_rank, second);
    Panels::pack_transpose(in.kv_up, K, s.kv_rank, third);
    for (int64_t b = begin; b < end; b++) {
      const int64_t row = b * BLOCK, count = std::min(BLOCK, s.rows - row);
      Panels::multiply(count, L, C, in.x + row * C, C, first, latent + row * L, L);
      for (int64_t r = 0; r < count; r++) {
        const float* mine = latent + (row + r) * L;
        float* scale = rstd + (row + r) * 2;
        scale[0] = rms_norm(mine, s.q_rank, in.q_norm, in.offset, in.q_eps, q_normed + r * s.q_rank);
        scale[1] = rms_norm(mine + s.q_rank, s.kv_rank, in.kv_norm, in.offset, in.kv_eps, kv_normed + r * s.kv_rank);
        turn(s, in, row + r, 1.0f, mine + s.q_rank + s.kv_rank, shared + r * s.rope);
      }
      Panels::multiply(count, Q, s.q_rank, q_normed, s.q_rank, second, q + row * Q, Q);
      Panels::multiply(count, K, s.kv_rank, kv_normed, s.kv_rank, third, both, K);
      for (int64_t r = 0; r < count; r++)
        for (int64_t h = 0; h < s.heads; h++) {
          const int64_t head = (row + r) * s.heads + h;
          const float* from = both + r * K + h * (s.nope + s.value);
          turn(s, in, row + r, 1.0f, q + head * D + s.nope, q + head * D + s.nope);
          copy(from, s.nope, k + head * D);
          copy(shared + r * s.rope, s.rope, k + head * D + s.nope);
          copy(from + s.nope, s.value, v + head * s.value);
        }
    }
  });
  return 0;
}

// dq, dk, dv: as q, k and v. gradient: for each thread, zeros on entry, the weights' gradients in the order of the input.
int dokja_latent_backward(const int64_t* shape, const void* const* input, const float* floats, const float* latent,
                          const float* rstd, const float* dq, const float* dk, const float* dv, float* dx,
                          float* gradient, int threads) {
  const Shape s = shape_of(shape);
  const Input in = input_of(input, floats);
  const int64_t C = s.width, L = s.latents(), Q = s.queries(), K = s.keys(), D = s.dim(), R = s.kv_rank + s.rope;
  const int64_t total = L * C + s.q_rank + Q * s.q_rank + s.kv_rank + K * s.kv_rank;
  parallel(s.blocks(), threads, [&](int64_t begin, int64_t end, int thread) {
    const int64_t packed[] = {Panels::size(L, C), Panels::size(Q, s.q_rank), Panels::size(K, s.kv_rank)};
    const int64_t ordered = L * C + Q * s.q_rank;
    float* first = thread_scratch().get(packed[0] + packed[1] + packed[2] + 2 * ordered + BLOCK * (2 * L + Q + K));
    float *second = first + packed[0], *third = second + packed[1], *down = third + packed[2], *up = down + L * C;
    float *ddown = down + ordered, *dup = ddown + L * C, *dqueries = ddown + ordered, *dboth = dqueries + BLOCK * Q;
    float *q_normed = dboth + BLOCK * K, *kv_normed = q_normed + BLOCK * s.q_rank;
    float* dlatent = kv_normed + BLOCK * s.kv_rank;
    float *dq_down = gradient + thread * total, *dq_norm = dq_down + s.q_rank * C, *dq_up = dq_norm + s.q_rank;
    float *dkv_down = dq_up + Q * s.q_rank, *dkv_norm = dkv_down + R * C, *dkv_up = dkv_norm + s.kv_rank;
    order(s, in, down, up);
    std::memset(ddown, 0, sizeof(float) * ordered);
    Panels::pack(down, L, C, first);
    Panels::pack(up, Q, s.q_rank, second);
    Panels::pack(in.kv_up, K, s.kv_rank, third);
    for (int64_t b = begin; b < end; b++) {
      const int64_t row = b * BLOCK, count = std::min(BLOCK, s.rows - row);
      for (int64_t r = 0; r < count; r++) {
        float* shared = dlatent + r * L + s.q_rank + s.kv_rank;
        for (int64_t h = 0; h < s.heads; h++) {
          const int64_t head = (row + r) * s.heads + h;
          float *query = dqueries + r * Q + h * D, *to = dboth + r * K + h * (s.nope + s.value);
          copy(dq + head * D, s.nope, query);
          turn(s, in, row + r, -1.0f, dq + head * D + s.nope, query + s.nope);
          copy(dk + head * D, s.nope, to);
          copy(dv + head * s.value, s.value, to + s.nope);
          vectors(s.rope, [&](int64_t i, int n) {
            const Vec part = load_n(dk + head * D + s.nope + i, n);
            store_n(shared + i, h ? load_n(shared + i, n) + part : part, n);
          });
        }
        turn(s, in, row + r, -1.0f, shared, shared);
        const float *mine = latent + (row + r) * L, *scale = rstd + (row + r) * 2;
        scaled(mine, s.q_rank, in.q_norm, in.offset, scale[0], q_normed + r * s.q_rank);
        scaled(mine + s.q_rank, s.kv_rank, in.kv_norm, in.offset, scale[1], kv_normed + r * s.kv_rank);
      }
      gemm<1>(Q, s.q_rank, count, dqueries, Q, q_normed, s.q_rank, dup, s.q_rank, true);
      gemm<1>(K, s.kv_rank, count, dboth, K, kv_normed, s.kv_rank, dkv_up, s.kv_rank, true);
      Panels::multiply(count, s.q_rank, Q, dqueries, Q, second, dlatent, L);
      Panels::multiply(count, s.kv_rank, K, dboth, K, third, dlatent + s.q_rank, L);
      for (int64_t r = 0; r < count; r++) {
        const float *mine = latent + (row + r) * L, *scale = rstd + (row + r) * 2;
        float* d = dlatent + r * L;
        rms_norm_backward(mine, s.q_rank, in.q_norm, in.offset, scale[0], d, nullptr, d, dq_norm);
        rms_norm_backward(mine + s.q_rank, s.kv_rank, in.kv_norm, in.offset, scale[1], d + s.q_rank, nullptr, d + s.q_rank,
                          dkv_norm);
      }
      gemm<1>(L, C, count, dlatent, L, in.x + row * C, C, ddown, C, true);
      Panels::multiply(count, C, L, dlatent, L, first, dx + row * C, C);
    }
    copy(ddown, s.q_rank * C, dq_down);
    for (int64_t i = 0; i < R; i++) copy(ddown + (s.q_rank + i) * C, C, dkv_down + source(s, i, R) * C);
    for (int64_t i = 0; i < Q; i++) copy(dup + i * s.q_rank, s.q_rank, dq_up + source(s, i, D) * s.q_rank);
  });
  return 0;
}

}  // extern "C"
