// Causal attention of sequences over themselves, with grouped heads and an optional window.
//
// A vector's lanes are queries: LANES (position, head) pairs that share a key/value head, so that scores, their
// maxima, sums and gradients are all element-wise, and no head dimension needs to fill a vector. Scores are kept
// transposed, [key, lane], in blocks of KEYS keys with a running maximum (Dao et al. 2022); the backward pass computes
// them again from the log-sum. Logarithms and exponentials are to base 2, with log2(e) folded into the queries.
#include "gemm.h"

using namespace dokja;

namespace {

constexpr int64_t LANES = 48, KEYS = 64;
constexpr int VECS = LANES / W;
constexpr float LOG2E = 1.44269504f, LOWEST = -1e30f;

// 2^x for x <= 0 (somewhat above is fine), 0 below -126; a least-maximum fit, relative error 2e-9.
inline Vec exp2(Vec x) {
  const Vec shifted = x + 12582912.0f;
  const Vec r = x - (shifted - 12582912.0f);
  Vec p = r * 1.535336188e-04f + 1.339887442e-03f;
  p = p * r + 9.618437358e-03f;
  p = p * r + 5.550332471e-02f;
  p = p * r + 2.402264791e-01f;
  p = p * r + 6.931472029e-01f;
  p = p * r + 1.0f;
  return x < -126.0f ? Vec{} : (Vec)((Int)p + ((Int)shifted << 23));
}

constexpr int64_t MAX_DIM = 256;
const float ZEROS[MAX_DIM] = {};

template <class T> struct Heads {  // [batch, length, heads, dim], the last dimension contiguous
  T* data;
  int64_t batch, length, head;
  T* at(int64_t b, int64_t t, int64_t h) const { return data + b * batch + t * length + h * head; }
};
using View = Heads<const float>;
using Target = Heads<float>;

struct Shape {
  int64_t batch, length, heads, kv_heads, dim, value, window;
  int64_t group() const { return heads / kv_heads; }
  int64_t positions() const { return LANES / group(); }  // that a block of queries covers
  int64_t padded() const { return round_up(length, KEYS); }
  // A power of two would send every row of a transposed pack to the same few cache sets.
  int64_t stride() const { return padded() + 16; }
};

// One block of queries: positions first .. first + count - 1, each with every head of one group.
struct Block {
  int64_t first, count, group, head, window, used;  // used: lanes that hold a query
  Vec position[VECS];  // of each lane, as floats: exact up to 2^24

