//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels without products: norms, rope, activations, elementwise, gathers and copies, on every form against
// double, over odd widths and strides, and independent of the other rows and of the threads.
//
#include "targets/cpu/tests/TestSupport.h"

#include <cmath>
#include <cstring>
#include <functional>

using namespace mlc;
using namespace mlc::cpu;
using namespace mlc::test;

TEST(RmsNorm, MatchesDouble) {
  Random random(31);
  for (int trial = 0; trial < 40; ++trial) {
    int64_t rows = uniform(random, 1, 9), width = uniform(random, 1, 300),
            groups = trial % 3 == 0 ? uniform(random, 1, 5) : 1;
    bool adds = groups == 1 && trial % 2;
    int64_t columns = width * groups;
    float eps = 1e-5f, offset = trial % 4 == 3 ? 1.0f : 0.0f;
    std::vector<float> x = normals(random, size_t(rows * columns), 2.0f), residual = normals(random, x.size()),
                       weight = normals(random, size_t(width));
    Tensor xTensor = Tensor::matrix(x, rows, columns, trial % 3), rTensor = Tensor::matrix(residual, rows, columns, 5),
           wTensor = Tensor::vector(weight);
    fb::RmsNormAttrs attrs(uint64_t(width), eps, offset);
    std::vector<float> alone; // Of the first form: all are equal.
    for (Isa isa : forms()) {
      Tensor y(DType::f32, {rows, columns}, 2, 1), sum(DType::f32, {rows, columns});
      Call call(adds ? "add_rms_norm" : "rms_norm", attrs);
      if (adds) {
        call.inputs = {&xTensor, &rTensor, &wTensor};
        call.tokens = {true, true, false};
        call.outputs = {&sum, &y};
      } else {
        call.inputs = {&xTensor, &wTensor};
        call.outputs = {&y};
      }
      call.run(isa, unsigned(trial % 4 + 1));
      std::vector<float> got = y.values();
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t g = 0; g < groups; ++g) {
          auto at = [&](int64_t i) {
            size_t index = size_t(r * columns + g * width + i);
            return adds ? x[index] + residual[index] : x[index];
          };
          double squares = 0;
          for (int64_t i = 0; i < width; ++i)
            squares += double(at(i)) * double(at(i));
          double scale = 1 / std::sqrt(squares / double(width) + double(eps));
          for (int64_t i = 0; i < width; ++i) {
            double expected = double(at(i)) * scale * (double(weight[size_t(i)]) + double(offset));
            ASSERT_NEAR(got[size_t(r * columns + g * width + i)], expected, 2e-6 * (1 + std::fabs(expected)));
            if (adds)
              ASSERT_EQ(sum.values()[size_t(r * columns + g * width + i)], at(i));
          }
        }
      if (alone.empty())
        alone = got;
      ASSERT_TRUE(sameBits(got, alone)) << isaName(isa);
      // The last row on its own, in place.
      std::vector<float> last(x.end() - columns, x.end());
      Tensor one = Tensor::matrix(last, 1, columns);
      if (!adds) {
        Call single("rms_norm", attrs);
        single.inputs = {&one, &wTensor};
        single.outputs = {&one};
        single.run(isa);
        ASSERT_TRUE(sameBits(one.values(), std::vector<float>(got.end() - columns, got.end())));
      }
    }
  }
}

