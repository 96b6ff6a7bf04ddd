//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Panels: group quantization that minimises the squared error, and the interleaving of 16 rows.
//
#include "targets/cpu/pack/Pack.h"

#include "runtime/core/Float16.h"

#include <cstring>

namespace mlc::cpu {

using fb::WeightFormat;

uint32_t chooseGroup(uint64_t k, uint32_t wanted) {
  for (uint32_t group : {128u, 64u, 32u})
    if (group <= wanted && k % group == 0)
      return group;
  return wanted;
}

namespace {

// 16 fixed lanes: the sums round the same way on every host.
typedef float Lanes __attribute__((vector_size(64)));

/// One group of one row, quantized.
struct Group {
  uint16_t scale = 0; // bf16
  int zero = 0;
};

/// The values of a group, and the best candidate so far.
struct Search {
  const float *values;
  uint64_t count;
  float amax;
  float bestError = 0;
  float bestScale = 0;
  int bestZero = 0;
  bool found = false;
};

inline float sumLanes(const Lanes &v) {
  float sum = 0;
  for (int i = 0; i < 16; ++i)
    sum += v[i];
  return sum;
}

/// Tries values ~ scale * (q - zero) with q in [low, high]; `scale` is rounded to bf16 first.
void tryScale(Search &search, float scale, int zero, int low, int high) {
  scale = bf16ToF32(f32ToBf16(scale));
  if (!(__builtin_fabsf(scale) > 1e-37f) || !(__builtin_fabsf(scale) < 3e38f))
    return;
  float inverse = 1.0f / scale, normalise = 1.0f / search.amax;
  Lanes error = {};
  const Lanes lowest = error + float(low - zero), highest = error + float(high - zero);
  const Lanes magic = error + 12582912.f; // Adding 1.5 * 2^23 rounds to the nearest even integer.
  for (uint64_t i = 0; i < search.count; i += 16) {
    Lanes v = {};
    uint64_t left = search.count - i;
    memcpy(&v, search.values + i, left < 16 ? left * 4 : 64);
    Lanes q = v * inverse;
    q = q < lowest ? lowest : q;
    q = q > highest ? highest : q;
    q = (q + magic) - magic;
    Lanes difference = (v - q * scale) * normalise;
    error += difference * difference;
  }
  float total = sumLanes(error);
  if (!search.found || total < search.bestError) {
    search.found = true;
    search.bestError = total;
    search.bestScale = scale;
    search.bestZero = zero;
  }
}

/// value / scale as an integer of [low, high], unsigned around `zero`.
int quantizeValue(float value, float inverse, int zero, int low, int high) {
  float q = value * inverse, lowest = float(low - zero), highest = float(high - zero);
  q = q < lowest ? lowest : q;
  q = q > highest ? highest : q;
  return int(__builtin_rintf(q)) + zero;
}

/// The scale that fits the best candidate's integers in the least-squares sense, as one more candidate.
void refine(Search &search, int low, int high) {
  if (!search.found)
    return;
  float inverse = 1.0f / search.bestScale;
  double dot = 0, norm = 0;
  for (uint64_t i = 0; i < search.count; ++i) {
    double q = quantizeValue(search.values[i], inverse, search.bestZero, low, high) - search.bestZero;
    dot += double(search.values[i]) * q;
    norm += q * q;
  }
  if (norm > 0)
    tryScale(search, float(dot / norm), search.bestZero, low, high);
}

/// The scale and zero point of a group; false when a value is not finite. A scale of 0: all values are 0.
bool quantizeGroup(const float *values, uint64_t count, bool int4, bool asymmetric, Group &group) {
  float amax = 0, low = values[0], high = values[0];
  for (uint64_t i = 0; i < count; ++i) {
    if (!(__builtin_fabsf(values[i]) <= 3.4028234e38f))
      return false;
    amax = __builtin_fabsf(values[i]) > amax ? __builtin_fabsf(values[i]) : amax;
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
  }
  int middle = int4 ? 8 : 128;
  Search search{values, count, amax};
  search.bestZero = middle;
  if (amax > 1e-35f) { // Below, a scale's inverse leaves f32's range.
    if (!int4) {
      for (float divisor : {127.0f, 126.5f, 127.5f})
        tryScale(search, amax / divisor, middle, 1, 255);
      refine(search, 1, 255);
    } else {
      // Either sign: -8 reaches one step further than 7, so the largest value decides which side gets it.
      for (int step = 0; step <= 8; ++step) {
        float scale = amax / (6.75f + 0.25f * float(step));
        tryScale(search, scale, middle, 0, 15);
        tryScale(search, -scale, middle, 0, 15);
      }
      refine(search, 0, 15);
      if (asymmetric && high > low) {
        for (int step = 0; step <= 6; ++step) {
          float shrink = 1.02f - 0.04f * float(step), centre = low * 0.5f + high * 0.5f;
          float scale = (high * 0.5f - low * 0.5f) * shrink / 7.5f;
          float zero = __builtin_rintf(7.5f - centre / scale);
          if (zero >= -128 && zero <= 127)
            tryScale(search, scale, int(zero), 0, 15);
        }
        refine(search, 0, 15);
      }
    }
  }
  group.scale = f32ToBf16(search.bestScale);
  group.zero = search.bestZero;
  return true;
}

/// Packs up to 16 rows of k columns into one panel.
bool packQuantizedPanel(const fb::WeightDesc &desc, const PanelLayout &layout, const float *rows, unsigned count,
                        uint8_t *out) {
  bool int4 = desc.format() == WeightFormat::panel_int4;
  memset(out, 0, layout.bytes);
  memset(out, int4 ? 0x88 : 0x80, layout.scalesOffset);
  for (unsigned r = 0; r < count; ++r)
    for (uint64_t g = 0; g < layout.groups; ++g) {
      uint64_t begin = g * layout.group, left = desc.k() - begin, valid = left < layout.group ? left : layout.group;
      const float *values = rows + r * desc.k() + begin;
      Group group;
      if (!quantizeGroup(values, valid, int4, desc.asymmetric(), group))
        return false;
      memcpy(out + layout.scalesOffset + (g * kPanel + r) * 2, &group.scale, 2);
      if (desc.asymmetric())
        out[layout.zerosOffset + g * kPanel + r] = uint8_t(group.zero);
      float scale = bf16ToF32(group.scale), inverse = scale != 0 ? 1.0f / scale : 0.0f;
      for (uint64_t i = 0; i < valid; ++i) {
        uint64_t column = begin + i;
        if (int4) {
          uint8_t &byte = out[column / 8 * 64 + r * 4 + column % 4];
          int q = quantizeValue(values[i], inverse, group.zero, 0, 15);
          byte = column / 4 % 2 ? uint8_t((byte & 0x0f) | q << 4) : uint8_t((byte & 0xf0) | q);
        } else {
          out[column / 4 * 64 + r * 4 + column % 4] = uint8_t(quantizeValue(values[i], inverse, group.zero, 1, 255));
        }
      }
    }
  return true;
}

void packFloatPanel(WeightFormat format, uint64_t k, const float *rows, unsigned count, uint64_t bytes, uint8_t *out) {
  memset(out, 0, bytes);
  for (unsigned r = 0; r < count; ++r)
    for (uint64_t i = 0; i < k; ++i) {
      float value = rows[r * k + i];
      uint64_t at = i * kPanel + r;
      if (format == WeightFormat::panel_f32) {
        memcpy(out + at * 4, &value, 4);
      } else {
        uint16_t bits = format == WeightFormat::panel_f16 ? f32ToF16(value) : f32ToBf16(value);
        memcpy(out + at * 2, &bits, 2);
      }
    }
}

} // namespace

bool packRows(const fb::WeightDesc &desc, uint64_t rowBegin, uint64_t rowEnd, const float *rows, uint8_t *out) {
  uint64_t k = desc.k();
  if (isRows(desc.format())) {
    uint64_t count = (rowEnd - rowBegin) * k;
    if (desc.format() == WeightFormat::rows_f32) {
      memcpy(out, rows, count * 4);
      return true;
    }
    for (uint64_t i = 0; i < count; ++i) {
      uint16_t bits = desc.format() == WeightFormat::rows_f16 ? f32ToF16(rows[i]) : f32ToBf16(rows[i]);
      memcpy(out + i * 2, &bits, 2);
    }
    return true;
  }
  PanelLayout layout = panelLayout(desc);
  for (uint64_t row = rowBegin; row < rowEnd; row += kPanel, out += layout.bytes) {
    unsigned count = unsigned(rowEnd - row < kPanel ? rowEnd - row : kPanel);
    const float *source = rows + (row - rowBegin) * k;
    if (!isQuantized(desc.format()))
      packFloatPanel(desc.format(), k, source, count, layout.bytes, out);
    else if (!packQuantizedPanel(desc, layout, source, count, out))
      return false;
  }
  return true;
}

} // namespace mlc::cpu
