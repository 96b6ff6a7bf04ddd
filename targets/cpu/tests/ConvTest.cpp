//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv and matmul against sums in double: windows and views of every kind, in every form and number of threads, which
// give the same bits.
//
#include "targets/cpu/pack/Pack.h"
#include "targets/cpu/tests/TestSupport.h"

#include <cmath>
#include <functional>
#include <optional>

using namespace mlc;
using namespace mlc::test;

namespace {

struct Window {
  int64_t n, c, h, w, m; // h 0: one spatial axis.
  uint32_t groups = 1, kernelH = 1, kernelW = 1, strideH = 1, strideW = 1, dilationH = 1, dilationW = 1;
  uint32_t top = 0, left = 0, bottom = 0, right = 0;
  int64_t outH() const {
    return (std::max<int64_t>(h, 1) + top + bottom - dilationH * (kernelH - 1) - 1) / strideH + 1;
  }
  int64_t outW() const { return (w + left + right - dilationW * (kernelW - 1) - 1) / strideW + 1; }
  std::string text() const {
    std::string all;
    for (int64_t value :
         {n, c, h, w, m, int64_t(groups), int64_t(kernelH), int64_t(kernelW), int64_t(strideH), int64_t(strideW),
          int64_t(dilationH), int64_t(dilationW), int64_t(top), int64_t(left), int64_t(bottom), int64_t(right)})
      all += std::to_string(value) + " ";
    return all;
  }
};

/// NaN wherever no element lies: what is read by mistake shows.
Tensor filled(Random &random, std::vector<int64_t> dims, int64_t padding, int64_t offset) {
  Tensor tensor(DType::f32, dims, padding, offset);
  std::normal_distribution<float> normal;
  auto *all = reinterpret_cast<float *>(tensor.storage.get());
  int64_t last = offset + 1;
  for (size_t a = 0; a < dims.size(); ++a)
    last += (dims[a] - 1) * tensor.view.strides[a];
  std::fill(all, all + last, NAN);
  std::vector<int64_t> at(dims.size());
  for (bool more = true; more;) {
    int64_t index = 0;
    for (size_t a = 0; a < dims.size(); ++a)
      index += at[a] * tensor.view.strides[a];
    tensor.view.as<float>()[index] = normal(random);
    more = false;
    for (size_t a = dims.size(); a-- > 0 && !more;)
      more = ++at[a] < dims[a] || (at[a] = 0, false);
  }
  return tensor;
}

float valueAt(const Tensor &t, int64_t n, int64_t c, int64_t h, int64_t w) {
  const TensorView &v = t.view;
  return v.as<float>()[n * v.strides[0] + c * v.strides[1] +
                       (v.rank == 4 ? h * v.strides[2] + w * v.strides[3] : w * v.strides[2])];
}

double activated(fb::Activation activation, double slope, double v) {
  switch (activation) {
  case fb::Activation::relu:
    return v < 0 ? slope * v : v;
  case fb::Activation::sigmoid:
    return 1 / (1 + std::exp(-v));
  case fb::Activation::tanh:
    return std::tanh(v);
  case fb::Activation::silu:
    return v / (1 + std::exp(-v));
  default:
    return v;
  }
}

/// A convolution with its operands.
struct Conv {
  Window window;
  fb::Activation activation;
  float slope;
  bool withBias, withResidual, depthwise;
  Tensor x, residual;
  std::vector<float> weight, bias; // weight: [m][c / groups][kernel]
  fb::WeightDesc desc;
  Tensor packed, biases;

  std::vector<int64_t> shape(int64_t channels, int64_t h, int64_t w) const {
    return window.h ? std::vector<int64_t>{window.n, channels, h, w} : std::vector<int64_t>{window.n, channels, w};
  }