TEST(Rope, RotatesPairs) {
  Random random(37);
  for (int trial = 0; trial < 24; ++trial) {
    int64_t rows = uniform(random, 1, 5), heads = uniform(random, 1, 4), rotary = 2 * uniform(random, 1, 40);
    int64_t dim = rotary + (trial % 3 ? uniform(random, 0, 9) : 0);
    bool interleaved = trial % 2;
    std::vector<float> x = normals(random, size_t(rows * heads * dim)), angles = normals(random, size_t(rows * rotary));
    Tensor xTensor = Tensor::matrix(x, rows, heads * dim, 1), aTensor = Tensor::matrix(angles, rows, rotary, 3);
    fb::RopeAttrs attrs(uint32_t(heads), uint32_t(dim), uint32_t(rotary), interleaved);
    for (Isa isa : forms()) {
      Tensor y(DType::f32, {rows, heads * dim}, 2);
      for (Tensor *out : {&y, &xTensor}) {
        xTensor = Tensor::matrix(x, rows, heads * dim, 1);
        Call call("rope", attrs);
        call.inputs = {&xTensor, &aTensor};
        call.tokens = {true, true};
        call.outputs = {out};
        call.run(isa, unsigned(trial % 4 + 1));
        std::vector<float> got = out->values();
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t h = 0; h < heads; ++h)
            for (int64_t i = 0; i < dim; ++i) {
              const float *head = x.data() + (r * heads + h) * dim, *angle = angles.data() + r * rotary;
              float expected = head[i];
              if (i < rotary) {
                int64_t pair = interleaved ? i / 2 : i % (rotary / 2);
                int64_t first = interleaved ? 2 * pair : pair, second = interleaved ? 2 * pair + 1 : pair + rotary / 2;
                float c = angle[pair], s = angle[rotary / 2 + pair];
                float a = i == first ? head[first] * c : head[second] * c,
                      b = i == first ? head[second] * s : head[first] * s;
                expected = i == first ? a - b : a + b;
              }
              ASSERT_EQ(got[size_t((r * heads + h) * dim + i)], expected);
            }
      }
    }
  }
}

TEST(RopeAngles, FollowsPositionsAndForm) {
  std::vector<float> tables = {1.0f, 0.1f, 0.01f, 0.5f, 0.05f, 0.005f};
  for (auto scaling : {fb::RopeScaling::default_, fb::RopeScaling::dynamic, fb::RopeScaling::longrope}) {
    bool longrope = scaling == fb::RopeScaling::longrope;
    Tensor table =
        Tensor::matrix(std::vector<float>(tables.begin(), tables.begin() + (longrope ? 6 : 3)), longrope ? 2 : 1, 3);
    fb::RopeAnglesAttrs attrs(6, scaling, 10000.0f, 2.0f, 1.25f, 64);
    Tensor out(DType::f32, {9, 6}, 1);
    Call call("rope_angles", attrs);
    call.inputs = {&table};
    call.tokens = {false};
    call.outputs = {&out};
    call.segments = {{0, 0, 4, 10, 64}, {1, 4, 5, 100, 300}};
    call.run(Isa::portable, 2);
    for (int64_t t = 0; t < 9; ++t)
      for (int64_t i = 0; i < 3; ++i) {
        double position = t < 4 ? 10 + double(t) : 96 + double(t), frequency = tables[size_t(i)];
        if (t >= 4 && longrope)
          frequency = tables[size_t(3 + i)];
        if (t >= 4 && scaling == fb::RopeScaling::dynamic)
          frequency = std::pow(10000.0 * std::pow(2.0 * 300 / 64 - 1, 6.0 / 4.0), -double(i) / 3);
        ASSERT_NEAR(out.view.row<float>(t)[i], 1.25 * std::cos(position * frequency), 3e-5);
        ASSERT_NEAR(out.view.row<float>(t)[3 + i], 1.25 * std::sin(position * frequency), 3e-5);
      }
  }
}

static double activation(fb::Activation a, double x) {
  switch (a) {
  case fb::Activation::silu:
    return x / (1 + std::exp(-x));
  case fb::Activation::gelu_tanh:
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  case fb::Activation::gelu_erf:
    return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
  case fb::Activation::relu:
    return x > 0 ? x : 0;
  case fb::Activation::relu2:
    return x > 0 ? x * x : 0;
  case fb::Activation::tanh:
    return std::tanh(x);
  case fb::Activation::sigmoid:
    return 1 / (1 + std::exp(-x));
  default:
    return x;
  }
}

