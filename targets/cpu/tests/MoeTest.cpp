//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// moe_route against the formula; moe_up and moe_down against linear, gated_activation and quantize_rows on one token
// and one expert at a time: the same bits, in every form, whatever the batch and the threads.
//
#include "targets/cpu/tests/TestSupport.h"

#include "runtime/core/BlockFormats.h"

#include <algorithm>
#include <cmath>

using namespace mlc;
using namespace mlc::cpu;
using namespace mlc::test;
using fb::WeightFormat;

namespace {

struct Format {
  WeightFormat format;
  uint32_t group = 0;
  bool asymmetric = false, bf16 = false, quantized = false;
};
const Format kFormats[] = {
    {WeightFormat::panel_f32},
    {WeightFormat::panel_f16},
    {WeightFormat::panel_bf16, 0, false, true},
    {WeightFormat::panel_int8, 32, false, false, true},
    {WeightFormat::panel_int4, 32, true, false, true},
    {WeightFormat::panel_int4, 128, false, false, true},
    {WeightFormat::panel_int4, 64}, // Dequantized, for f32 rows.
    {WeightFormat::panel_q8_0, 0, false, false, true},
    {WeightFormat::block_q8_0},
};

/// `count` matrices of one descriptor, packed one behind the other.
struct Matrices {
  fb::WeightDesc desc;
  Tensor packed;

  Matrices(Random &random, const Format &format, uint64_t n, uint64_t k, unsigned count)
      : desc(n, k, format.group, format.format, format.asymmetric) {
    uint64_t bytes = *packedBytes(desc);
    std::vector<uint8_t> all(bytes * count);
    for (unsigned m = 0; m < count; ++m) {
      uint8_t *out = all.data() + m * bytes;
      if (isBlockPanel(format.format) || isBlockFormat(format.format)) {
        std::vector<uint8_t> blocks(n * k / 32 * 34);
        for (uint8_t &byte : blocks)
          byte = uint8_t(random());
        for (size_t b = 0; b < blocks.size(); b += 34)
          blocks[b + 1] = uint8_t((random() & 0x83) | 0x18); // A small f16.
        if (isBlockPanel(format.format))
          packBlocks(desc, 0, n, blocks.data(), out);
        else
          std::copy(blocks.begin(), blocks.end(), out);
      } else {
        std::vector<float> values = normals(random, n * k, 1.0f / std::sqrt(float(k)));
        EXPECT_TRUE(packRows(desc, 0, n, values.data(), out));
      }
    }
    packed = Tensor::bytes(all, int64_t(random() % 3));
  }
  Tensor matrix(unsigned index) const {
    uint64_t bytes = *packedBytes(desc);
    const auto *at = packed.view.as<uint8_t>() + index * bytes;
    return Tensor::bytes(std::vector<uint8_t>(at, at + bytes));
  }
};

Tensor quantize(const Tensor &x, uint64_t k, RowGroups groups, Isa isa) {
  fb::QuantizeRowsAttrs attrs(k, groups.group, groups.sumGroup);
  Tensor rows(DType::u8, {x.view.dims[0], int64_t(QuantizedRow(k, groups.group, groups.sumGroup).bytes)});
  Call call("quantize_rows", attrs);
  call.inputs = {&x};
  call.outputs = {&rows};
  call.run(isa);
  return rows;
}

struct Mixture {
  Format format;
  int64_t experts, topK, k, hidden, n;
  bool gated, halves; // halves: gate and up of an expert lie side by side.
  Matrices into, down;

  Mixture(Random &random, const Format &format, int64_t k, int64_t hidden, int64_t n, bool gated, bool halves)
      : format(format), experts(5), topK(3), k(k), hidden(hidden), n(n), gated(gated), halves(halves),
        into(random, format, uint64_t(hidden), uint64_t(k), gated ? 10 : 5),
        down(random, format, uint64_t(n), uint64_t(hidden), 5) {}

  /// One row through linear.
  Tensor product(const Matrices &weights, unsigned index, const Tensor &x, Isa isa) const {
    fb::LinearAttrs attrs(weights.desc, format.quantized, false, false, false, fb::Activation::none, 0, 0, format.bf16);
    Tensor weight = weights.matrix(index), out(DType::f32, {1, int64_t(weights.desc.n())});
    Call call("linear", attrs);
    call.inputs = {&x, &weight};
    call.tokens = {true, false};
    call.outputs = {&out};
    call.run(isa);
    return out;
  }
  Tensor rowFor(const Tensor &x, const Matrices &weights, Isa isa) const {
    if (!format.quantized)
      return Tensor::matrix(x.values(), 1, x.view.dims[1]);
    return quantize(x, weights.desc.k(), rowGroups(weights.desc), isa);
  }

