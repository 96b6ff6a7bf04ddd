//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Control flow, calls and extents of the plan interpreter, on functions added to a tiny model.
//
#include "runtime/exec/Executor.h"
#include "tests/unit/session/SessionSupport.h"

using namespace mlc;
using namespace mlc::test;

namespace {

/// Adds slots and functions to a model's plan.
struct PlanEditor {
  TinyModel model = makeTinyModel();
  fb::ArtifactT &meta() { return model.metadata; }

  uint32_t slot(fb::DType dtype, std::vector<fb::Dim> dims, uint64_t bytes) {
    auto slot = std::make_unique<fb::SlotT>();
    slot->dtype = dtype;
    slot->dims = std::move(dims);
    slot->offset = meta().arena_size;
    meta().arena_size += alignUp<uint64_t>(bytes, 64);
    meta().slots.push_back(std::move(slot));
    return uint32_t(meta().slots.size() - 1);
  }
  uint32_t vector() { return slot(fb::DType::f32, {fb::Dim(4, -1)}, 16); }
  uint32_t scalar(fb::DType dtype) { return slot(dtype, {fb::Dim(1, -1)}, 8); }

  template <typename T> static void append(fb::BlockT &block, T body, const char *location) {
    auto op = std::make_unique<fb::OpT>();
    op->location = location;
    op->body.Set(std::move(body));
    block.ops.push_back(std::move(op));
  }
  /// out = a + b.
  void add(fb::BlockT &block, uint32_t a, uint32_t b, uint32_t out) {
    size_t kernel = 0;
    while (kernel < meta().kernels.size() && meta().kernels[kernel]->name != "binary")
      ++kernel;
    if (kernel == meta().kernels.size()) {
      meta().kernels.push_back(std::make_unique<fb::KernelT>());
      meta().kernels.back()->name = "binary";
      meta().kernels.back()->version = 1;
    }
    fb::KernelCallT call;
    call.kernel = uint32_t(kernel);
    call.inputs = {a, b};
    call.outputs = {out};
    call.attrs.Set(fb::BinaryAttrs(fb::Binary::add));
    append(block, std::move(call), "add");
  }
  fb::BlockT &function(const char *name) {
    meta().functions.push_back(std::make_unique<fb::FunctionT>());
    meta().functions.back()->name = name;
    meta().functions.back()->body = std::make_unique<fb::BlockT>();
    return *meta().functions.back()->body;
  }
};

/// An executor of the edited plan.
struct Running {
  explicit Running(PlanEditor &editor)
      : bytes(modelBytes(editor.model)), model(must(Model::fromMemory(bytes.span()))),
        pool(must(WorkerPool::create(2))), executor(must(Executor::create(model->executionPlan(), *pool))) {}
  void run(const char *function) {
    must(executor->run(must(model->executionPlan().functionIndex(function)), BatchView{}));
  }
  template <typename T> T *at(uint32_t slot) { return executor->slot(slot).as<T>(); }
  AlignedBytes bytes;
  Owned<Model> model;
  Owned<WorkerPool> pool;
  Owned<Executor> executor;
};

} // namespace

TEST(Executor, LoopsCountAndStop) {
  PlanEditor editor;
  uint32_t one = editor.vector(), sum = editor.vector(), index = editor.scalar(fb::DType::i64),
           trips = editor.scalar(fb::DType::i64), go = editor.scalar(fb::DType::boolean);
  auto loop = [&](const char *name, int32_t tripSlot, uint64_t staticTrips, int32_t whileSlot) {
    fb::LoopT loop;
    loop.trip_count = tripSlot;
    loop.static_trips = staticTrips;
    loop.max_trips = 5;
    loop.index = int32_t(index);
    loop.while_condition = whileSlot;
    loop.body = std::make_unique<fb::BlockT>();
    editor.add(*loop.body, one, sum, sum);
    PlanEditor::append(editor.function(name), std::move(loop), name);
  };
  loop("static", -1, 3, -1);
  loop("counted", int32_t(trips), 0, -1);
  loop("guarded", -1, 4, int32_t(go));
  Running running(editor);
  std::fill_n(running.at<float>(one), 4, 1.0f);
  auto sumAfter = [&](const char *function) {
    std::fill_n(running.at<float>(sum), 4, 0.0f);
    *running.at<int64_t>(index) = -1;
    running.run(function);
    EXPECT_EQ(running.at<float>(sum)[0], running.at<float>(sum)[3]);
    return running.at<float>(sum)[3];
  };
  EXPECT_EQ(sumAfter("static"), 3);
  EXPECT_EQ(*running.at<int64_t>(index), 2);
  for (auto [wanted, done] : {std::pair<int64_t, float>{2, 2}, {0, 0}, {-7, 0}, {5, 5}, {1000, 5}}) {
    *running.at<int64_t>(trips) = wanted;
    EXPECT_EQ(sumAfter("counted"), done) << wanted;
  }
  *running.at<uint8_t>(go) = 0;
  EXPECT_EQ(sumAfter("guarded"), 0);
  *running.at<uint8_t>(go) = 1;
  EXPECT_EQ(sumAfter("guarded"), 4);
}