TEST(Activations, MatchDouble) {
  Random random(41);
  for (fb::Activation act : fb::EnumValuesActivation()) {
    int64_t rows = uniform(random, 1, 6), n = uniform(random, 1, 5000);
    std::vector<float> x = normals(random, size_t(rows * n), 4.0f), up = normals(random, x.size());
    float extremes[] = {0.0f, -0.0f, 1e-30f, -1e-6f, 1e-3f, -100.0f, 100.0f, 88.0f, -87.0f, 3e38f, -3e38f, INFINITY};
    std::copy_n(extremes, std::min<size_t>(x.size(), 12), x.begin());
    Tensor xTensor = Tensor::matrix(x, rows, n, 2), uTensor = Tensor::matrix(up, rows, n);
    fb::UnaryAttrs unary(act, 0.5f, 3.0f);
    fb::GatedActivationAttrs gated(act);
    std::vector<float> first;
    for (Isa isa : forms()) {
      Tensor y(DType::f32, {rows, n}, 1), z(DType::f32, {rows, n});
      Call call("unary", unary);
      call.inputs = {&xTensor};
      call.outputs = {&y};
      call.run(isa, 3);
      Call both("gated_activation", gated);
      both.inputs = {&xTensor, &uTensor};
      both.tokens = {true, true};
      both.outputs = {&z};
      both.run(isa, 2);
      std::vector<float> got = y.values(), product = z.values();
      if (first.empty())
        first = got;
      for (size_t i = 0; i < x.size(); ++i) {
        if (!std::isnan(got[i]))
          ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(first[i])) << isaName(isa) << " " << x[i];
        double expected = activation(act, double(x[i]) * 0.5) * 3, gate = activation(act, double(x[i])) * double(up[i]);
        if (!std::isfinite(float(expected)) || !std::isfinite(float(gate)))
          continue;
        ASSERT_NEAR(got[i], expected, 4e-7 * std::fabs(expected) + 3e-7 * (1 + std::fabs(double(x[i]))))
            << x[i] << " " << fb::EnumNameActivation(act);
        ASSERT_NEAR(product[i], gate,
                    (4e-7 * std::fabs(gate) + 3e-7 * (1 + std::fabs(double(x[i])))) * (1 + std::fabs(double(up[i]))));
      }
      // tanh keeps its relative precision near 0: soft caps need it.
      if (act == fb::Activation::tanh && x.size() > 4)
        ASSERT_NEAR(got[3], 3 * std::tanh(-0.5e-6), 1e-12);
    }
  }
}

// A form's quotient by products is that of the division, whatever the divisor.
TEST(Activations, SigmoidsAreEqualInEveryForm) {
  constexpr int64_t kCount = 1 << 18;
  std::vector<float> x(kCount);
  for (int64_t i = 0; i < kCount; ++i)
    x[size_t(i)] = float(i - kCount / 2) * (i % 2 ? 0x1p-10f : 0x1p-17f);
  Tensor input = Tensor::matrix(x, 1, kCount), out(DType::f32, {1, kCount});
  fb::UnaryAttrs attrs(fb::Activation::sigmoid, 1.0f, 1.0f);
  std::vector<float> first;
  for (Isa isa : forms()) {
    Call call("unary", attrs);
    call.inputs = {&input};
    call.outputs = {&out};
    call.run(isa, 1);
    std::vector<float> got = out.values();
    first = first.empty() ? got : first;
    EXPECT_TRUE(sameBits(got, first)) << isaName(isa);
  }
  for (int64_t i = 0; i < kCount; ++i)
    ASSERT_NEAR(first[size_t(i)], 1 / (1 + std::exp(-double(x[size_t(i)]))), 3e-7);
}

TEST(Binary, EveryOperation) {
  Random random(43);
  for (fb::Binary op : fb::EnumValuesBinary()) {
    std::vector<float> a = normals(random, 3 * 5 * 37), b = normals(random, a.size());
    fb::BinaryAttrs attrs(op);
    for (Isa isa : forms()) {
      Tensor x(DType::f32, {3, 5, 37}, 4), y(DType::f32, {3, 5, 37}), out(DType::f32, {3, 5, 37}, 1);
      auto at = [](Tensor &t, int64_t i) -> float & {
        return t.view.as<float>()[i / 185 * t.view.strides[0] + i / 37 % 5 * t.view.strides[1] + i % 37];
      };
      for (int64_t i = 0; i < 555; ++i) {
        at(x, i) = a[size_t(i)];
        at(y, i) = b[size_t(i)];
      }
      Call call("binary", attrs);
      call.inputs = {&x, &y};
      call.tokens = {true, true};
      call.outputs = {&out};
      call.run(isa, 2);
      for (int64_t i = 0; i < 555; ++i) {
        float p = a[size_t(i)], q = b[size_t(i)];
        float results[] = {p + q, p - q, p * q, p / q, std::max(p, q), std::min(p, q)};
        ASSERT_EQ(at(out, i), results[int(op)]);
      }
    }
  }
}