  /// What expert `e` makes of the row x.
  std::vector<float> expert(unsigned e, const Tensor &x, Isa isa) const {
    Tensor row = rowFor(x, into, isa), gate = product(into, halves && gated ? 2 * e : e, row, isa);
    Tensor activated(DType::f32, {1, hidden});
    if (gated) {
      Tensor up = product(into, halves ? 2 * e + 1 : e + unsigned(experts), row, isa);
      fb::GatedActivationAttrs attrs(fb::Activation::silu);
      Call call("gated_activation", attrs);
      call.inputs = {&gate, &up};
      call.tokens = {true, true};
      call.outputs = {&activated};
      call.run(isa);
    } else {
      fb::UnaryAttrs attrs(fb::Activation::silu, 1, 1);
      Call call("unary", attrs);
      call.inputs = {&gate};
      call.outputs = {&activated};
      call.run(isa);
    }
    return product(down, e, rowFor(activated, down, isa), isa).values();
  }

  std::vector<float> run(const Tensor &x, const Tensor &ids, const Tensor &p, const Tensor *residual, Isa isa,
                         unsigned threads) const {
    int64_t tokens = x.view.dims[0];
    RowGroups out = format.quantized ? rowGroups(down.desc) : RowGroups{};
    Tensor rows = format.quantized ? quantize(x, uint64_t(k), rowGroups(into.desc), isa) : Tensor();
    int64_t columns =
        format.quantized ? int64_t(QuantizedRow(uint64_t(hidden), out.group, out.sumGroup).bytes) : hidden;
    Tensor between(format.quantized ? DType::u8 : DType::f32, {tokens, columns * topK}), y(DType::f32, {tokens, n}, 3);
    fb::MoeUpAttrs up(into.desc, uint32_t(experts), uint32_t(topK), gated && halves ? 2 : 1,
                      gated ? (halves ? 1 : uint32_t(experts)) : 0, out.group, out.sumGroup, fb::Activation::silu,
                      format.quantized, format.bf16);
    Call first("moe_up", up);
    first.inputs = {format.quantized ? &rows : &x, &into.packed, &ids};
    first.tokens = {true, false, true};
    first.outputs = {&between};
    first.run(isa, threads);
    fb::MoeDownAttrs attrs(down.desc, uint32_t(experts), uint32_t(topK), format.quantized, format.bf16,
                           residual != nullptr);
    Call second("moe_down", attrs);
    second.inputs = {&between, &down.packed, &ids, &p};
    second.tokens = {true, false, true, true};
    if (residual) {
      second.inputs.push_back(residual);
      second.tokens.push_back(true);
    }
    second.outputs = {&y};
    second.run(isa, threads);
    return y.values();
  }
};

/// `topK` different experts for each token.
Tensor randomIds(Random &random, int64_t tokens, int64_t topK, int64_t experts) {
  Tensor ids(DType::i32, {tokens, topK});
  for (int64_t t = 0; t < tokens; ++t) {
    std::vector<int32_t> all(static_cast<size_t>(experts));
    for (int64_t e = 0; e < experts; ++e)
      all[size_t(e)] = int32_t(e);
    std::shuffle(all.begin(), all.end(), random);
    std::copy_n(all.begin(), topK, ids.view.row<int32_t>(t));
  }
  return ids;
}

} // namespace