  Block(const Shape& s, int64_t kv_head, int64_t start) : first(start), group(s.group()), window(s.window) {
    count = std::min(s.positions(), s.length - first);
    head = kv_head * group;
    float p[LANES];
    for (int64_t& lane = used = 0; lane < count * group;)
      for (int64_t g = 0, t = first + lane / group; g < group; g++) p[lane++] = (float)t;
    for (int64_t lane = used; lane < LANES; lane++) p[lane] = (float)last();
    for (int i = 0; i < VECS; i++) position[i] = load(p + i * W);
  }
  int64_t last() const { return first + count - 1; }
  int64_t first_key() const { return std::max<int64_t>(0, first - window + 1) / ROWS * ROWS; }
  int64_t keys_from(int64_t key) const { return std::min(KEYS, round_up(last() + 1 - key, ROWS)); }
  bool masked(int64_t key, int64_t n) const { return key + n - 1 > first || key <= last() - window; }
  Vec hide(Vec score, int64_t key, int i, float hidden) const {
    const Vec at = splat((float)key);
    return (at <= position[i]) & (at > position[i] - (float)window) ? score : splat(hidden);
  }
  template <class F> void lanes(F f) const {
    for (int64_t p = 0; p < count; p++)
      for (int64_t g = 0; g < group; g++) f(first + p, head + g, p * group + g);
  }
  // [lane, dim] of x, transposed to [dim, LANES]; unused lanes are zero.
  void pack_columns(const View& x, int64_t b, int64_t dim, float factor, float* out) const {
    const float* rows[LANES];
    for (int64_t lane = used; lane < LANES; lane++) rows[lane] = ZEROS;
    lanes([&](int64_t t, int64_t h, int64_t lane) { rows[lane] = x.at(b, t, h); });
    for (int64_t lane = 0; lane < LANES; lane += W) pack_transposed(rows + lane, dim, factor, out + lane, LANES);
  }
  // The same as [LANES, width], zeros behind dim.
  void pack_rows(const View& x, int64_t b, int64_t dim, float factor, float* out, int64_t width) const {
    std::memset(out, 0, sizeof(float) * LANES * width);
    lanes([&](int64_t t, int64_t h, int64_t lane) {
      const float* in = x.at(b, t, h);
      vectors(dim, [&](int64_t d, int n) { store(out + lane * width + d, load_n(in + d, n) * factor); });
    });
  }
  // Back from [dim, LANES], lane i multiplied by factor[i].
  void unpack(const float* in, int64_t b, int64_t dim, const Vec (&factor)[VECS], const Target& out) const {
    float* rows[LANES];
    lanes([&](int64_t t, int64_t h, int64_t lane) { rows[lane] = out.at(b, t, h); });
    for (int i = 0; i * W < used; i++)
      unpack_transposed(in + i * W, LANES, dim, factor[i], rows + i * W, (int)std::min<int64_t>(W, used - i * W));
  }
};

// Keys or values of one head, [length, dim]: as [padded, width], or as [dim, stride]; zeros behind.
void pack_rows(const View& x, const Shape& s, int64_t b, int64_t h, int64_t dim, float* out, int64_t width) {
  std::memset(out + s.length * width, 0, sizeof(float) * (s.padded() - s.length) * width);
  for (int64_t t = 0; t < s.length; t++) {
    copy(x.at(b, t, h), dim, out + t * width);
    for (int64_t d = dim; d < width; d++) out[t * width + d] = 0.0f;
  }
}

void pack_columns(const View& x, const Shape& s, int64_t b, int64_t h, int64_t dim, float* out) {
  for (int64_t t = 0; t < s.padded(); t += W) {
    const float* rows[W];
    for (int64_t i = 0; i < W; i++) rows[i] = t + i < s.length ? x.at(b, t + i, h) : ZEROS;
    pack_transposed(rows, dim, 1.0f, out + t, s.stride());
  }
}

void forward_head(const Shape& s, const View& q, const View& k, const View& v, float scale, int64_t b, int64_t kv,
                  const Target& out, float* log_sum, Scratch& scratch) {
  const int64_t values = round_up(s.value, ROWS);
  float* keys = scratch.get(s.dim * s.stride() + s.padded() * values + (s.dim + values + KEYS) * LANES);
  float* rows = keys + s.dim * s.stride();
  float* queries = rows + s.padded() * values;
  float* mixed = queries + s.dim * LANES;
  float* scores = mixed + values * LANES;
  pack_columns(k, s, b, kv, s.dim, keys);
  pack_rows(v, s, b, kv, s.value, rows, values);
  for (int64_t start = 0; start < s.length; start += s.positions()) {
    const Block block(s, kv, start);
    block.pack_columns(q, b, s.dim, scale * LOG2E, queries);
    Vec peak[VECS], total[VECS] = {};
    for (int i = 0; i < VECS; i++) peak[i] = splat(LOWEST);
    std::memset(mixed, 0, sizeof(float) * values * LANES);
    for (int64_t key = block.first_key(); key <= block.last(); key += KEYS) {
      const int64_t n = block.keys_from(key);
      gemm<1>(n, LANES, s.dim, keys + key, s.stride(), queries, LANES, scores, LANES, false);
      if (block.masked(key, n))
        for (int64_t j = 0; j < n; j++)
          for (int i = 0; i < VECS; i++) {
            float* score = scores + j * LANES + i * W;
            store(score, block.hide(load(score), key + j, i, LOWEST));
          }
      Vec tops[VECS];
      for (int i = 0; i < VECS; i++) tops[i] = peak[i];
      for (int64_t j = 0; j < n; j++)
        for (int i = 0; i < VECS; i++) tops[i] = max(tops[i], load(scores + j * LANES + i * W));
      for (int i = 0; i < VECS; i++) {
        const Vec top = tops[i];
        const Vec shrink = exp2(peak[i] - top);
        Vec sums = {};
        for (int64_t j = 0; j < n; j++) {
          float* score = scores + j * LANES + i * W;
          const Vec p = exp2(load(score) - top);
          store(score, p);
          sums += p;
        }
        peak[i] = top;
        total[i] = total[i] * shrink + sums;
        for (int64_t d = 0; d < values; d++) {
          float* to = mixed + d * LANES + i * W;
          store(to, load(to) * shrink);
        }
      }
      gemm<1>(values, LANES, n, rows + key * values, values, scores, LANES, mixed, LANES, true);
    }
    float logs[LANES];
    Vec inverse[VECS];
    for (int i = 0; i < VECS; i++) {
      inverse[i] = 1.0f / total[i];
      store(logs + i * W, peak[i]);
      for (int j = 0; j < W; j++) logs[i * W + j] += std::log2(total[i][j]);
    }
    block.unpack(mixed, b, s.value, inverse, out);
    block.lanes([&](int64_t t, int64_t h, int64_t lane) { log_sum[(b * s.length + t) * s.heads + h] = logs[lane]; });
  }
}

struct Gradients {
  Target q, k, v;
};

void backward_head(const Shape& s, const View& q, const View& k, const View& v, float scale, const float* out,
                   const float* log_sum, const View& g, int64_t b, int64_t kv, const Gradients& grad, Scratch& scratch) {
  const int64_t dims = round_up(s.dim, ROWS), wide = round_up(s.dim, W), wide_value = round_up(s.value, W);
  const int64_t columns = (s.dim + s.value) * s.stride(), tall = s.padded() * (dims + wide + wide_value);
  float* keys = scratch.get(columns + tall + (s.dim + s.value + dims + wide + wide_value + 2 * KEYS) * LANES);
  float* values = keys + s.dim * s.stride();
  float* rows = values + s.value * s.stride();
  float* dk = rows + s.padded() * dims;
  float* dv = dk + s.padded() * wide;
  float* queries = dv + s.padded() * wide_value;
  float* ups = queries + s.dim * LANES;
  float* dq = ups + s.value * LANES;
  float* query_rows = dq + dims * LANES;
  float* up_rows = query_rows + wide * LANES;
  float* scores = up_rows + wide_value * LANES;
  float* slopes = scores + KEYS * LANES;
  pack_columns(k, s, b, kv, s.dim, keys);
  pack_columns(v, s, b, kv, s.value, values);
  Vec scales[VECS];
  for (int i = 0; i < VECS; i++) scales[i] = splat(scale);
  pack_rows(k, s, b, kv, s.dim, rows, dims);
  std::memset(dk, 0, sizeof(float) * s.padded() * (wide + wide_value));
  for (int64_t start = 0; start < s.length; start += s.positions()) {
    const Block block(s, kv, start);
    block.pack_columns(q, b, s.dim, scale * LOG2E, queries);
    block.pack_rows(q, b, s.dim, scale, query_rows, wide);
    block.pack_columns(g, b, s.value, 1.0f, ups);
    block.pack_rows(g, b, s.value, 1.0f, up_rows, wide_value);
    std::memset(dq, 0, sizeof(float) * dims * LANES);
    float logs[LANES] = {}, pulls[LANES] = {};  // pull: sum over values of out * dout
    block.lanes([&](int64_t t, int64_t h, int64_t lane) {
      const int64_t row = (b * s.length + t) * s.heads + h;
      logs[lane] = log_sum[row];
      Vec dot = {};
      vectors(s.value, [&](int64_t i, int n) {
        dot += load_n(out + row * s.value + i, n) * load(up_rows + lane * wide_value + i);
      });
      pulls[lane] = sum(dot);
    });
    for (int64_t key = block.first_key(); key <= block.last(); key += KEYS) {
      const int64_t n = block.keys_from(key);
      const bool masked = block.masked(key, n);
      gemm<1>(n, LANES, s.dim, keys + key, s.stride(), queries, LANES, scores, LANES, false);
      gemm<1>(n, LANES, s.value, values + key, s.stride(), ups, LANES, slopes, LANES, false);
      for (int i = 0; i < VECS; i++) {
        const Vec log = load(logs + i * W), pull = load(pulls + i * W);
        for (int64_t j = 0; j < n; j++) {
          float *score = scores + j * LANES + i * W, *slope = slopes + j * LANES + i * W;
          Vec x = load(score) - log;
          if (masked) x = block.hide(x, key + j, i, LOWEST);
          const Vec p = exp2(x);
          store(score, p);
          store(slope, p * (load(slope) - pull));
        }
      }
      gemm<1>(dims, LANES, n, rows + key * dims, dims, slopes, LANES, dq, LANES, true);
      gemm<LANES>(n, wide_value, LANES, scores, 1, up_rows, wide_value, dv + key * wide_value, wide_value, true);
      gemm<LANES>(n, wide, LANES, slopes, 1, query_rows, wide, dk + key * wide, wide, true);
    }
    block.unpack(dq, b, s.dim, scales, grad.q);
  }
  for (int64_t t = 0; t < s.length; t++) {
    copy_or_stream(dk + t * wide, s.dim, grad.k.at(b, t, kv), s.batch * s.length * s.kv_heads * s.dim);
    copy_or_stream(dv + t * wide_value, s.value, grad.v.at(b, t, kv), s.batch * s.length * s.kv_heads * s.value);
  }
}

}  // namespace