TEST(Gathers, RowsAndEmbeddings) {
  Random random(47);
  std::vector<float> x = normals(random, 9 * 21);
  Tensor xTensor = Tensor::matrix(x, 9, 21, 2), rows = Tensor::ints({8, 0, 3, 3}), out(DType::f32, {4, 21}, 1);
  fb::GatherRowsAttrs attrs(21);
  Call call("gather_rows", attrs);
  call.inputs = {&xTensor, &rows};
  call.tokens = {true, false};
  call.outputs = {&out};
  call.run(Isa::portable, 2);
  for (int64_t r = 0; r < 4; ++r)
    for (int64_t i = 0; i < 21; ++i)
      ASSERT_EQ(out.view.row<float>(r)[i], x[size_t(rows.view.as<int32_t>()[r] * 21 + i)]);
  // Beyond the rows there is nothing but NaN.
  rows = Tensor::ints({9, -1, INT32_MAX, INT32_MIN});
  call.run(Isa::portable);
  for (float value : out.values())
    ASSERT_TRUE(std::isnan(value));

  for (fb::WeightFormat format : {fb::WeightFormat::rows_bf16, fb::WeightFormat::panel_f32,
                                  fb::WeightFormat::panel_int8, fb::WeightFormat::panel_int4}) {
    uint64_t n = 37, k = 75;
    fb::WeightDesc desc(n, k, isQuantized(format) ? 32 : 0, format, format == fb::WeightFormat::panel_int4);
    std::vector<float> values = normals(random, n * k);
    std::vector<uint8_t> packed(*packedBytes(desc));
    ASSERT_TRUE(packRows(desc, 0, n, values.data(), packed.data()));
    Tensor weight = Tensor::bytes(packed);
    if (isRows(format)) {
      weight = Tensor(DType::bf16, {int64_t(n), int64_t(k)});
      memcpy(weight.view.data, packed.data(), packed.size());
    }
    Tensor ids = Tensor::ints({36, 0, 16, 15, 37, -5}), rowsOut(DType::f32, {6, int64_t(k)}, 3);
    fb::EmbeddingAttrs embedding(desc, 2.0f);
    Call lookup("embedding", embedding);
    lookup.inputs = {&ids, &weight};
    lookup.tokens = {true, false};
    lookup.outputs = {&rowsOut};
    lookup.run(machineIsa(), 2);
    for (int64_t t = 0; t < 6; ++t)
      for (uint64_t i = 0; i < k; ++i) {
        float got = rowsOut.view.row<float>(t)[i];
        if (t >= 4) {
          ASSERT_TRUE(std::isnan(got));
          continue;
        }
        float source = values[uint64_t(ids.view.as<int32_t>()[t]) * k + i];
        double tolerance = format == fb::WeightFormat::panel_int4   ? 0.6
                           : format == fb::WeightFormat::panel_int8 ? 0.04
                                                                    : 0.03;
        ASSERT_NEAR(got, 2 * source, tolerance);
      }
  }
}

TEST(Copy, Strided) {
  for (DType dtype : {DType::f32, DType::u8, DType::i64, DType::f16}) {
    Tensor x(dtype, {4, 6, 33}, 3), y(dtype, {4, 6, 33}, 1);
    size_t size = dtypeSize(dtype);
    auto at = [&](Tensor &t, int64_t i) {
      return t.view.as<uint8_t>() +
             size_t(i / 198 * t.view.strides[0] + i / 33 % 6 * t.view.strides[1] + i % 33) * size;
    };
    for (int64_t i = 0; i < 792; ++i)
      for (size_t b = 0; b < size; ++b)
        at(x, i)[b] = uint8_t(i * 7 + int64_t(b));
    fb::NoAttrs attrs(0);
    Call call("copy", attrs);
    call.inputs = {&x};
    call.outputs = {&y};
    call.run(Isa::portable, 2);
    for (int64_t i = 0; i < 792; ++i)
      ASSERT_EQ(0, memcmp(at(x, i), at(y, i), size));
  }
}