TEST(Moe, EqualsLinearBitwise) {
  int combination = -1;
  for (const Format &format : kFormats) {
    bool blocks = isBlockPanel(format.format) || isBlockFormat(format.format);
    for (auto [gated, halves] : {std::pair(true, false), {true, true}, {false, false}}) {
      ++combination;
      if (kEmulated && combination % 3 != combination / 3 % 3)
        continue; // All of them take a minute there: every format once, the kinds of experts in turn.
      Random random(7);
      // Odd widths; 160 has groups of 32, 256 of 128 columns.
      int64_t hidden = blocks ? 64 : halves ? 160 : 37, k = blocks ? 96 : halves ? 256 : 75;
      Mixture mixture(random, format, k, hidden, 53, gated, halves);
      for (int64_t tokens : {1, 2, 15}) {
        Tensor x = Tensor::matrix(normals(random, size_t(tokens * k)), tokens, k, 2);
        Tensor ids = randomIds(random, tokens, mixture.topK, mixture.experts);
        Tensor p = Tensor::matrix(normals(random, size_t(tokens * mixture.topK)), tokens, mixture.topK);
        Tensor residual = Tensor::matrix(normals(random, size_t(tokens * 53)), tokens, 53, 1);
        for (Isa isa : forms()) {
          std::vector<float> expected;
          for (int64_t t = 0; t < tokens; ++t) {
            Tensor row = Tensor::matrix({x.view.row<float>(t), x.view.row<float>(t) + k}, 1, k);
            std::vector<float> y(residual.view.row<float>(t), residual.view.row<float>(t) + 53);
            for (unsigned e = 0; e < 5; ++e)
              for (int64_t j = 0; j < mixture.topK; ++j)
                if (ids.view.row<int32_t>(t)[j] == int32_t(e)) {
                  std::vector<float> out = mixture.expert(e, row, isa);
                  for (size_t i = 0; i < y.size(); ++i)
                    y[i] = std::fma(p.view.row<float>(t)[j], out[i], y[i]);
                }
            expected.insert(expected.end(), y.begin(), y.end());
          }
          for (unsigned threads : {1u, 3u})
            EXPECT_TRUE(sameBits(mixture.run(x, ids, p, &residual, isa, threads), expected))
                << "format " << int(format.format) << " group " << format.group << " gated " << gated << " halves "
                << halves << " tokens " << tokens << " isa " << int(isa) << " threads " << threads;
        }
      }
    }
  }
}

// More rows of one expert than a tile holds, and ids that name none: no row, no access.
TEST(Moe, ManyRowsAndForeignIds) {
  Random random(11);
  Mixture mixture(random, {WeightFormat::panel_int4, 32, false, false, true}, 64, 48, 32, true, false);
  int64_t tokens = 600;
  Tensor x = Tensor::matrix(normals(random, size_t(tokens * 64)), tokens, 64);
  Tensor ids(DType::i32, {tokens, 3}), p = Tensor::matrix(normals(random, size_t(tokens * 3)), tokens, 3);
  for (int64_t t = 0; t < tokens; ++t) {
    int32_t *row = ids.view.row<int32_t>(t);
    row[0] = 2, row[1] = t % 2 ? -1 : 5, row[2] = t % 3 ? INT32_MAX : 0;
  }
  std::vector<float> all = mixture.run(x, ids, p, nullptr, machineIsa(), 2);
  for (int64_t t : {0, 1, 511, 512, 599}) {
    Tensor row = Tensor::matrix({x.view.row<float>(t), x.view.row<float>(t) + 64}, 1, 64);
    Tensor id(DType::i32, {1, 3}), weight = Tensor::matrix({p.view.row<float>(t), p.view.row<float>(t) + 3}, 1, 3);
    std::copy_n(ids.view.row<int32_t>(t), 3, id.view.row<int32_t>(0));
    std::vector<float> alone = mixture.run(row, id, weight, nullptr, machineIsa(), 1);
    EXPECT_TRUE(sameBits(std::vector<float>(all.begin() + t * 32, all.begin() + (t + 1) * 32), alone)) << t;
    EXPECT_TRUE(std::all_of(alone.begin(), alone.end(), [](float v) { return std::isfinite(v); }));
  }
}

