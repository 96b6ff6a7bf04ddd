//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Valid calls of every kernel, and what they give in f64.
//
#pragma once

#include "runtime/core/Checked.h"
#include "targets/cpu/tests/TestSupport.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

namespace mlc::test {

/// A call with its operands: inputs behind the first are constants, unless it is binary.
struct XnnCase {
  bool exact = false;         // Every bit of `expected` counts.
  bool newer = false;         // What XNNPACK has since 2024.
  std::vector<double> within; // How far results may lie from `expected`, where roundings are large.
  std::vector<uint8_t> attrs;
  std::vector<std::unique_ptr<Tensor>> tensors;
  std::unique_ptr<Call> call;
  std::vector<double> expected;

  template <typename T> XnnCase(const char *name, const T &value) : attrs(sizeof(T)) {
    memcpy(attrs.data(), &value, sizeof(T));
    call = std::make_unique<Call>(name, *reinterpret_cast<const T *>(attrs.data()));
  }
  const float *input(Random &random, std::vector<int64_t> dims, bool constant = false) {
    Tensor tensor(DType::f32, dims);
    size_t count = 1;
    for (int64_t dim : dims)
      count *= size_t(dim);
    std::vector<float> values = normals(random, count);
    std::copy(values.begin(), values.end(), tensor.view.as<float>());
    tensors.push_back(std::make_unique<Tensor>(std::move(tensor)));
    call->inputs.push_back(tensors.back().get());
    call->constant.push_back(constant);
    return tensors.back()->view.as<float>();
  }
  /// Integers in [least, most].
  template <typename T>
  const T *integers(Random &random, std::vector<int64_t> dims, int least, int most, bool constant = false) {
    Tensor tensor(sizeof(T) == 1 ? DType::i8 : DType::i32, dims);
    std::uniform_int_distribution<int> values(least, most);
    std::generate_n(tensor.view.as<T>(), elements(dims), [&] { return T(values(random)); });
    tensors.push_back(std::make_unique<Tensor>(std::move(tensor)));
    call->inputs.push_back(tensors.back().get());
    call->constant.push_back(constant);
    return tensors.back()->view.as<T>();
  }
  void output(std::vector<int64_t> dims, DType dtype = DType::f32) {
    tensors.push_back(std::make_unique<Tensor>(dtype, dims));
    call->outputs.push_back(tensors.back().get());
    expected.assign(elements(dims), 0);
  }
  static size_t elements(const std::vector<int64_t> &dims) {
    size_t count = 1;
    for (int64_t dim : dims)
      count *= size_t(dim);
    return count;
  }
  double result(size_t i) const {
    const TensorView &view = tensors.back()->view;
    return view.dtype == DType::i8 ? double(view.as<int8_t>()[i]) : double(view.as<float>()[i]);
  }
};

/// height and width of a window alike, but for the pads behind.
struct XnnWindow {
  int64_t height, width, groups, in, out;
  unsigned kernel, stride, dilation, before, behind;
};

inline fb::XnnWindowAttrs windowAttrs(const XnnWindow &w, int64_t batch, int64_t outHeight, int64_t outWidth,
                                      bool bias) {
  return {uint64_t(batch),
          uint64_t(w.height),
          uint64_t(w.width),
          uint64_t(outHeight),
          uint64_t(outWidth),
          uint64_t(w.in),
          uint64_t(w.out),
          unsigned(w.groups),
          w.kernel,
          w.kernel,
          w.stride,
          w.stride,
          w.dilation,
          w.dilation,
          w.before,
          w.before,
          w.behind,
          w.behind,
          bias};
}

/// Sums of a convolution: start(output channel), plus product(place in x, place in the filter) of every tap that lies
/// inside, to finish(place in the output, output channel, sum).
template <typename Start, typename Product, typename Finish>
void convolve(const XnnWindow &w, int64_t batch, int64_t oh, int64_t ow, Start start, Product product, Finish finish) {
  int64_t allIn = w.groups * w.in, allOut = w.groups * w.out;
  size_t at = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j)
        for (int64_t m = 0; m < allOut; ++m, ++at) {
          auto sum = start(m);
          for (int64_t p = 0; p < w.kernel; ++p)
            for (int64_t q = 0; q < w.kernel; ++q) {
              int64_t y = i * w.stride + p * w.dilation - w.before, z = j * w.stride + q * w.dilation - w.before;
              if (y < 0 || y >= w.height || z < 0 || z >= w.width)
                continue;
              for (int64_t k = 0; k < w.in; ++k)
                sum += product(((b * w.height + y) * w.width + z) * allIn + m / w.out * w.in + k,
                               ((m * w.kernel + p) * w.kernel + q) * w.in + k);
            }
          finish(at, m, sum);
        }
}