  Conv(Random &random, const Window &window, fb::Activation activation, float slope, bool withBias, bool withResidual,
       bool rows, int64_t padding)
      : window(window), activation(activation), slope(slope), withBias(withBias), withResidual(withResidual),
        depthwise(rows), x(filled(random, shape(window.c, window.h, window.w), padding, padding)),
        residual(filled(random, shape(window.m, window.outH(), window.outW()), padding, 1)), packed(DType::u8, {1}),
        biases(DType::f32, {1}) {
    int64_t k = window.c / window.groups * window.kernelH * window.kernelW, m = window.m / window.groups;
    std::normal_distribution<float> normal;
    weight.resize(size_t(window.m * k));
    for (float &value : weight)
      value = normal(random);
    bias.resize(size_t(window.m));
    for (float &value : bias)
      value = normal(random);
    biases = Tensor::vector(bias);
    if (depthwise) {
      desc = fb::WeightDesc(uint64_t(window.m), uint64_t(k), 0, fb::WeightFormat::rows_f32, false);
      packed = Tensor::matrix(weight, window.m, k);
      return;
    }
    desc = fb::WeightDesc(uint64_t(m), uint64_t(k), 0, fb::WeightFormat::panel_f32, false);
    size_t bytes = size_t(*cpu::packedBytes(desc));
    std::vector<uint8_t> all(bytes * window.groups);
    for (uint32_t g = 0; g < window.groups; ++g)
      EXPECT_TRUE(cpu::packRows(desc, 0, desc.n(), weight.data() + int64_t(g) * m * k, all.data() + g * bytes));
    packed = Tensor::bytes(all);
  }

  fb::ConvAttrs attrs() const {
    const Window &w = window;
    return fb::ConvAttrs(desc, w.groups, w.kernelH, w.kernelW, w.strideH, w.strideW, w.dilationH, w.dilationW, w.top,
                         w.left, w.bottom, w.right, slope, activation, withBias, withResidual);
  }

  Tensor run(Isa isa, unsigned threads, int64_t padding) {
    Tensor out(DType::f32, shape(window.m, window.outH(), window.outW()), padding);
    fb::ConvAttrs given = attrs();
    Call call("conv", given);
    call.inputs = {&x, &packed};
    if (withBias)
      call.inputs.push_back(&biases);
    if (withResidual)
      call.inputs.push_back(&residual);
    call.outputs = {&out};
    call.run(isa, threads);
    return out;
  }

  void compare(const Tensor &out, float tolerance) const {
    const Window &s = window;
    int64_t perGroup = s.c / s.groups, m = s.m / s.groups;
    for (int64_t n = 0; n < s.n; ++n)
      for (int64_t o = 0; o < s.m; ++o)
        for (int64_t h = 0; h < s.outH(); ++h)
          for (int64_t w = 0; w < s.outW(); ++w) {
            double sum = withBias ? double(bias[size_t(o)]) : 0, magnitude = std::abs(sum);
            for (int64_t c = 0; c < perGroup; ++c)
              for (int64_t i = 0; i < s.kernelH; ++i)
                for (int64_t j = 0; j < s.kernelW; ++j) {
                  int64_t y = h * s.strideH + i * s.dilationH - s.top, z = w * s.strideW + j * s.dilationW - s.left;
                  if (y < 0 || y >= std::max<int64_t>(s.h, 1) || z < 0 || z >= s.w)
                    continue;
                  double term = double(valueAt(x, n, o / m * perGroup + c, y, z)) *
                                double(weight[size_t(((o * perGroup + c) * s.kernelH + i) * s.kernelW + j)]);
                  sum += term;
                  magnitude += std::abs(term);
                }
            if (withResidual)
              sum += double(valueAt(residual, n, o, h, w));
            double expected = activated(activation, activation == fb::Activation::relu ? double(slope) : 0, sum);
            ASSERT_NEAR(valueAt(out, n, o, h, w), expected, double(tolerance) * (1 + magnitude))
                << n << " " << o << " " << h << " " << w;
          }
  }
};

bool sameValues(const Tensor &a, const Tensor &b, const Window &s) {
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t o = 0; o < s.m; ++o)
      for (int64_t h = 0; h < s.outH(); ++h)
        for (int64_t w = 0; w < s.outW(); ++w)
          if (std::bit_cast<uint32_t>(valueAt(a, n, o, h, w)) != std::bit_cast<uint32_t>(valueAt(b, n, o, h, w)))
            return false;
  return true;
}

} // namespace

