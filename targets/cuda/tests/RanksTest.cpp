//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sessions on several GPUs that run a plan together. Each rank has all weights here, and the logits are added up: two
// ranks give twice what one gives, to the bit.
//
#include "targets/cuda/tests/CudaTest.h"

#include <map>
#include <thread>

namespace mlc::cuda {
namespace {

/// A plan of `ranks`, whose logits all_reduce adds up.
TinyModel ofRanks(const TinyOptions &options, unsigned ranks) {
  TinyModel model = onGpu(options);
  fb::ArtifactT &artifact = model.metadata;
  artifact.ranks = ranks;
  artifact.required_features.push_back("tensor_parallel");
  auto &step = *std::find_if(artifact.functions.begin(), artifact.functions.end(),
                             [](const auto &function) { return function->name == "step"; });
  uint32_t logits = step->outputs[0], part = uint32_t(artifact.slots.size());
  auto slot = std::make_unique<fb::SlotT>(*artifact.slots[logits]);
  slot->name.clear();
  slot->offset = (artifact.arena_size + 63) / 64 * 64;
  artifact.arena_size = slot->offset + 4 * uint64_t(options.vocab) * artifact.model->rows;
  artifact.slots.push_back(std::move(slot));
  step->body->ops.back()->body.AsKernelCall()->outputs[0] = part;
  auto kernel = std::make_unique<fb::KernelT>();
  kernel->name = "all_reduce";
  kernel->version = 1;
  fb::KernelCallT call;
  call.kernel = uint32_t(artifact.kernels.size());
  call.inputs = {part};
  call.outputs = {logits};
  call.attrs.Set(fb::AllReduceAttrs(ranks, false));
  artifact.kernels.push_back(std::move(kernel));
  auto op = std::make_unique<fb::OpT>();
  op->body.Set(std::move(call));
  step->body->ops.push_back(std::move(op));
  return model;
}

struct RanksTest : CudaTest {
  RanksTest() { fake::settings().devices = 4; }
  void again() {
    fake::reset();
    fake::settings().devices = 4;
  }
};

TEST_F(RanksTest, LogitsAreAddedUpAndEveryOperationFollows) {
  for (const TinyOptions &options : {TinyOptions(), hybridOptions()}) {
    std::vector<int32_t> tokens = someTokens(40, 5);
    std::span<const int32_t> all = tokens;
    AlignedBytes alone = modelBytes(onGpu(options)), together = modelBytes(ofRanks(options, 2));
    Owned<Model> one(must(open(alone))), two(must(open(together)));
    std::vector<float> expected = plainLogits(*one, tokens);
    for (float &value : expected)
      value *= 2;
    EXPECT_EQ(plainLogits(*two, tokens), expected);

    Owned<Session> session = makeSession(*two);
    auto feed = [&](SequenceId sequence, size_t from, size_t end) {
      return feedAll(*session, sequence, all.subspan(from, end - from));
    };
    auto rows = [&](size_t from, size_t end) {
      return std::vector<float>(expected.begin() + int64_t(from * options.vocab),
                                expected.begin() + int64_t(end * options.vocab));
    };
    SequenceId sequence = must(session->createSequence(int64_t(tokens.size())));
    EXPECT_EQ(feed(sequence, 0, 16), rows(0, 16));
    SnapshotId snapshot = must(session->snapshot(sequence));
    SequenceId fork = must(session->fork(sequence));
    EXPECT_EQ(feed(sequence, 16, 28), rows(16, 28));
    must(session->rollback(sequence, 20));
    EXPECT_EQ(feed(sequence, 20, 30), rows(20, 30));
    EXPECT_EQ(feed(fork, 16, 20), rows(16, 20));
    must(session->restore(sequence, snapshot));
    must(session->releaseSnapshot(snapshot));
    must(session->destroySequence(fork));
    EXPECT_EQ(feed(sequence, 16, 32), rows(16, 32));
    failure(session->beginImport(), ErrorCode::Unsupported);
  }
}

TEST_F(RanksTest, AreAsManyAsTheArtifactSays) {
  AlignedBytes bytes = modelBytes(ofRanks({}, 3));
  ModelOptions options;
  auto message = [&](std::vector<unsigned> gpus, ErrorCode code) {
    options.gpus = gpus;
    return failure(Model::fromMemory(bytes.span(), options), code);
  };
  EXPECT_EQ(message({0, 1}, ErrorCode::InvalidArgument), "artifact: is compiled for 3 GPUs; name as many, not 2");
  EXPECT_EQ(message({0, 2, 0}, ErrorCode::InvalidArgument), "artifact: is compiled for 3 GPUs; GPU 0 is named twice");
  EXPECT_EQ(message({0, 1, 9}, ErrorCode::NotFound), "artifact: GPU 9: this machine has 4");
  const unsigned gpus[] = {3, 0, 2};
  options.gpus = gpus;
  Owned<Model> model(must(Model::fromMemory(bytes.span(), options)));
  EXPECT_EQ(calls("cuDeviceGet 3"), 1u);
}

/// Whatever call fails, on whichever rank: one line, nothing that leaks, nobody who waits.
TEST_F(RanksTest, EveryFailureIsAnError) {
  AlignedBytes bytes = modelBytes(ofRanks({}, 2));
  std::vector<int32_t> tokens = someTokens(4, 3);
  auto attempt = [&]() -> Status {
    MLC_ASSIGN(Model * opened, open(bytes));
    Owned<Model> model(opened);
    MLC_ASSIGN(Session * made, Session::create(*model, {}));
    Owned<Session> session(made);
    MLC_ASSIGN(SequenceId sequence, session->createSequence());
    for (int32_t &token : tokens) {
      mlc::StepSegment segment{sequence, {&token, 1}};
      int32_t row = 0;
      MLC_TRY(session->step({&segment, 1}, {&row, 1}));
    }
    return {};
  };
  must(attempt());
  std::map<std::string, unsigned> counts;
  for (const std::string &record : fake::record())
    ++counts[record.substr(0, record.find(' '))];
  EXPECT_EQ(counts["ncclCommInitAll"], 1u);
  EXPECT_EQ(counts["ncclCommDestroy"], 2u);
  // Two steps enqueue it and one captures it; the others are graphs.
  EXPECT_EQ(counts["ncclAllGather"], 4u);
  for (const char *name :
       {"cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuGraphDestroy", "cuGraphExecDestroy", "cuModuleUnload",
        "cuDevicePrimaryCtxRelease_v2", "cuStreamBeginCapture_v2", "ncclCommDestroy", "ncclCommAbort"})
    counts.erase(name);
  for (auto &[name, count] : counts)
    for (unsigned after : {0u, count / 2, count - 1}) {
      again();
      fake::settings().failing = name;
      fake::settings().failingAfter = after;
      Status failed = attempt();
      if (failed && name == "cuStreamSynchronize" && after)
        continue;
      ASSERT_FALSE(failed) << name << " after " << after;
      EXPECT_STRNE(failed.error().message(), "");
      EXPECT_EQ(std::string(failed.error().message()).find('\n'), std::string::npos);
      EXPECT_EQ(fake::liveBytes(), 0u) << name << " after " << after;
      EXPECT_EQ(fake::liveHandles(), 0u) << name << " after " << after;
      EXPECT_EQ(fake::mistakes(), std::vector<std::string>()) << name << " after " << after;
    }
}

TEST_F(RanksTest, AModelWhoseRanksFailedSaysSo) {
  AlignedBytes bytes = modelBytes(ofRanks({}, 2));
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model);
  SequenceId sequence = must(session->createSequence());
  int32_t token = 3, row = 0;
  mlc::StepSegment segment{sequence, {&token, 1}};
  fake::settings().failing = "ncclAllGather";
  failure(session->step({&segment, 1}, {&row, 1}), ErrorCode::Unsupported);
  again();
  EXPECT_EQ(failure(session->step({&segment, 1}, {&row, 1}), ErrorCode::Internal),
            "the GPUs of this model no longer work together; open it again");
  EXPECT_EQ(must(session->length(sequence)), 0);
}

/// Sums of two sessions come in one order on both ranks.
TEST_F(RanksTest, SessionsTakeTurns) {
  AlignedBytes bytes = modelBytes(ofRanks({}, 2));
  Owned<Model> model(must(open(bytes)));
  std::vector<int32_t> tokens = someTokens(30, 5);
  std::vector<float> expected = plainLogits(*model, tokens), got[3];
  std::vector<std::thread> threads;
  for (auto &logits : got)
    threads.emplace_back([&] { logits = plainLogits(*model, tokens); });
  for (std::thread &thread : threads)
    thread.join();
  for (auto &logits : got)
    EXPECT_EQ(logits, expected);
}

TEST_F(RanksTest, AStepIsCancelledBeforeItBegins) {
  AlignedBytes bytes = modelBytes(ofRanks({}, 2));
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model);
  SequenceId sequence = must(session->createSequence());
  int32_t token = 3, row = 0;
  mlc::StepSegment segment{sequence, {&token, 1}};
  session->requestCancel();
  failure(session->step({&segment, 1}, {&row, 1}), ErrorCode::Cancelled);
  session->clearCancel();
  must(session->step({&segment, 1}, {&row, 1}));
}

} // namespace
} // namespace mlc::cuda
