//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Networks: ports, shapes, the caller's memory, and what runs hand on.
//
#include "runtime/net/Network.h"
#include "tests/unit/session/SessionSupport.h"
#include "tests/unit/support/TinyNetwork.h"

using namespace mlc;
using namespace mlc::test;

namespace {

struct Running {
  explicit Running(const NetworkBuilder &builder, NetworkOptions options = {})
      : bytes(modelBytes(builder.model)), model(open()),
        network(must(Network::create(model->executionPlan(), options))) {}
  Owned<Model> open() {
    ModelOptions options;
    options.networks = true;
    return Owned<Model>(must(Model::fromMemory(bytes.span(), options)));
  }
  template <typename T = float> void give(size_t input, std::vector<T> values) {
    std::copy(values.begin(), values.end(), network->input(input).as<T>());
  }
  template <typename T = float> std::vector<T> take(size_t output) {
    TensorView view = network->output(output);
    size_t count = 1;
    for (unsigned axis = 0; axis < view.rank; ++axis)
      count *= size_t(view.dims[axis]);
    return {view.as<T>(), view.as<T>() + count};
  }
  /// One run with so many rows of `x`; the values count up from `from`.
  void step(int64_t rows, float from) {
    int64_t dims[] = {rows, 8};
    must(network->setShape(0, dims));
    for (size_t i = 0; i < size_t(rows) * 8; ++i) {
      network->input(0).as<float>()[i] = from + float(i);
      network->input(1).as<float>()[i] = -10;
    }
    give(2, {1, 2, 3, from});
    give<int64_t>(3, {7, -8, int64_t(1) << 60});
    must(network->run());
  }
  AlignedBytes bytes;
  Owned<Model> model;
  Owned<Network> network;
};

} // namespace

TEST(Network, RunsByNameWithinBounds) {
  Running running(tinyNetwork());
  Network &net = *running.network;
  ASSERT_EQ(net.inputs().size(), 4u);
  ASSERT_EQ(net.outputs().size(), 4u);
  ASSERT_EQ(net.states().size(), 1u);
  EXPECT_STREQ(net.inputs()[1].name, "y");
  EXPECT_STREQ(net.outputs()[3].name, "same");
  EXPECT_STREQ(net.states()[0].name, "steps");
  EXPECT_EQ(net.inputs()[3].dtype, DType::i64);
  EXPECT_STREQ(net.inputs()[0].axes[0].name, "batch");
  EXPECT_EQ(net.inputs()[0].axes[0].most(), 4);
  EXPECT_EQ(net.inputs()[0].axes[1].name, nullptr);
  for (int64_t rows : {4, 1, 3}) {
    running.step(rows, 5);
    EXPECT_EQ(net.output(0).dims[0], rows);
    std::vector<float> sum = running.take(0), half = running.take(1);
    ASSERT_EQ(sum.size(), size_t(rows) * 8);
    for (size_t i = 0; i < sum.size(); ++i)
      EXPECT_EQ(sum[i], std::max(0.0f, float(i) - 5)) << rows;
    for (size_t i = 0; i < half.size(); ++i)
      EXPECT_EQ(half[i], 5 + float(i / 4 * 8 + 4 + i % 4)) << rows;
    EXPECT_EQ(running.take<int64_t>(3), (std::vector<int64_t>{7, -8, int64_t(1) << 60}));
  }
}

TEST(Network, ShapesAreHeldToTheirBounds) {
  Running running(tinyNetwork());
  Network &net = *running.network;
  auto set = [&](size_t input, std::vector<int64_t> dims, ErrorCode code) {
    return failure(net.setShape(input, dims), code);
  };
  EXPECT_EQ(set(0, {5, 8}, ErrorCode::OutOfRange), "axis 0 has 5 elements; 'batch' is 1 to 4");
  EXPECT_EQ(set(0, {0, 8}, ErrorCode::OutOfRange), "axis 0 has 0 elements; 'batch' is 1 to 4");
  EXPECT_EQ(set(0, {2, 9}, ErrorCode::OutOfRange), "axis 1 has 9 elements, input 'x' has 8");
  EXPECT_EQ(set(2, {1, 4}, ErrorCode::InvalidArgument), "input 'step' has 1 axes, not 2");
  // A refusal has changed nothing.
  EXPECT_EQ(net.input(0).dims[0], 4);
  must(net.setShape(0, std::vector<int64_t>{2, 8}));
  EXPECT_EQ(set(1, {3, 8}, ErrorCode::InvalidArgument), "axis 0 has 3 elements; 'batch' is 2 in this run");
  must(net.setShape(1, std::vector<int64_t>{2, 8}));
  must(net.setShape(0, std::vector<int64_t>{1, 8}) ? Status(Error(ErrorCode::Internal, "taken")) : Status());
  must(net.run());
  must(net.setShape(1, std::vector<int64_t>{3, 8}));
  EXPECT_EQ(net.output(1).dims[0], 3);
}

