// Layers of a decoder over a step's tokens as one call: grouped-query attention over pages and a gated MLP.
#include "../../models/native/norm.h"
#include "linear.h"
#include "paged.h"

using namespace dokja;

namespace {

struct Norm {
  const float* weight;  // null: nothing is normed
  float offset, eps;
  void operator()(const float* in, int64_t width, float* out) const {
    if (weight) rms_norm(in, width, weight, offset, eps, out);
    else if (in != out) std::memcpy(out, in, width * 4);
  }
};

struct Layer {  // the same fields as `Layer` in native/__init__.py
  Norm mixer_in, mixer_out, ffn_in, ffn_out, q_norm, k_norm;
  Matrix qkv, out, gate_up, down;  // gate_up without data: the feed-forward is run elsewhere
  int64_t width, heads, kv_heads, dim, window, rotated, interleaved, activation, page_size, table_width;
  float scale, residual;
  const float *sinks, *cos, *sin;  // angles: [positions, rotated / 2]
  float *k, *v;                    // pages [pages, page_size, kv_heads, dim]
  const int32_t* table;
};

// Rotates the first dimensions of a head. Interleaved pairs are brought to halves, as `ops.rotate` does.
void rotate(float* head, int64_t rotated, bool interleaved, const float* cos, const float* sin) {
  const int64_t half = rotated / 2;
  float pairs[1024];
  if (interleaved) {
    std::memcpy(pairs, head, rotated * 4);
    for (int64_t i = 0; i < half; i++) {
      head[i] = pairs[2 * i];
      head[half + i] = pairs[2 * i + 1];
    }
  }
  vectors(half, [&](int64_t i, int n) {
    const Vec a = load_n(head + i, n), b = load_n(head + half + i, n), c = load_n(cos + i, n), s = load_n(sin + i, n);
    store_n(head + i, a * c - b * s, n);
    store_n(head + half + i, b * c + a * s, n);
  });
}

bool run(const Layer& l, int64_t count, const int64_t* rows, const int64_t* positions, float* x, float* normed,
         int threads) {
  const int64_t size = l.width, heads_size = l.heads * l.dim, kv_size = l.kv_heads * l.dim;
  const int64_t qkv_size = heads_size + 2 * kv_size;
  float *qkv = keep<7>(count * qkv_size), *mixed = keep<8>(count * std::max(heads_size, size));
  for (int64_t n = 0; n < count; n++)
    if (positions[n] < 0 || positions[n] / l.page_size >= l.table_width ||
        l.table[rows[n] * l.table_width + positions[n] / l.page_size] < 0)
      return false;
  each(count, size, threads, [&](int64_t n) { l.mixer_in(x + n * size, size, normed + n * size); });
  linear(l.qkv, normed, size, count, qkv, qkv_size, threads);
  each(count, qkv_size, threads, [&](int64_t n) {
    float *q = qkv + n * qkv_size, *k = q + heads_size, *v = k + kv_size;
    const int64_t turn = positions[n] * (l.rotated / 2);
    for (int64_t h = 0; h < l.heads + l.kv_heads; h++) {
      float* head = q + h * l.dim;
      const Norm& norm = h < l.heads ? l.q_norm : l.k_norm;
      norm(head, l.dim, head);
      if (l.rotated) rotate(head, l.rotated, l.interleaved, l.cos + turn, l.sin + turn);
    }
    const int64_t page = l.table[rows[n] * l.table_width + positions[n] / l.page_size];
    const int64_t place = (page * l.page_size + positions[n] % l.page_size) * kv_size;
    std::memcpy(l.k + place, k, kv_size * 4);
    std::memcpy(l.v + place, v, kv_size * 4);
  });
  const int64_t by_page = l.page_size * kv_size;
  const Paged paged{count, l.heads, l.kv_heads, l.dim, l.dim, l.page_size, l.table_width, l.window,
                    {by_page, kv_size, l.dim, by_page, kv_size, l.dim}, qkv_size, l.scale,
                    qkv, l.k, l.v, l.sinks, l.table, rows, positions, mixed};
  if (!paged_attention(paged, threads)) return false;
  float* part = qkv;  // no longer needed: what each half adds to the stream, if it is wide enough
  if (qkv_size < size) part = keep<9>(count * size);
  const auto add = [&](int64_t n, const Norm& norm) {
    float *to = x + n * size, *given = part + n * size;
    norm(given, size, given);
    vectors(size, [&](int64_t i, int lanes) {
      store_n(to + i, load_n(to + i, lanes) + load_n(given + i, lanes) * l.residual, lanes);
    });
  };
  linear(l.out, mixed, heads_size, count, part, size, threads);
  each(count, size, threads, [&](int64_t n) {
    add(n, l.mixer_out);
    l.ffn_in(x + n * size, size, normed + n * size);
  });
  if (!l.gate_up.data) return true;
  gated_mlp(l.gate_up, l.down, l.activation, normed, count, part, threads);
  each(count, size, threads, [&](int64_t n) { add(n, l.ffn_out); });
  return true;
}

}  // namespace

// x [N, C]: the residual stream, replaced by what leaves the last of the layers; where its feed-forward is run elsewhere,
// by what enters that, and `normed` [N, C] gets what it reads. With a norm, `normed` gets what that makes of x. rows,
// positions: where each token stands.
extern "C" int dokja_layers(const Layer* layers, int64_t depth, const Norm* norm, int64_t count, const int64_t* rows,
                            const int64_t* positions, float* x, float* normed, int threads) {
  for (int64_t i = 0; i < depth; i++)
    if (!run(layers[i], count, rows, positions, x, normed, threads)) return 1;
  const int64_t size = layers->width;
  if (norm) each(count, size, threads, [&](int64_t n) { (*norm)(x + n * size, size, normed + n * size); });
  return 0;
}

struct Joint {  // the same fields as `Joint` in native/__init__.py
  Norm embedding_norm, hidden_norm, norm;
  Matrix projection;  // of both, [C, 2 C]
};

// An MTP layer: states and the embeddings of the tokens that follow [N, C] to the states that the head reads, `out`; x
// [N, C] is overwritten.
extern "C" int dokja_mtp(const Joint* joint, const Layer* layer, int64_t count, const int64_t* rows,
                         const int64_t* positions, const float* embedding, const float* state, float* x, float* out,
                         int threads) {
  const int64_t size = layer->width;
  float* both = keep<11>(count * 2 * size);
  each(count, size, threads, [&](int64_t n) {
    joint->embedding_norm(embedding + n * size, size, both + n * 2 * size);
    joint->hidden_norm(state + n * size, size, both + n * 2 * size + size);
  });
  linear(joint->projection, both, 2 * size, count, x, size, threads);
  if (!run(*layer, count, rows, positions, x, out, threads)) return 1;
  each(count, size, threads, [&](int64_t n) { joint->norm(x + n * size, size, out + n * size); });
  return 0;
}

// RMSNorm of each of some rows.
extern "C" int dokja_norm(const Norm* norm, const float* x, int64_t count, int64_t width, float* out, int threads) {
  each(count, width, threads, [&](int64_t n) { (*norm)(x + n * width, width, out + n * width); });
  return 0;
}
