//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv1d_causal over the states of a RecurrentStore: against double, and bitwise over splits into steps, ragged mixes,
// threads, rollbacks and transfers.
//
#include "targets/cpu/tests/RecurrentSupport.h"

#include <cmath>
#include <cstring>

using namespace mlc;
using namespace mlc::test;

namespace {

/// Inputs of sequences and the convolution over them.
struct Conv : Recurrent {
  int64_t channels, kernel;
  fb::Activation activation;
  std::vector<std::vector<float>> x;
  std::vector<float> weight, bias;

  Conv(Random &random, int64_t channels, int64_t kernel, bool withBias, fb::Activation activation,
       std::vector<int64_t> lengths, int64_t checkpointEvery = 0)
      : channels(channels), kernel(kernel), activation(activation) {
    create(fb::StateKind::conv, DType::f32, {uint64_t(channels), uint64_t(kernel - 1)}, uint64_t(channels), 0,
           lengths.size(), *std::max_element(lengths.begin(), lengths.end()), checkpointEvery);
    for (int64_t length : lengths)
      x.push_back(normals(random, size_t(length * channels)));
    weight = normals(random, size_t(channels * kernel));
    if (withBias)
      bias = normals(random, size_t(channels));
  }

  std::vector<float> run(const std::vector<BatchSegment> &list, Isa isa, unsigned threads, bool inPlace = false) {
    fb::Conv1dAttrs attrs(uint64_t(channels), uint32_t(kernel), activation, !bias.empty());
    std::vector<float> rows;
    for (const BatchSegment &s : list) {
      const float *begin = x[s.sequence].data() + s.firstPosition * channels;
      rows.insert(rows.end(), begin, begin + s.length * channels);
    }
    int64_t count = int64_t(rows.size()) / channels;
    Tensor xs = Tensor::matrix(rows, count, channels, 5, 3), weights = Tensor::matrix(weight, channels, kernel),
           biases = Tensor::vector(bias), out(DType::f32, {count, channels}, 2);
    Call call("conv1d_causal", attrs);
    call.inputs = {&xs, &weights};
    if (!bias.empty())
      call.inputs.push_back(&biases);
    call.outputs = {inPlace ? &xs : &out};
    step(call, list, isa, threads);
    return (inPlace ? xs : out).values();
  }

  double expected(size_t s, int64_t t, int64_t channel) const {
    double sum = bias.empty() ? 0 : double(bias[size_t(channel)]);
    for (int64_t j = 0; j < kernel; ++j)
      if (int64_t p = t - kernel + 1 + j; p >= 0)
        sum += double(weight[size_t(channel * kernel + j)]) * double(x[s][size_t(p * channels + channel)]);
    return activation == fb::Activation::silu ? sum / (1 + std::exp(-sum)) : sum;
  }
};

} // namespace

// Every form, against double; then splits, rollbacks, transfers and threads, in place too: the same bits.
TEST(Conv1d, MatchesDoubleHoweverItIsSplit) {
  Random random(6);
  for (auto [channels, kernel] :
       std::vector<std::pair<int64_t, int64_t>>{{300, 4}, {17, 4}, {5, 2}, {33, 3}, {16, 20}, {1, 64}})
    for (fb::Activation activation : {fb::Activation::none, fb::Activation::silu}) {
      const std::vector<int64_t> lengths = {90, 40};
      Conv conv(random, channels, kernel, activation == fb::Activation::silu, activation, lengths, 32);
      for (Isa isa : forms()) {
        conv.clear();
        std::vector<std::vector<float>> whole;
        for (uint32_t s = 0; s < 2; ++s) {
          std::vector<int64_t> only(2);
          only[s] = lengths[s];
          whole.push_back(conv.run(conv.segments(only, {0, 1}), isa, 2));
          for (int64_t t = 0; t < lengths[s]; ++t)
            for (int64_t i = 0; i < channels; ++i)
              ASSERT_NEAR(double(whole[s][size_t(t * channels + i)]), conv.expected(s, t, i), 3e-5)
                  << isaName(isa) << " channels " << channels << " kernel " << kernel << " token " << t;
        }
        conv.clear();
        for (int trial = 0; trial < 40; ++trial) {
          std::vector<int64_t> next(2);
          for (uint32_t s = 0; s < 2; ++s) {
            if (random() % 5 == 0)
              conv.rollback(s, conv.store->reachable(s, conv.fed[s], uniform(random, 0, conv.fed[s])));
            else if (random() % 5 == 0)
              conv.transfer(s, random);
            next[s] = std::min(lengths[s] - conv.fed[s], uniform(random, 0, random() % 2 ? 2 : 50));
          }
          std::vector<BatchSegment> list =
              conv.segments(next, trial % 2 ? std::vector<uint32_t>{0, 1} : std::vector<uint32_t>{1, 0});
          if (list.empty())
            continue;
          std::vector<float> got = conv.run(list, isa, unsigned(trial % 4 + 1), trial % 3 == 0), expected;
          for (const BatchSegment &part : list) {
            auto begin = whole[part.sequence].begin() + part.firstPosition * channels;
            expected.insert(expected.end(), begin, begin + part.length * channels);
          }
          ASSERT_TRUE(sameBits(got, expected)) << isaName(isa) << " kernel " << kernel << " trial " << trial;
        }
      }
    }
}

TEST(Conv1d, ChecksItsOperands) {
  Random random(7);
  Conv conv(random, 8, 4, false, fb::Activation::none, {4});
  RecurrentStateView view = conv.store->view(0);
  Tensor x(DType::f32, {4, 8}), weight(DType::f32, {8, 4}), bias(DType::f32, {8}), wrong(DType::f32, {4, 3});
  auto check = [&](const fb::Conv1dAttrs &attrs, std::vector<const Tensor *> inputs) {
    Call call("conv1d_causal", attrs);
    call.inputs = std::move(inputs);
    call.outputs = {&x};
    call.recurrent = &view;
    return call.check();
  };
  EXPECT_EQ(check({8, 4, fb::Activation::silu, false}, {&x, &weight}), "");
  EXPECT_EQ(check({8, 4, fb::Activation::silu, true}, {&x, &weight, &bias}), "");
  EXPECT_NE(check({8, 4, fb::Activation::silu, true}, {&x, &weight}), "");
  EXPECT_NE(check({8, 4, fb::Activation::silu, false}, {&wrong, &weight}), "");
  EXPECT_NE(check({8, 4, fb::Activation::silu, false}, {&x, &wrong}), "");
  EXPECT_NE(check({8, 4, fb::Activation(99), false}, {&x, &weight}), "");
  for (auto [channels, kernel] :
       std::vector<std::pair<uint64_t, uint32_t>>{{8, 3}, {8, 5}, {8, 1}, {8, 0}, {4, 8}, {0, 4}, {~uint64_t(0), 4}})
    EXPECT_NE(check({channels, kernel, fb::Activation::none, false}, {&x, &weight}), "") << channels << " " << kernel;
}