/// What a convolution of f32 reads.
struct FloatOperands {
  const float *x, *filter, *offset;
};
inline FloatOperands floatOperands(XnnCase &c, Random &random, const XnnWindow &w, int64_t batch, int64_t oh,
                                   int64_t ow, bool bias) {
  int64_t allIn = w.groups * w.in, allOut = w.groups * w.out;
  const float *x = c.input(random, {batch, w.height, w.width, allIn});
  const float *filter = c.input(random, {allOut, w.kernel, w.kernel, w.in}, true);
  const float *offset = bias ? c.input(random, {allOut}, true) : nullptr;
  c.output({batch, oh, ow, allOut});
  return {x, filter, offset};
}

inline XnnCase convCase(Random &random, const XnnWindow &w, int64_t batch, bool bias) {
  int64_t reach = int64_t(w.kernel - 1) * w.dilation + 1, pads = w.before + w.behind;
  int64_t oh = (w.height + pads - reach) / w.stride + 1, ow = (w.width + pads - reach) / w.stride + 1;
  XnnCase c("xnnpack.conv", windowAttrs(w, batch, oh, ow, bias));
  FloatOperands given = floatOperands(c, random, w, batch, oh, ow, bias);
  convolve(
      w, batch, oh, ow, [&](int64_t m) { return given.offset ? double(given.offset[m]) : 0; },
      [&](int64_t i, int64_t tap) { return double(given.x[i]) * double(given.filter[tap]); },
      [&](size_t at, int64_t, double sum) { c.expected[at] = sum; });
  return c;
}

/// Rounded as ONNX's QLinearConv is, in f32. `scales`: each output has one of its own.
inline XnnCase quantizedConvCase(Random &random, const XnnWindow &w, int64_t batch, bool bias, bool scales) {
  int64_t reach = int64_t(w.kernel - 1) * w.dilation + 1, pads = w.before + w.behind;
  int64_t oh = (w.height + pads - reach) / w.stride + 1, ow = (w.width + pads - reach) / w.stride + 1;
  const int8_t zeroIn = 5, zeroOut = -9;
  // Half of the sums or so stay inside of i8.
  float scale = 0.02f / std::sqrt(float(w.in * w.kernel * w.kernel));
  XnnCase c("xnnpack.conv_qs8", fb::XnnQuantizedConvAttrs(windowAttrs(w, batch, oh, ow, bias), scales ? 0 : scale,
                                                          zeroIn, zeroOut, scales));
  c.exact = true;
  int64_t allIn = w.groups * w.in, allOut = w.groups * w.out;
  const int8_t *x = c.integers<int8_t>(random, {batch, w.height, w.width, allIn}, -128, 127);
  const int8_t *filter = c.integers<int8_t>(random, {allOut, w.kernel, w.kernel, w.in}, -127, 127, true);
  const int32_t *offset = bias ? c.integers<int32_t>(random, {allOut}, -20000, 20000, true) : nullptr;
  float *each = nullptr;
  if (scales) {
    each = const_cast<float *>(c.input(random, {allOut}, true));
    for (int64_t m = 0; m < allOut; ++m)
      each[m] = scale * (0.5f + std::fabs(each[m]));
  }
  c.output({batch, oh, ow, allOut}, DType::i8);
  convolve(
      w, batch, oh, ow, [&](int64_t m) { return offset ? offset[m] : 0; },
      [&](int64_t i, int64_t tap) { return (x[i] - zeroIn) * filter[tap]; },
      [&](size_t at, int64_t m, int32_t sum) {
        float rounded = std::nearbyint(float(sum) * (each ? each[m] : scale)) + float(zeroOut);
        c.expected[at] = double(std::min(std::max(rounded, -128.0f), 127.0f));
      });
  return c;
}