TEST(Conv, MatchesDouble) {
  Random random(11);
  auto pick = [&](int64_t least, int64_t most) { return uniform(random, least, most); };
  const fb::Activation activations[] = {fb::Activation::none, fb::Activation::relu, fb::Activation::sigmoid,
                                        fb::Activation::tanh, fb::Activation::silu};
  for (int round = 0; round < trials(160); ++round) {
    Window s{};
    s.groups = uint32_t(pick(0, 2) ? 1 : pick(1, 5));
    int64_t perGroup = pick(0, 3) ? pick(1, 9) : 1;
    s.n = pick(1, 2), s.c = s.groups * perGroup, s.m = s.groups * (pick(0, 1) ? pick(1, 5) : pick(14, 70));
    bool flat = pick(0, 2) == 0;
    s.kernelW = uint32_t(pick(1, 5)), s.strideW = uint32_t(pick(1, 3)), s.dilationW = uint32_t(pick(1, 2));
    s.left = uint32_t(pick(0, 1) * pick(0, 3)), s.right = uint32_t(pick(0, 1) * pick(0, 3));
    s.w = pick(1, 24) + s.dilationW * (s.kernelW - 1);
    if (!flat) {
      s.kernelH = uint32_t(pick(1, 4)), s.strideH = uint32_t(pick(1, 2)), s.dilationH = uint32_t(pick(1, 2));
      s.top = uint32_t(pick(0, 1) * pick(0, 2)), s.bottom = uint32_t(pick(0, 1) * pick(0, 2));
      s.h = pick(1, 9) + s.dilationH * (s.kernelH - 1);
    }
    bool rows = perGroup == 1 && pick(0, 2) != 0;
    SCOPED_TRACE(s.text() + (rows ? "rows" : "panels"));
    Conv conv(random, s, activations[pick(0, 4)], pick(0, 1) ? 0.25f : 0.0f, pick(0, 1), pick(0, 1), rows,
              pick(0, 1) * pick(1, 3));
    std::optional<Tensor> fused;
    for (Isa isa : forms()) {
      Tensor out = conv.run(isa, 1, pick(0, 1) * 2);
      conv.compare(out, 2e-6f);
      EXPECT_TRUE(sameValues(out, conv.run(isa, unsigned(pick(2, 4)), 0), s)) << "threads";
      // Forms with fused instructions add the same in the same order.
      if (isa == Isa::portable)
        continue;
      if (fused)
        EXPECT_TRUE(sameValues(*fused, out, s)) << "forms";
      else
        fused.emplace(std::move(out));
    }
    if (testing::Test::HasFatalFailure())
      return;
  }
}

