// Attention of a step's queries over pages: cut into units that threads share by their work, and put together again.
#pragma once

#include "attention.h"
#include "packed.h"

#include <vector>

namespace dokja {

constexpr double SCORES = 1 << 15;  // multiplications that are worth another thread that is awake

struct Unit {  // heads of consecutive queries of one row against one part of the past
  int64_t query, queries, head, heads, kv_head, low, end;
  size_t partial;  // where its results are
};

// Queries of several rows at their positions. table: pages of each row, `table_width` a row. Out [N, H, V] is dense;
// queries are q_stride apart, their heads dense.
struct Paged {
  int64_t count, heads, kv_heads, dim, value_dim, size, table_width, window;  // window: 0 for none
  int64_t by[6];  // of keys, then of values: floats from page to page, place to place, head to head
  int64_t q_stride;
  float scale;
  const float *q, *k, *v, *sinks;
  const int32_t* table;
  const int64_t *rows, *positions;
  float* out;
};

// False when a query would look at a page that its row does not hold.
inline bool paged_attention(const Paged& p, int threads) {
  const int64_t count = p.count, heads = p.heads, dim = p.dim, value_dim = p.value_dim, size = p.size;
  const int64_t table_width = p.table_width, window = p.window, kv_heads = p.kv_heads, q_stride = p.q_stride;
  const int64_t *rows = p.rows, *positions = p.positions, group = heads / kv_heads;
  const int32_t* tables = p.table;
  const float *q = p.q, *k = p.k, *v = p.v, *sinks = p.sinks, scale = p.scale;
  float* out = p.out;
  const int64_t heads_each = std::min<int64_t>(group, LANES), queries_each = std::max<int64_t>(1, LANES / heads_each);
  const auto low_of = [&](int64_t position) { return window ? std::max<int64_t>(0, position - window + 1) : 0; };
  std::vector<Unit> units;
  std::vector<double> work = {0.0};  // of all units up to each
  std::vector<size_t> begins;        // the first unit of those that are parts of the same lanes
  size_t floats = 0;
  for (int64_t i = 0; i < count;) {
    int64_t n = 1;
    while (i + n < count && n < queries_each && rows[i + n] == rows[i] && positions[i + n] == positions[i] + n) n++;
    if (positions[i] < 0 || (positions[i] + n - 1) / size >= table_width) return false;
    const int64_t low = low_of(positions[i]), end = positions[i] + n;
    for (int64_t page = low / size; page <= (end - 1) / size; page++)
      if (tables[rows[i] * table_width + page] < 0) return false;
    for (int64_t kv = 0; kv < kv_heads; kv++)
      for (int64_t h = 0; h < group; h += heads_each) {
        const int64_t some = std::min(heads_each, group - h);
        begins.push_back(units.size());
        for (int64_t part = low / PART * PART; part < end; part += PART) {
          const int64_t from = std::max(part, low), to = std::min(part + PART, end);
          units.push_back({i, n, kv * group + h, some, kv, from, to, floats});
          floats += n * some * (value_dim + 2);
          work.push_back(work.back() + (double)(to - from) * n * some + 16);
        }
      }
    i += n;
  }
  begins.push_back(units.size());
  float* partials = keep<6>(floats);
  const auto partial = [&](const Unit& u) {
    float* at = partials + u.partial;
    const int64_t lanes = u.queries * u.heads;
    return Partial{at, at + lanes, at + 2 * lanes};
  };
  const double scored = work.back() * dim;
  const int64_t pieces = scored < SCORES ? 1 : 8 * threads;
  const auto cut = [&](int t) {
    return std::lower_bound(work.begin(), work.end(), work.back() * t / pieces) - work.begin();
  };
  share(pieces, threads, scored >= 16 * SCORES, [&](int64_t first, int64_t last) {
    for (int64_t i = cut((int)first); i < cut((int)last); i++) {
      const Unit& u = units[i];
      const float* lane[LANES];
      int64_t from[LANES], to[LANES];
      const int lanes = (int)(u.queries * u.heads);
      for (int l = 0; l < lanes; l++) {
        const int64_t n = u.query + l / u.heads;
        lane[l] = q + n * q_stride + (u.head + l % u.heads) * dim;
        from[l] = low_of(positions[n]);
        to[l] = positions[n] + 1;
      }
      const Pages keys{k + u.kv_head * p.by[2], p.by[0], p.by[1], dim, size};
      const Pages values{v + u.kv_head * p.by[5], p.by[3], p.by[4], value_dim, size};
      attend(lanes, lane, from, to, keys, values, tables + rows[u.query] * table_width, u.low, u.end, scale, partial(u));
    }
  });
  share((int64_t)begins.size() - 1, pieces == 1 ? 1 : threads, scored >= 16 * SCORES, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; b++) {
      const Unit& u = units[begins[b]];
      const Partial whole = partial(u);
      for (int64_t l = 0; l < u.queries * u.heads; l++) {
        const int64_t head = u.head + l % u.heads;
        float largest = whole.largest[l], sum = whole.sum[l], *mixed = whole.mixed + l * value_dim;
        const auto join = [&](float more_largest, float more_sum, const float* more) {
          const float top = std::max(largest, more_largest);
          const float base = top == -INFINITY ? 0.0f : top;
          const Vec both = {largest - base, more_largest - base};
          const Vec factor = exp(both);
          sum = sum * factor[0] + more_sum * factor[1];
          for (int64_t d = 0; d < value_dim; d++)
            mixed[d] = mixed[d] * factor[0] + (more ? more[d] * factor[1] : 0.0f);
          largest = top;
        };
        for (size_t p = begins[b] + 1; p < begins[b + 1]; p++) {
          const Partial more = partial(units[p]);
          join(more.largest[l], more.sum[l], more.mixed + l * value_dim);
        }
        if (sinks) join(sinks[head], 1.0f, nullptr);
        float* to = out + ((u.query + l / u.heads) * heads + head) * value_dim;
        for (int64_t d = 0; d < value_dim; d++) to[d] = mixed[d] / sum;
      }
    }
  });
  return true;
}

}  // namespace dokja