/// `more` rows lie behind the last window.
inline XnnCase convTransposeCase(Random &random, const XnnWindow &w, int64_t batch, bool bias, int64_t more) {
  int64_t reach = int64_t(w.kernel - 1) * w.dilation + 1, pads = w.before + w.behind;
  int64_t oh = (w.height - 1) * w.stride + reach - pads + more, ow = (w.width - 1) * w.stride + reach - pads + more;
  XnnCase c("xnnpack.conv_transpose", windowAttrs(w, batch, oh, ow, bias));
  int64_t allIn = w.groups * w.in, allOut = w.groups * w.out;
  auto [x, filter, offset] = floatOperands(c, random, w, batch, oh, ow, bias);
  for (size_t i = 0; i < c.expected.size(); ++i)
    c.expected[i] = offset ? offset[i % size_t(allOut)] : 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < w.height; ++i)
      for (int64_t j = 0; j < w.width; ++j)
        for (int64_t m = 0; m < allOut; ++m)
          for (int64_t p = 0; p < w.kernel; ++p)
            for (int64_t q = 0; q < w.kernel; ++q) {
              int64_t y = i * w.stride + p * w.dilation - w.before, z = j * w.stride + q * w.dilation - w.before;
              if (y < 0 || y >= oh || z < 0 || z >= ow)
                continue;
              for (int64_t k = 0; k < w.in; ++k)
                c.expected[size_t(((b * oh + y) * ow + z) * allOut + m)] +=
                    double(x[((b * w.height + i) * w.width + j) * allIn + m / w.out * w.in + k]) *
                    double(filter[((m * w.kernel + p) * w.kernel + q) * w.in + k]);
            }
  return c;
}

inline XnnCase poolCase(Random &random, bool largest, const XnnWindow &w, int64_t batch) {
  int64_t reach = int64_t(w.kernel - 1) * w.dilation + 1, pads = w.before + w.behind;
  int64_t oh = (w.height + pads - reach) / w.stride + 1, ow = (w.width + pads - reach) / w.stride + 1;
  XnnCase c(largest ? "xnnpack.max_pool" : "xnnpack.average_pool", windowAttrs(w, batch, oh, ow, false));
  const float *x = c.input(random, {batch, w.height, w.width, w.in});
  c.output({batch, oh, ow, w.in});
  size_t at = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j)
        for (int64_t m = 0; m < w.in; ++m, ++at) {
          double best = -INFINITY, sum = 0, count = 0;
          for (int64_t p = 0; p < w.kernel; ++p)
            for (int64_t q = 0; q < w.kernel; ++q) {
              int64_t y = i * w.stride + p * w.dilation - w.before, z = j * w.stride + q * w.dilation - w.before;
              if (y < 0 || y >= w.height || z < 0 || z >= w.width)
                continue;
              double value = x[((b * w.height + y) * w.width + z) * w.in + m];
              best = std::max(best, value);
              sum += value;
              count += 1;
            }
          c.expected[at] = largest ? best : sum / count;
        }
  return c;
}

inline XnnCase resizeCase(Random &random, fb::XnnCoordinates coordinates, int64_t batch, int64_t channels, int64_t h,
                          int64_t w, int64_t oh, int64_t ow) {
  XnnCase c("xnnpack.resize", fb::XnnResizeAttrs(uint64_t(batch), uint64_t(h), uint64_t(w), uint64_t(channels),
                                                 uint64_t(oh), uint64_t(ow), coordinates));
  const float *x = c.input(random, {batch, h, w, channels});
  c.output({batch, oh, ow, channels});
  auto place = [&](int64_t o, int64_t in, int64_t out) {
    double at = double(o) * double(in) / double(out);
    if (coordinates == fb::XnnCoordinates::half_pixel)
      at = (double(o) + 0.5) * double(in) / double(out) - 0.5;
    else if (coordinates == fb::XnnCoordinates::align_corners)
      at = out == 1 ? 0 : double(o) * double(in - 1) / double(out - 1);
    return std::min(std::max(at, 0.0), double(in - 1));
  };
  size_t at = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < oh; ++i)
      for (int64_t j = 0; j < ow; ++j)
        for (int64_t k = 0; k < channels; ++k, ++at) {
          double y = place(i, h, oh), z = place(j, w, ow);
          auto value = [&](double row, double column) {
            int64_t r = std::min(int64_t(row), h - 1), q = std::min(int64_t(column), w - 1);
            return double(x[((b * h + r) * w + q) * channels + k]);
          };
          auto row = [&](double r) {
            double left = std::floor(z);
            return value(r, left) * (1 - z + left) + value(r, left + 1) * (z - left);
          };
          double top = std::floor(y);
          c.expected[at] = row(top) * (1 - y + top) + row(top + 1) * (y - top);
        }
  return c;
}

inline XnnCase linearCase(Random &random, int64_t rows, int64_t k, int64_t n, bool bias, bool transposed) {
  XnnCase c("xnnpack.linear", fb::XnnLinearAttrs(uint64_t(n), uint64_t(k), bias, transposed));
  const float *x = c.input(random, {rows, k});
  const float *matrix = c.input(random, transposed ? std::vector{k, n} : std::vector{n, k}, true);
  const float *offset = bias ? c.input(random, {n}, true) : nullptr;
  c.output({rows, n});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < n; ++j) {
      double sum = offset ? offset[j] : 0;
      for (int64_t i = 0; i < k; ++i)
        sum += double(x[r * k + i]) * double(matrix[transposed ? i * n + j : j * k + i]);
      c.expected[size_t(r * n + j)] = sum;
    }
  return c;
}