extern "C" {

// q: [batch, length, heads, dim], k: [batch, length, kv_heads, dim], v: [.., value], each with three strides;
// out: [batch, length, heads, value] and log_sum: [batch, length, heads] contiguous. heads / kv_heads <= LANES,
// dim and value <= MAX_DIM.
int dokja_attention(const int64_t* shape, float scale, const float* q, const float* k, const float* v,
                    const int64_t* strides, float* out, float* log_sum, int threads) {
  const Shape s = {shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6]};
  const View vq = {q, strides[0], strides[1], strides[2]}, vk = {k, strides[3], strides[4], strides[5]},
             vv = {v, strides[6], strides[7], strides[8]};
  const Target to = {out, s.length * s.heads * s.value, s.heads * s.value, s.value};
  parallel(s.batch * s.kv_heads, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      forward_head(s, vq, vk, vv, scale, i / s.kv_heads, i % s.kv_heads, to, log_sum, thread_scratch());
  });
  return 0;
}

// g: as out, contiguous; dq, dk, dv: with the three strides each of `targets`.
int dokja_attention_backward(const int64_t* shape, float scale, const float* q, const float* k, const float* v,
                             const int64_t* strides, const float* out, const float* log_sum, const float* g, float* dq,
                             float* dk, float* dv, const int64_t* targets, int threads) {
  const Shape s = {shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6]};
  const View vq = {q, strides[0], strides[1], strides[2]}, vk = {k, strides[3], strides[4], strides[5]},
             vv = {v, strides[6], strides[7], strides[8]},
             vg = {g, s.length * s.heads * s.value, s.heads * s.value, s.value};
  const Gradients grad = {{dq, targets[0], targets[1], targets[2]},
                          {dk, targets[3], targets[4], targets[5]},
                          {dv, targets[6], targets[7], targets[8]}};
  parallel(s.batch * s.kv_heads, threads, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      backward_head(s, vq, vk, vv, scale, out, log_sum, vg, i / s.kv_heads, i % s.kv_heads, grad, thread_scratch());
  });
  return 0;
}

}  // extern "C"