TEST(Conv, RefusesWhatDoesNotFit) {
  Random random(3);
  Window good{2, 4, 5, 6, 8};
  good.groups = 2, good.kernelH = good.kernelW = 3, good.top = 1;
  auto refused = [&](const std::function<void(Conv &)> &change) {
    Conv conv(random, good, fb::Activation::none, 0, true, true, false, 0);
    Tensor out(DType::f32, conv.shape(good.m, good.outH(), good.outW()));
    // The operands are made already: what changes is what the attributes say, or a view.
    change(conv);
    fb::ConvAttrs attrs = conv.attrs();
    Call call("conv", attrs);
    call.inputs = {&conv.x, &conv.packed, &conv.biases, &conv.residual};
    call.outputs = {&out};
    return call.check();
  };
  EXPECT_EQ(refused([](Conv &) {}), "");
  const std::function<void(Conv &)> changes[] = {
      [](Conv &c) { c.window.groups = 0; },
      [](Conv &c) { c.window.groups = 3; },
      [](Conv &c) { c.window.groups = 4; },
      [](Conv &c) { c.window.kernelH = 2; },
      [](Conv &c) { c.window.kernelW = 1u << 31; },
      [](Conv &c) { c.window.strideH = 0; },
      [](Conv &c) { c.window.strideW = 2; },
      [](Conv &c) { c.window.dilationW = 2; },
      [](Conv &c) { c.window.bottom = 1; },
      [](Conv &c) { c.window.left = UINT32_MAX; },
      [](Conv &c) { c.activation = fb::Activation(99); },
      [](Conv &c) { c.slope = NAN; },
      [](Conv &c) { c.withBias = false; },
      [](Conv &c) { c.desc = fb::WeightDesc(4, 19, 0, fb::WeightFormat::panel_f32, false); },
      [](Conv &c) { c.desc = fb::WeightDesc(5, 18, 0, fb::WeightFormat::panel_f32, false); },
      [](Conv &c) { c.desc = fb::WeightDesc(4, 18, 0, fb::WeightFormat::rows_f32, false); },
      [](Conv &c) { c.desc = fb::WeightDesc(4, 18, 0, fb::WeightFormat::panel_bf16, false); },
      [](Conv &c) { c.x.view.dtype = DType::f16; },
      [](Conv &c) { c.x.view.rank = 2; },
      [](Conv &c) { c.x.view.rank = 3; },
      [](Conv &c) { c.x.view.dims[2] = 6; },
      [](Conv &c) { c.x.view.dims[0] = 1; },
      [](Conv &c) { c.residual.view.dims[1] = 7; },
      [](Conv &c) { c.residual.view.strides[3] = 2; },
      [](Conv &c) { c.packed.view.dims[0] -= 1; },
      [](Conv &c) { c.biases.view.dims[0] = 7; },
  };
  for (size_t i = 0; i < std::size(changes); ++i)
    EXPECT_NE(refused(changes[i]), "") << i;
}

TEST(Matmul, MatchesDouble) {
  Random random(5);
  for (int round = 0; round < trials(80); ++round) {
    int64_t m = uniform(random, 1, 40), k = uniform(random, 1, 70), n = uniform(random, 1, 40),
            batch = uniform(random, 1, 3), heads = uniform(random, 1, 3);
    bool transposed = uniform(random, 0, 1), shared = uniform(random, 0, 1);
    Tensor a = filled(random, {batch, heads, m, k}, uniform(random, 0, 2), 1),
           b = transposed ? filled(random, {batch, heads, n, k}, uniform(random, 0, 2), 0)
                          : filled(random, {batch, heads, k, n}, uniform(random, 0, 2), 0);
    if (transposed) {
      std::swap(b.view.dims[2], b.view.dims[3]);
      std::swap(b.view.strides[2], b.view.strides[3]);
    }
    if (shared)
      b.view.strides[1] = 0;
    SCOPED_TRACE(std::to_string(m) + " " + std::to_string(k) + " " + std::to_string(n) +
                 (transposed ? " transposed" : ""));
    std::optional<Tensor> fused;
    for (Isa isa : forms()) {
      std::vector<Tensor> outs;
      for (unsigned threads : {1u, 3u}) {
        Tensor &out = outs.emplace_back(DType::f32, std::vector<int64_t>{batch, heads, m, n}, uniform(random, 0, 2));
        fb::NoAttrs attrs;
        Call call("matmul", attrs);
        call.inputs = {&a, &b};
        call.outputs = {&out};
        call.run(isa, threads);
      }
      for (int64_t s = 0; s < batch; ++s)
        for (int64_t h = 0; h < heads; ++h)
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) {
              double sum = 0, magnitude = 0;
              for (int64_t l = 0; l < k; ++l) {
                double term = double(valueAt(a, s, h, i, l)) * double(valueAt(b, s, h, l, j));
                sum += term, magnitude += std::abs(term);
              }
              float value = valueAt(outs[0], s, h, i, j);
              ASSERT_NEAR(value, sum, 2e-6 * (1 + magnitude));
              EXPECT_EQ(value, valueAt(outs[1], s, h, i, j)) << "threads";
              if (fused && isa != Isa::portable)
                EXPECT_EQ(value, valueAt(*fused, s, h, i, j)) << "forms";
            }
      if (isa != Isa::portable && !fused)
        fused.emplace(std::move(outs[0]));
    }
  }
}