/// x and zero of all of i8's range; of many columns the sums need more bits than a float has.
inline XnnCase dynamicLinearCase(Random &random, int64_t rows, int64_t k, int64_t n, bool transposed) {
  XnnCase c("xnnpack.linear_qd8", fb::XnnLinearAttrs(uint64_t(n), uint64_t(k), false, transposed));
  c.exact = c.newer = true;
  const int8_t *x = c.integers<int8_t>(random, {rows, k}, -128, 127);
  const int8_t *matrix =
      c.integers<int8_t>(random, transposed ? std::vector{k, n} : std::vector{n, k}, -128, 127, true);
  const int32_t zero = *c.integers<int32_t>(random, {1}, -128, 127);
  c.output({rows, n});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < n; ++j) {
      int32_t sum = 0;
      for (int64_t i = 0; i < k; ++i)
        sum += (x[r * k + i] - zero) * matrix[transposed ? i * n + j : j * k + i];
      c.expected[size_t(r * n + j)] = float(sum);
    }
  return c;
}

inline XnnCase blockLinearCase(Random &random, int64_t rows, int64_t k, int64_t n, int64_t block) {
  XnnCase c("xnnpack.linear_qb4", fb::XnnBlockLinearAttrs(uint64_t(n), uint64_t(k), uint64_t(block)));
  c.newer = true;
  const float *x = c.input(random, {rows, k});
  const int8_t *codes = c.integers<int8_t>(random, {n, k / 2}, -128, 127, true);
  c.input(random, {n, k / block}, true);
  float *scales = c.tensors.back()->view.as<float>();
  for (int64_t i = 0; i < n * (k / block); ++i)
    scales[i] = std::fabs(scales[i]) + 0.01f;
  c.output({rows, n});
  c.within.resize(c.expected.size());
  for (int64_t r = 0; r < rows; ++r) {
    // A step of x, and what bf16 leaves of a scale.
    auto [least, most] = std::minmax_element(x + r * k, x + (r + 1) * k);
    double step = (std::max(*most, 0.0f) - std::min(*least, 0.0f)) / 255.0, share = 1.0 / 256;
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < k; ++i) {
        int code = uint8_t(codes[(j * k + i) / 2]) >> (i % 2 ? 4 : 0) & 15;
        double w = (code - 8) * double(scales[(j * k + i) / block]);
        c.expected[size_t(r * n + j)] += double(x[r * k + i]) * w;
        c.within[size_t(r * n + j)] += std::fabs(w) * (step + share * std::fabs(double(x[r * k + i])));
      }
  }
  return c;
}

inline XnnCase softmaxCase(Random &random, int64_t rows, int64_t channels) {
  XnnCase c("xnnpack.softmax", fb::XnnSoftmaxAttrs(uint64_t(channels)));
  const float *x = c.input(random, {rows, channels});
  c.output({rows, channels});
  for (int64_t r = 0; r < rows; ++r) {
    double sum = 0;
    for (int64_t i = 0; i < channels; ++i)
      sum += std::exp(double(x[r * channels + i]));
    for (int64_t i = 0; i < channels; ++i)
      c.expected[size_t(r * channels + i)] = std::exp(double(x[r * channels + i])) / sum;
  }
  return c;
}

inline XnnCase unaryCase(Random &random, fb::XnnUnary op, int64_t count) {
  XnnCase c("xnnpack.unary", fb::XnnUnaryAttrs(op));
  const float *x = c.input(random, {count});
  c.output({count});
  for (int64_t i = 0; i < count; ++i) {
    double v = x[i];
    double answers[] = {std::fabs(v),           std::ceil(v), std::floor(v), -v,           std::nearbyint(v),
                        1 / (1 + std::exp(-v)), std::sqrt(v), v * v,         std::trunc(v)};
    c.expected[size_t(i)] = answers[size_t(op)];
  }
  return c;
}

inline XnnCase binaryCase(Random &random, fb::Binary op, int64_t rows, int64_t columns) {
  XnnCase c("xnnpack.binary", fb::BinaryAttrs(op));
  const float *a = c.input(random, {rows, columns}), *b = c.input(random, {rows, columns});
  c.output({rows, columns});
  for (size_t i = 0; i < c.expected.size(); ++i) {
    double answers[] = {double(a[i]) + double(b[i]), double(a[i]) - double(b[i]), double(a[i]) * double(b[i]),
                        double(a[i]) / double(b[i])};
    c.expected[i] = answers[size_t(op)];
  }
  return c;
}

