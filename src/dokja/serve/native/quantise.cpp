// Weights rounded to 8 or 4 bits, the same as serve/weights.py does without kernels.
#include "packed.h"

using namespace dokja;

namespace {

constexpr int LANES = 8, TOP4 = 15;
constexpr double LEAST = 1e-9, ENDS[] = {1.0, 0.95, 0.9, 0.85};  // shares of a range's ends that are tried

inline uint16_t to_bf16(float f) {  // to the nearest, the even one of two
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  if (f != f) return 0x7FC0;
  return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

inline int whole(float x, int least, int most) {
  const float v = std::nearbyint(x);
  return !(v > least) ? least : v > most ? most : (int)v;
}

struct Fit { double scale, low; };

// Of ranges that leave out some of the ends, the one whose whole numbers, fitted by least squares, err least.
Fit fit(const double* x) {
  double low = x[0], high = x[0], lanes[LANES] = {}, best = -1.0;
  for (int i = 0; i < HALF; i += LANES)
    for (int l = 0; l < LANES; l++) {
      low = std::min(low, x[i + l]);
      high = std::max(high, x[i + l]);
      lanes[l] += x[i + l];
    }
  double sum_x = 0.0;
  for (int l = 0; l < LANES; l++) sum_x += lanes[l];
  Fit found{0.0, sum_x / HALF};
  for (const double below : ENDS)
    for (const double above : ENDS) {
      const double step = std::max((high * above - low * below) / TOP4, 1e-30), from = low * below;
      double q[LANES] = {}, qq[LANES] = {}, qx[LANES] = {};
      for (int i = 0; i < HALF; i += LANES)
        for (int l = 0; l < LANES; l++) {
          double v = std::nearbyint((x[i + l] - from) / step);
          v = v > 0.0 ? v : 0.0;
          v = v < TOP4 ? v : TOP4;
          q[l] += v;
          qq[l] += v * v;
          qx[l] += v * x[i + l];
        }
      double sum_q = 0.0, sum_qq = 0.0, sum_qx = 0.0;
      for (int l = 0; l < LANES; l++) sum_q += q[l], sum_qq += qq[l], sum_qx += qx[l];
      const double spread = std::max(sum_qq - sum_q * sum_q / HALF, LEAST), both = sum_qx - sum_q * sum_x / HALF;
      if (both * both / spread > best) {
        best = both * both / spread;
        found.scale = both / spread;
        found.low = (sum_x - found.scale * sum_q) / HALF;
      }
    }
  return found;
}

}  // namespace

// weights [outputs, inputs] to q of that shape, scale and, for int4, low [outputs, groups] in bfloat16.
extern "C" int dokja_quantise(const float* weights, int64_t outputs, int64_t inputs, int64_t kind, uint8_t* q,
                              uint16_t* scale, uint16_t* low, int threads) {
  const int64_t size = kind == INT8 ? GROUP : HALF, groups = ceil_div(inputs, size);
  share(outputs, threads, true, [&](int64_t from, int64_t to) {
    for (int64_t n = from; n < to; n++)
      for (int64_t g = 0; g < groups; g++) {
        const float* x = weights + n * inputs + g * size;
        uint8_t* out = q + n * inputs + g * size;
        const int64_t held = std::min(size, inputs - g * size);
        if (kind == INT8) {
          float largest = 0.0f;
          for (int64_t i = 0; i < held; i++) largest = std::max(largest, std::fabs(x[i]));
          scale[n * groups + g] = to_bf16(largest / 127);
          const float rounded = bf16(scale[n * groups + g]), by = rounded == 0.0f ? 1.0f : rounded;
          for (int64_t i = 0; i < held; i++) out[i] = (uint8_t)(128 + whole(x[i] / by, -127, 127));
          continue;
        }
        double padded[HALF] = {};
        for (int64_t i = 0; i < held; i++) padded[i] = x[i];
        const Fit found = fit(padded);
        scale[n * groups + g] = to_bf16((float)found.scale);
        low[n * groups + g] = to_bf16((float)found.low);
        const float rounded = bf16(scale[n * groups + g]), by = rounded == 0.0f ? 1.0f : rounded;
        const float start = bf16(low[n * groups + g]);
        for (int64_t i = 0; i < held; i++) out[i] = (uint8_t)whole((x[i] - start) / by, 0, TOP4);
      }
  });
  return 0;
}