TEST(Executor, BranchesAndCalls) {
  PlanEditor editor;
  uint32_t one = editor.vector(), ten = editor.vector(), sum = editor.vector(),
           which = editor.scalar(fb::DType::boolean);
  editor.add(editor.function("add_ten"), ten, sum, sum);
  auto callee = uint32_t(editor.meta().functions.size() - 1);
  fb::IfT branch;
  branch.condition = which;
  branch.then_block = std::make_unique<fb::BlockT>();
  branch.else_block = std::make_unique<fb::BlockT>();
  fb::CallT call;
  call.function = callee;
  PlanEditor::append(*branch.then_block, std::move(call), "call");
  editor.add(*branch.else_block, one, sum, sum);
  fb::BlockT &body = editor.function("main");
  PlanEditor::append(body, std::move(branch), "if");
  editor.add(body, one, sum, sum); // What follows a branch runs either way.
  Running running(editor);
  std::fill_n(running.at<float>(one), 4, 1.0f);
  std::fill_n(running.at<float>(ten), 4, 10.0f);
  *running.at<uint8_t>(which) = 1;
  running.run("main");
  EXPECT_EQ(running.at<float>(sum)[2], 11);
  *running.at<uint8_t>(which) = 0;
  running.run("main");
  EXPECT_EQ(running.at<float>(sum)[2], 13);
  EXPECT_EQ(running.model->executionPlan().functionIndex("none").error().code(), ErrorCode::NotFound);
}

TEST(Executor, ObserverSeesCallsBeforeTheyRun) {
  PlanEditor editor;
  uint32_t one = editor.vector(), sum = editor.vector();
  fb::BlockT &twice = editor.function("twice");
  editor.add(twice, one, sum, sum);
  editor.add(twice, sum, sum, sum);
  Running running(editor);
  std::fill_n(running.at<float>(one), 4, 1.0f);
  std::fill_n(running.at<float>(sum), 4, 2.0f);
  struct Seen {
    std::vector<uint32_t> calls;
    std::vector<float> inputs;
  } seen;
  must(running.executor->observe({[](void *user, uint32_t call, const KernelContext &context) {
                                    auto &seen = *static_cast<Seen *>(user);
                                    seen.calls.push_back(call);
                                    seen.inputs.push_back(context.inputs[1].as<float>()[0]);
                                  },
                                  &seen}));
  running.run("twice");
  ASSERT_EQ(seen.calls.size(), 2u);
  EXPECT_EQ(seen.calls[1], seen.calls[0] + 1);
  EXPECT_EQ(running.model->executionPlan().kernelCalls().size(), seen.calls[1] + 1);
  EXPECT_EQ(seen.inputs, (std::vector<float>{2, 3}));
  EXPECT_EQ(running.at<float>(sum)[0], 6);
  must(running.executor->observe({}));
  running.run("twice");
  EXPECT_EQ(seen.calls.size(), 2u);
}

TEST(Executor, ExtentsBoundWhatRuns) {
  PlanEditor editor;
  auto tokens = uint32_t(0);
  std::vector<fb::Dim> dims{fb::Dim(1, int32_t(tokens)), fb::Dim(2, -1)};
  uint32_t a = editor.slot(fb::DType::f32, dims, 16 * 8), b = editor.slot(fb::DType::f32, dims, 16 * 8);
  editor.add(editor.function("main"), a, a, b);
  Running running(editor);
  std::fill_n(running.at<float>(a), 32, 1.0f);
  must(running.executor->setExtent(tokens, 3));
  EXPECT_EQ(running.executor->slot(b).dims[0], 3);
  running.run("main");
  EXPECT_EQ(running.at<float>(b)[5], 2);
  EXPECT_EQ(running.at<float>(b)[6], 0);
  must(running.executor->setExtent(tokens, 0));
  running.run("main");
  must(running.executor->setExtent(tokens, 16));
  running.run("main");
  EXPECT_EQ(running.at<float>(b)[31], 2);
  EXPECT_STREQ(running.executor->setExtent(tokens, 17).error().message(), "tokens = 17 is outside 0 to 16");
  EXPECT_FALSE(bool(running.executor->setExtent(tokens, -1)));
}

TEST(Executor, CancelIsSeenBetweenOps) {
  PlanEditor editor;
  uint32_t one = editor.vector(), sum = editor.vector();
  editor.add(editor.function("main"), one, sum, sum);
  Running running(editor);
  std::fill_n(running.at<float>(one), 4, 1.0f);
  std::atomic<bool> cancel{true};
  uint32_t function = must(running.model->executionPlan().functionIndex("main"));
  EXPECT_EQ(running.executor->run(function, BatchView{}, &cancel).error().code(), ErrorCode::Cancelled);
  EXPECT_EQ(running.at<float>(sum)[0], 0);
  cancel = false;
  must(running.executor->run(function, BatchView{}, &cancel));
  EXPECT_EQ(running.at<float>(sum)[0], 1);
}