/// Odd shapes of every kernel.
inline std::vector<XnnCase> xnnCases() {
  Random random(5);
  std::vector<XnnCase> list;
  for (auto [batch, window] : {std::pair{1, XnnWindow{9, 11, 1, 5, 7, 3, 1, 1, 1, 1}},
                               {2, XnnWindow{8, 13, 1, 17, 33, 3, 2, 1, 1, 0}},
                               {1, XnnWindow{7, 7, 1, 24, 19, 1, 1, 1, 0, 0}},
                               {2, XnnWindow{12, 9, 13, 1, 1, 3, 1, 1, 1, 1}},
                               {1, XnnWindow{12, 12, 6, 1, 1, 5, 2, 1, 2, 2}},
                               {1, XnnWindow{10, 10, 3, 4, 5, 3, 1, 2, 2, 2}}}) {
    list.push_back(convCase(random, window, batch, true));
    list.push_back(convCase(random, window, batch, false));
    for (bool scales : {false, true}) {
      list.push_back(quantizedConvCase(random, window, batch, true, scales));
      list.push_back(quantizedConvCase(random, window, batch, false, scales));
    }
  }
  for (auto coordinates : fb::EnumValuesXnnCoordinates()) {
    list.push_back(resizeCase(random, coordinates, 2, 5, 7, 6, 15, 9));
    list.push_back(resizeCase(random, coordinates, 1, 33, 12, 9, 5, 20));
    list.push_back(resizeCase(random, coordinates, 1, 1, 4, 1, 8, 3));
    list.push_back(resizeCase(random, coordinates, 1, 16, 5, 5, 1, 1));
  }
  list.push_back(convTransposeCase(random, {5, 6, 1, 7, 9, 4, 2, 1, 1, 1}, 1, true, 0));
  list.push_back(convTransposeCase(random, {5, 6, 1, 7, 9, 3, 2, 1, 1, 1}, 2, false, 1));
  list.push_back(convTransposeCase(random, {5, 4, 3, 2, 5, 3, 3, 2, 0, 2}, 1, true, 0));
  for (bool largest : {true, false}) {
    list.push_back(poolCase(random, largest, {9, 12, 1, 19, 19, 2, 2, 1, 0, 0}, 2));
    list.push_back(poolCase(random, largest, {9, 12, 1, 5, 5, 3, 2, 1, 1, 1}, 1));
    list.push_back(poolCase(random, largest, {7, 7, 1, 33, 33, 7, 1, 1, 0, 0}, 1));
  }
  list.push_back(poolCase(random, true, {11, 9, 1, 6, 6, 3, 1, 2, 0, 0}, 1));
  list.push_back(poolCase(random, true, {11, 9, 1, 6, 6, 2, 2, 3, 0, 0}, 2));
  for (auto [rows, k, n] : {std::tuple{1, 64, 40}, {5, 33, 17}, {40, 7, 70}})
    for (bool bias : {true, false})
      for (bool transposed : {true, false})
        list.push_back(linearCase(random, rows, k, n, bias, transposed));
  for (auto [rows, k, n] : {std::tuple{1, 64, 40}, {5, 33, 17}, {40, 7, 70}, {3, 1500, 9}})
    for (bool transposed : {true, false})
      list.push_back(dynamicLinearCase(random, rows, k, n, transposed));
  for (auto [rows, k, n, block] : {std::tuple{1, 64, 40, 32}, {5, 192, 17, 64}, {33, 96, 3, 32}, {4, 128, 65, 128}})
    list.push_back(blockLinearCase(random, rows, k, n, block));
  // Every number of rows that a tile lacks.
  for (int64_t rows = 1; rows <= 18; ++rows) {
    list.push_back(dynamicLinearCase(random, rows, 36, 20, true));
    list.push_back(blockLinearCase(random, rows, 64, 20, 32));
  }
  for (auto [rows, channels] : {std::pair{1, 5}, {7, 130}, {33, 16}})
    list.push_back(softmaxCase(random, rows, channels));
  for (auto op = 0; op <= int(fb::XnnUnary::MAX); ++op)
    for (int64_t count : {1, 1003})
      list.push_back(unaryCase(random, fb::XnnUnary(op), count));
  for (auto op : {fb::Binary::add, fb::Binary::sub, fb::Binary::mul, fb::Binary::div})
    list.push_back(binaryCase(random, op, 5, 77));
  return list;
}

} // namespace mlc::test
