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
