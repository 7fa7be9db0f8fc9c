// A mixture's experts for few or many tokens: rows gathered by expert, each expert's weights read once.
#include <vector>

#include "linear.h"

using namespace dokja;

// out[n] = further[n] + sum over a of share[n, a] * expert[n, a](x[n]), the sum in the order of a. shape: tokens,
// active, experts, activation. Refuses an expert out of range.
extern "C" int dokja_experts_packed(const int64_t* shape, const Matrix* gate_up, const Matrix* down, const float* x,
                                    const int64_t* expert, const float* share, const float* further, float* out,
                                    int threads) {
  const int64_t tokens = shape[0], active = shape[1], experts = shape[2], activation = shape[3];
  const int64_t width = gate_up->inputs, outputs = down->outputs, slots = tokens * active;
  std::vector<int64_t> begin(experts + 1), order(slots);
  for (int64_t i = 0; i < slots; i++) {
    if (expert[i] < 0 || expert[i] >= experts) return 1;
    begin[expert[i] + 1]++;
  }
  int64_t most = 0;
  for (int64_t e = 0; e < experts; e++) {
    most = std::max(most, begin[e + 1]);
    begin[e + 1] += begin[e];
  }
  std::vector<int64_t> next(begin.begin(), begin.end() - 1);
  for (int64_t i = 0; i < slots; i++) order[next[expert[i]]++] = i;
  float *rows = keep<3>(most * width), *results = keep<4>(slots * outputs), *given = keep<5>(most * outputs);
  for (int64_t e = 0; e < experts; e++) {
    const int64_t count = begin[e + 1] - begin[e];
    if (!count) continue;
    for (int64_t i = 0; i < count; i++)
      std::memcpy(rows + i * width, x + order[begin[e] + i] / active * width, width * 4);
    gated_mlp(gate_up[e], down[e], activation, rows, count, given, threads);
    for (int64_t i = 0; i < count; i++)
      std::memcpy(results + order[begin[e] + i] * outputs, given + i * outputs, outputs * 4);
  }
  for (int64_t n = 0; n < tokens; n++)
    vectors(outputs, [&](int64_t c, int lanes) {
      Vec sum = further ? load_n(further + n * outputs + c, lanes) : Vec{};
      for (int64_t a = 0; a < active; a++)
        sum += share[n * active + a] * load_n(results + (n * active + a) * outputs + c, lanes);
      store_n(out + n * outputs + c, sum, lanes);
    });
  return 0;
}

namespace {

struct Best {  // the `most` largest of what is offered, falling; the first offered among equals
  std::vector<std::pair<float, int64_t>> held;
  size_t most;
  void offer(float value, int64_t index) {
    if (held.size() == most && !(value > held.back().first)) return;
    if (held.size() == most) held.pop_back();
    auto at = held.end();
    while (at != held.begin() && value > (at - 1)->first) at--;
    held.insert(at, {value, index});
  }
};

}  // namespace

struct Router {  // the same fields as `Router` in native/__init__.py
  const float* bias;  // or null
  int64_t experts, active, groups, kept, softmax, soft;
  float scale;
};

// `route` of models/ffn.py from the router's logits [N, E]: expert and share [N, A], the likeliest first.
extern "C" int dokja_route(const Router* router, const float* logits, int64_t count, int64_t* expert, float* share,
                           int threads) {
  const Router& r = *router;
  if (r.active > r.experts || r.experts % r.groups) return 1;
  each(count, 16 * r.experts, threads, [&](int64_t n) {
    static thread_local std::vector<float> score, choice;
    static thread_local Best best, group;
    score.resize(r.experts), choice.resize(r.experts);
    const float* x = logits + n * r.experts;
    float largest = x[0];
    for (int64_t e = 1; e < r.experts; e++) largest = std::max(largest, x[e]);
    vectors(r.experts, [&](int64_t e, int lanes) {
      const Vec v = load_n(x + e, lanes);
      store_n(score.data() + e, r.softmax ? exp(v - largest) : sigmoid(v), lanes);
    });
    if (r.softmax) {
      float sum = 0.0f;
      for (const float one : score) sum += one;
      for (float& one : score) one /= sum;
    }
    for (int64_t e = 0; e < r.experts; e++) choice[e] = r.bias ? score[e] + r.bias[e] : score[e];
    if (r.groups > 1) {
      const int64_t size = r.experts / r.groups;
      group.most = (size_t)r.kept;
      group.held.clear();
      for (int64_t g = 0; g < r.groups; g++) {
        best.most = 2;
        best.held.clear();
        for (int64_t e = g * size; e < (g + 1) * size; e++) best.offer(choice[e], e);
        float both = 0.0f;
        for (const auto& one : best.held) both += one.first;
        group.offer(both, g);
      }
      for (int64_t g = 0; g < r.groups; g++) {
        bool stays = false;
        for (const auto& one : group.held) stays |= one.second == g;
        if (!stays) std::fill_n(choice.begin() + g * size, size, r.soft ? 0.0f : -INFINITY);
      }
    }
    best.most = (size_t)r.active;
    best.held.clear();
    for (int64_t e = 0; e < r.experts; e++) best.offer(choice[e], e);
    float sum = 0.0f;
    for (const auto& one : best.held) sum += score[one.second];
    for (int64_t a = 0; a < r.active; a++) {
      expert[n * r.active + a] = best.held[a].second;
      share[n * r.active + a] = score[best.held[a].second] / (sum + 1e-20f) * r.scale;
    }
  });
  return 0;
}