namespace {

struct Routes {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

Routes route(const fb::MoeRouteAttrs &attrs, const Tensor &logits, const Tensor *bias, Isa isa, unsigned threads = 1) {
  int64_t tokens = logits.view.dims[0], topK = attrs.top_k();
  Tensor ids(DType::i32, {tokens, topK}, 1), weights(DType::f32, {tokens, topK}, 2);
  Call call("moe_route", attrs);
  call.inputs = {&logits};
  call.tokens = {true};
  if (bias) {
    call.inputs.push_back(bias);
    call.tokens.push_back(false);
  }
  call.outputs = {&ids, &weights};
  call.run(isa, threads);
  Routes routes{{}, weights.values()};
  for (int64_t t = 0; t < tokens; ++t)
    routes.ids.insert(routes.ids.end(), ids.view.row<int32_t>(t), ids.view.row<int32_t>(t) + topK);
  return routes;
}

} // namespace

TEST(Moe, RouterForms) {
  Random random(3);
  const int64_t tokens = 9, experts = 24, topK = 5;
  Tensor logits = Tensor::matrix(normals(random, size_t(tokens * experts), 2.0f), tokens, experts, 3);
  Tensor bias = Tensor::vector(normals(random, size_t(experts), 0.5f));
  for (Isa isa : forms())
    for (auto form : {fb::RouterForm::softmax_topk, fb::RouterForm::topk_softmax, fb::RouterForm::sigmoid})
      for (bool normalize : {false, true}) {
        bool sigmoid = form == fb::RouterForm::sigmoid;
        uint32_t groups = sigmoid ? 6 : 1, kept = sigmoid ? 3 : 1;
        fb::MoeRouteAttrs attrs(experts, topK, groups, kept, 1.5f, form, normalize, sigmoid);
        Routes routes = route(attrs, logits, sigmoid ? &bias : nullptr, isa);
        for (int64_t t = 0; t < tokens; ++t) {
          const float *l = logits.view.row<float>(t);
          std::vector<double> p(experts), s(experts);
          double sum = 0;
          for (int64_t e = 0; e < experts; ++e)
            sum += std::exp(double(l[e]));
          for (int64_t e = 0; e < experts; ++e) {
            p[size_t(e)] = sigmoid ? 1 / (1 + std::exp(-double(l[e]))) : std::exp(double(l[e])) / sum;
            s[size_t(e)] = p[size_t(e)] + (sigmoid ? double(bias.view.as<float>()[e]) : 0);
          }
          if (sigmoid) {
            std::vector<std::pair<double, int>> best;
            for (int g = 0; g < 6; ++g) {
              std::vector<double> of(s.begin() + g * 4, s.begin() + g * 4 + 4);
              std::sort(of.rbegin(), of.rend());
              best.push_back({-(of[0] + of[1]), g});
            }
            std::sort(best.begin(), best.end());
            for (int g = 3; g < 6; ++g)
              std::fill_n(s.begin() + best[size_t(g)].second * 4, 4, -1e9);
          }
          std::vector<int> order(experts);
          for (int e = 0; e < experts; ++e)
            order[size_t(e)] = e;
          std::sort(order.begin(), order.end(), [&](int a, int b) { return s[size_t(a)] > s[size_t(b)]; });
          double chosen = 0;
          for (int64_t j = 0; j < topK; ++j)
            chosen += p[size_t(order[size_t(j)])];
          for (int64_t j = 0; j < topK; ++j) {
            size_t at = size_t(t * topK + j);
            EXPECT_EQ(routes.ids[at], order[size_t(j)]) << int(form) << " token " << t << " rank " << j;
            bool divide = normalize || form == fb::RouterForm::topk_softmax;
            double expected = 1.5 * p[size_t(order[size_t(j)])] / (divide ? chosen : 1);
            EXPECT_NEAR(routes.weights[at], expected, 2e-6 * std::abs(expected)) << int(form);
          }
        }
        EXPECT_TRUE(sameBits(route(attrs, logits, sigmoid ? &bias : nullptr, isa, 4).weights, routes.weights));
      }
}

TEST(Moe, RouterTiesAndNaN) {
  fb::MoeRouteAttrs attrs(6, 3, 1, 1, 1.0f, fb::RouterForm::softmax_topk, true, false);
  const float nan = std::nanf(""), inf = INFINITY;
  Tensor logits =
      Tensor::matrix({1, 2, 2, 1, 2, 1, 0, 0, 0, 0, 0, 0, -inf, -inf, -inf, 1, -inf, -inf, nan, 3, nan, 1, 2, 0}, 4, 6);
  for (Isa isa : forms()) {
    Routes routes = route(attrs, logits, nullptr, isa);
    EXPECT_EQ(routes.ids, (std::vector<int32_t>{1, 2, 4, 0, 1, 2, 3, 0, 1, 1, 4, 3}));
    EXPECT_NEAR(routes.weights[0], 1.0f / 3, 1e-6);
    EXPECT_EQ(routes.weights[6], 1.0f);
  }
}

TEST(Moe, ScaleRows) {
  Random random(5);
  Tensor x = Tensor::matrix(normals(random, 7 * 45), 7, 45, 3), factors = Tensor::matrix(normals(random, 7), 7, 1, 1);
  fb::ScaleRowsAttrs attrs(fb::Activation::sigmoid);
  for (Isa isa : forms()) {
    Tensor y(DType::f32, {7, 45}, 1);
    Call call("scale_rows", attrs);
    call.inputs = {&x, &factors};
    call.tokens = {true, true};
    call.outputs = {&y};
    call.run(isa, 2);
    for (int64_t t = 0; t < 7; ++t)
      for (int64_t i = 0; i < 45; ++i) {
        double expected = double(x.view.row<float>(t)[i]) / (1 + std::exp(-double(*factors.view.row<float>(t))));
        EXPECT_NEAR(y.view.row<float>(t)[i], expected, 1e-6 * (1 + std::abs(expected)));
      }
  }
}