TEST(Network, FactorsOfAnExtent) {
  NetworkBuilder builder;
  int32_t frames = builder.extent("frames", 3);
  uint32_t x = builder.input("x", DType::f32, {fb::Dim(1, frames), fb::Dim(2, frames)});
  builder.copy(x, builder.output("y", DType::f32, {fb::Dim(1, frames), fb::Dim(2, frames)}));
  Running running(builder);
  auto set = [&](std::vector<int64_t> dims) { return failure(running.network->setShape(0, dims), ErrorCode(7)); };
  EXPECT_EQ(set({2, 3}), "axis 1 has 3 elements; 'frames' is 2 to 6 in steps of the least");
  EXPECT_EQ(failure(running.network->setShape(0, std::vector<int64_t>{2, 6}), ErrorCode::InvalidArgument),
            "axis 1 has 6 elements; 'frames' is 4 in this run");
  must(running.network->setShape(0, std::vector<int64_t>{2, 4}));
  // A kernel has been checked at the bounds of an axis behind the first.
  float lent[18];
  EXPECT_EQ(failure(running.network->bindInput(0, lent, 32), ErrorCode::InvalidArgument),
            "input 'x': 32 bytes of memory, 72 are needed");
  running.give(0, {1, 2, 3, 4, 5, 6, 7, 8});
  must(running.network->run());
  EXPECT_EQ(running.take(0), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(Network, ExtentsThatFollowFromOthers) {
  NetworkBuilder builder;
  int32_t t = builder.extent("t", 9);
  auto ruled = [&](const char *name, fb::ExtentRule rule, fb::Dim left, fb::Dim right, uint64_t bound, int64_t least) {
    int32_t index = builder.extent(name, bound);
    fb::ExtentT &extent = *builder.model.metadata.extents[size_t(index)];
    extent.rule = rule;
    extent.left = std::make_unique<fb::Dim>(left);
    extent.right = std::make_unique<fb::Dim>(right);
    extent.least = least;
    return index;
  };
  auto number = [](int64_t value) { return fb::Dim(value, -1); };
  // ((t - 6) / 2 rounded down) * 2 + 6, and the same rounded up: of an even t both are t.
  int32_t less = ruled("t - 6", fb::ExtentRule::add, {1, t}, number(-6), 9, -9);
  int32_t down = ruled("down", fb::ExtentRule::floor_divide, {1, less}, number(2), 9, -9);
  int32_t up = ruled("up", fb::ExtentRule::ceil_divide, {1, less}, number(2), 9, -9);
  int32_t twice = ruled("twice", fb::ExtentRule::multiply, {1, down}, number(2), 9, -18);
  int32_t even = ruled("even", fb::ExtentRule::add, {1, twice}, number(6), 9, 0);
  int32_t gap = ruled("gap", fb::ExtentRule::multiply, {1, up}, number(-1), 9, -9);
  int32_t same = ruled("same", fb::ExtentRule::add, {1, gap}, {1, down}, 1, 0); // Below 0 unless t is even.
  ruled("at most 7", fb::ExtentRule::minimum, {1, even}, number(7), 7, 0);
  ruled("one", fb::ExtentRule::maximum, {1, same}, number(1), 1, 1);
  uint32_t x = builder.input("x", DType::f32, {fb::Dim(1, t)});
  builder.copy(x, builder.output("y", DType::f32, {fb::Dim(1, even)}));
  Running running(builder);
  Network &net = *running.network;
  EXPECT_THAT(failure(net.run(), ErrorCode::OutOfRange), testing::HasSubstr("'same' inside the network"));
  for (int64_t extent : {8, 2, 4}) {
    must(net.setShape(0, std::vector<int64_t>{extent}));
    EXPECT_EQ(net.output(0).dims[0], extent);
    std::vector<float> values(static_cast<size_t>(extent), static_cast<float>(extent));
    running.give(0, values);
    must(net.run());
    EXPECT_EQ(running.take(0), values);
  }
  must(net.setShape(0, std::vector<int64_t>{5}));
  EXPECT_THAT(failure(net.run(), ErrorCode::OutOfRange), testing::HasSubstr("give larger inputs"));
  must(net.setShape(0, std::vector<int64_t>{2}));
  must(net.run());
}

TEST(Network, RunsHandTheirStatesOn) {
  Running running(tinyNetwork()), other(tinyNetwork());
  Network &net = *running.network;
  const uint8_t *first = net.state(0).data();
  running.step(1, 10);
  EXPECT_EQ(running.take(2), (std::vector<float>{1, 2, 3, 10}));
  EXPECT_NE(net.state(0).data(), first); // The ranges change places: nothing is copied.
  running.step(4, 20);
  EXPECT_EQ(net.state(0).data(), first);
  EXPECT_EQ(running.take(2), (std::vector<float>{2, 4, 6, 30}));
  // A stream goes on in another network.
  must(other.network->setState(0, net.state(0)));
  other.step(1, 5);
  EXPECT_EQ(other.take(2), (std::vector<float>{3, 6, 9, 35}));
  EXPECT_EQ(failure(net.setState(0, std::vector<uint8_t>(15)), ErrorCode::InvalidArgument),
            "state 'steps' has 16 bytes, not 15");
  // One that was cancelled has not been.
  net.requestCancel();
  EXPECT_EQ(net.run().error().code(), ErrorCode::Cancelled);
  net.clearCancel();
  running.step(1, 1);
  EXPECT_EQ(running.take(2), (std::vector<float>{3, 6, 9, 31}));
  net.reset();
  running.step(1, 1);
  EXPECT_EQ(running.take(2), (std::vector<float>{1, 2, 3, 1}));
}

TEST(Network, TheCallersMemory) {
  Running running(tinyNetwork());
  Network &net = *running.network;
  std::vector<float> x(4 * 8 + 1), half(4 * 4), sum(1000);
  // Aligned for an element, no more.
  float *misaligned = x.data() + 1;
  for (size_t i = 0; i < 32; ++i)
    misaligned[i] = 100 + float(i);
  must(net.bindInput(0, misaligned, 128));
  must(net.bindOutput(1, half.data(), 64));
  EXPECT_EQ(net.input(0).data, misaligned);
  running.give(1, std::vector<float>(32, 1.0f));
  must(net.run());
  EXPECT_EQ(running.take(0)[31], 132);
  EXPECT_EQ(half, (std::vector<float>{104, 105, 106, 107, 112, 113, 114, 115, 120, 121, 122, 123, 128, 129, 130, 131}));
  EXPECT_EQ(failure(net.bindInput(0, misaligned, 127), ErrorCode::InvalidArgument),
            "input 'x': 127 bytes of memory, 128 are needed");
  EXPECT_EQ(failure(net.bindInput(0, reinterpret_cast<char *>(misaligned) + 1, 128), ErrorCode::InvalidArgument),
            "input 'x': the memory is not aligned for its elements");
  // Memory for a shape that then grows.
  must(net.setShape(0, std::vector<int64_t>{2, 8}));
  must(net.bindOutput(0, sum.data(), 64));
  must(net.run());
  EXPECT_EQ(sum[15], 116);
  must(net.setShape(0, std::vector<int64_t>{3, 8}));
  EXPECT_EQ(failure(net.run(), ErrorCode::InvalidArgument), "output 'sum': 64 bytes of memory, 96 are needed");
  must(net.bindOutput(0, nullptr, 0));
  running.give(2, {0, 0, 0, 0});
  must(net.run());
  EXPECT_EQ(sum[16], 0);
  EXPECT_EQ(running.take(0)[23], 124);
}

TEST(Network, SharedRangesAreNotTheCallers) {
  NetworkBuilder builder = tinyNetwork();
  // `x` and a value of the network share memory; `y` is written in place.
  builder.meta().slots[builder.main().inputs[0]]->offset += 0;
  auto over = std::make_unique<fb::SlotT>();
  over->dtype = DType::f32;
  over->dims = {fb::Dim(64, -1)};
  over->offset = builder.meta().slots[builder.main().inputs[0]]->offset;
  builder.meta().slots.push_back(std::move(over));
  builder.unary(fb::Activation::relu, builder.main().inputs[1], builder.main().inputs[1]);
  Running running(builder);
  float values[32];
  for (size_t input : {0, 1})
    EXPECT_THAT(failure(running.network->bindInput(input, values, sizeof values), ErrorCode::Unsupported),
                testing::HasSubstr("its memory is shared"));
  must(running.network->bindInput(0, nullptr, 0));
  running.step(2, 1);
  EXPECT_EQ(running.take(1)[0], 5);
}

TEST(Network, IsNoLanguageModel) {
  Running running(tinyNetwork());
  EXPECT_EQ(failure(Session::create(*running.model), ErrorCode::InvalidArgument),
            "is a network; sessions are of language models");
  EXPECT_EQ(failure(Model::fromMemory(running.bytes.span()), ErrorCode::Unsupported),
            "artifact: is a network; a language model is wanted here");
  TestModel tiny;
  EXPECT_EQ(failure(Network::create(tiny.model->executionPlan()), ErrorCode::InvalidArgument),
            "artifact: is a language model, no network");
  NetworkOptions options;
  options.maxMemory = 100;
  EXPECT_THAT(failure(Network::create(running.model->executionPlan(), options), ErrorCode::OutOfMemory),
              testing::HasSubstr("more than the 100 allowed"));
  options = {};
  options.function = "encode";
  EXPECT_EQ(failure(Network::create(running.model->executionPlan(), options), ErrorCode::NotFound),
            "artifact: no function \"encode\" in the artifact");
}

TEST(Network, ThreadsGiveTheSameBits) {
  NetworkOptions options;
  options.threads = 3;
  Running one(tinyNetwork()), three(tinyNetwork(), options);
  one.step(4, 0.1f);
  three.step(4, 0.1f);
  EXPECT_EQ(one.take(0), three.take(0));
}

TEST(Network, TimesOfOps) {
  Running running(tinyNetwork());
  std::vector<OpTime> times(running.model->executionPlan().ops().size());
  running.network->timeOps(times);
  running.step(4, 1);
  running.step(4, 1);
  running.network->timeOps({});
  running.step(4, 1);
  for (const OpTime &time : times)
    EXPECT_EQ(time.runs, 2u);
}
