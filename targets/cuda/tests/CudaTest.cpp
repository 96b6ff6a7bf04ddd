//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Whole models through the runtime, with a driver that has no GPU: answers against the CPU's, the order of driver
// calls, and what every failure of a call looks like.
//
#include "targets/cuda/tests/RegionModel.h"

#include "runtime/llm/StepDrawing.h"
#include "tests/unit/session/SessionSupport.h"

#include <dlfcn.h>

using namespace mlc;
using namespace mlc::test;
using namespace mlc::cuda;

namespace {

void expectClose(const std::vector<float> &a, const std::vector<float> &b) {
  ASSERT_EQ(a.size(), b.size());
  float largest = 0;
  for (float value : b)
    largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_NEAR(a[i], b[i], 1e-4f * largest) << i;
}

// Prompts, decoding and a ragged batch give the CPU's logits, and the same bits however a sequence is split.
TEST_F(CudaTest, LogitsAreTheCpusAndDoNotDependOnTheSplit) {
  for (auto [format, kv, window, recurrent] : {std::tuple{fb::WeightFormat::rows_f32, fb::DType::f32, 0u, false},
                                               {fb::WeightFormat::rows_f16, fb::DType::f16, 0u, false},
                                               {fb::WeightFormat::rows_bf16, fb::DType::bf16, 40u, false},
                                               {fb::WeightFormat::rows_f32, fb::DType::f32, 0u, true},
                                               {fb::WeightFormat::rows_f32, fb::DType::bf16, 0u, true}}) {
    TinyOptions options = recurrent ? hybridOptions() : TinyOptions();
    options.ssm = kv == fb::DType::bf16 ? kv : fb::DType::f32;
    options.format = format;
    options.kv = kv;
    options.window = window;
    // Pages end, and the window is left behind.
    std::vector<int32_t> tokens = someTokens(window ? 70 : recurrent ? 50 : 20, 7);
    TestModel host(options);
    std::vector<float> expected = plainLogits(*host.model, tokens);
    AlignedBytes bytes = modelBytes(onGpu(options));
    Owned<Model> model(must(open(bytes)));
    std::vector<float> alone = plainLogits(*model, tokens);
    expectClose(alone, expected);

    Owned<Session> session = makeSession(*model);
    SequenceId one = must(session->createSequence()), two = must(session->createSequence());
    std::vector<float> split;
    std::span<const int32_t> all = tokens;
    size_t vocab = options.vocab;
    for (size_t at = 0; at < tokens.size();) {
      size_t count = std::min<size_t>(1 + at % 11, tokens.size() - at);
      // The other sequence is a token ahead, or behind.
      mlc::StepSegment segments[] = {{two, all.subspan(at / 2, 3)}, {one, all.subspan(at, count)}};
      std::vector<int32_t> rows;
      for (size_t i = 0; i < count; ++i)
        rows.push_back(int32_t(3 + i));
      LogitsView view = must(session->step(segments, rows));
      split.insert(split.end(), view.data, view.data + count * vocab);
      at += count;
    }
    ASSERT_EQ(split.size(), alone.size());
    EXPECT_EQ(0, memcmp(split.data(), alone.data(), alone.size() * sizeof(float)));
  }
}

// What a sequence remembers lies on the device, and every operation on it works.
void expectStatesMove(const TinyOptions &options) {
  AlignedBytes bytes = modelBytes(onGpu(options));
  Owned<Model> model(must(Model::fromMemory(bytes.span())));
  std::vector<int32_t> tokens = someTokens(76, 9);
  std::span<const int32_t> all = tokens;
  Owned<Session> session = makeSession(*model);
  auto feed = [&](SequenceId sequence, size_t from, size_t end) {
    std::vector<float> logits;
    for (; from < end; from += std::min<size_t>(16, end - from)) {
      std::vector<float> part = feedAll(*session, sequence, all.subspan(from, std::min<size_t>(16, end - from)));
      logits.insert(logits.end(), part.begin(), part.end());
    }
    return logits;
  };
  SequenceId sequence = must(session->createSequence());
  std::vector<float> expected = feed(sequence, 0, 76);
  auto tail = [&](size_t from) {
    return std::vector<float>(expected.begin() + int64_t(from * options.vocab), expected.end());
  };
  must(session->rollback(sequence, 70));
  SnapshotId snapshot = must(session->snapshot(sequence));
  SequenceId fork = must(session->fork(sequence));
  EXPECT_EQ(feed(sequence, 70, 76), tail(70));
  // Of a page that both hold, each goes on with a copy of its own.
  feedAll(*session, fork, all.subspan(0, 5));
  must(session->restore(sequence, snapshot));
  must(session->rollback(sequence, 62));
  EXPECT_EQ(feed(sequence, 62, 76), tail(62));

  must(session->restore(sequence, snapshot));
  Exported exported;
  must(session->exportSequence(sequence, exported.sink()));
  SequenceId copy = must(session->beginImport());
  for (size_t i = exported.chunks.size(); i-- > 0;)
    EXPECT_EQ(must(session->importChunk(copy, exported.chunks[i])), i == 0);
  EXPECT_EQ(feed(copy, 70, 76), tail(70));
}

TEST_F(CudaTest, ForksSnapshotsRollbacksAndTransfers) {
  TinyOptions options;
  options.kv = fb::DType::f16;
  expectStatesMove(options);
}

TEST_F(CudaTest, RecurrentStatesMoveLikeKv) {
  TinyOptions options = hybridOptions();
  expectStatesMove(options);
  options.ssm = fb::DType::bf16;
  options.attention = false;
  expectStatesMove(options);
}

// A step's calls: tables, ids and rows go to the device, kernels, logits come back, one wait. The third step of a shape
// is one launch of a graph.
TEST_F(CudaTest, AStepIsOneGraphFromTheThirdOn) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model);
  SequenceId sequence = must(session->createSequence());
  std::vector<int32_t> tokens = someTokens(8, 3);
  std::vector<float> expected = plainLogits(*model, tokens), logits;
  for (size_t i = 0; i < tokens.size(); ++i) {
    fake::record().clear();
    std::vector<float> row = feedAll(*session, sequence, std::span<const int32_t>(tokens).subspan(i, 1));
    logits.insert(logits.end(), row.begin(), row.end());
    const fake::Record &record = fake::record();
    if (i == 0) {
      EXPECT_EQ(calls("cuMemcpyHtoDAsync_v2"), 3u);
      EXPECT_EQ(record.front().substr(0, 20), "cuMemcpyHtoDAsync_v2");
      EXPECT_EQ(record[3], "cuLaunchKernelEx mlc_embedding 1,1,1 256");
      EXPECT_EQ(record[record.size() - 2].substr(0, 20), "cuMemcpyDtoHAsync_v2");
      EXPECT_EQ(record.back(), "cuStreamSynchronize");
    } else if (i == 1) {
      EXPECT_EQ(record.front(), "cuStreamBeginCapture_v2");
      EXPECT_EQ(calls("cuGraphInstantiateWithFlags"), 1u);
    } else {
      EXPECT_EQ(calls("cuGraphLaunch"), 1u);
      EXPECT_EQ(calls("cuMemcpyDtoHAsync_v2"), 1u);
      EXPECT_EQ(record.size(), 3u);
      EXPECT_EQ(record.back(), "cuStreamSynchronize");
    }
  }
  EXPECT_EQ(logits, expected);
}

/// Draws of `sampler` for a step of one row.
StepDrawing drawingOf(const Session &session, const Sampler &sampler) {
  StepDrawing drawing = must(StepDrawing::create(session));
  drawing.add(sampler, sampler.nextUniform());
  return drawing;
}

// Where tokens are drawn no logits travel; a step's draws are no part of its graph.
TEST_F(CudaTest, TokensAreDrawnOnTheDevice) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model), logitsOf = makeSession(*model);
  ASSERT_TRUE(session->draws());
  SequenceId sequence = must(session->createSequence()), other = must(logitsOf->createSequence());
  SamplingOptions options;
  options.temperature = 0.8f;
  options.topP = 0.9f;
  options.frequencyPenalty = 0.5f;
  Sampler device = must(Sampler::create(TinyOptions().vocab, options)),
          host = must(Sampler::create(TinyOptions().vocab, options));
  int32_t token = 3, row = 0;
  for (unsigned i = 0; i < 12; ++i) {
    StepDrawing drawing = drawingOf(*session, device);
    mlc::StepSegment segment{sequence, {&token, 1}};
    fake::record().clear();
    LogitsView view = must(session->step({&segment, 1}, {&row, 1}, drawing.draws()));
    const fake::Record record = fake::record();
    if (i > 1) {
      ASSERT_EQ(record.size(), 5u);
      EXPECT_EQ(record[0], "cuGraphLaunch");
      EXPECT_EQ(record[1].substr(0, 20), "cuMemcpyHtoDAsync_v2");
      EXPECT_EQ(record[2], "cuLaunchKernelEx mlc_draw 1,1,1 512");
      EXPECT_EQ(record[3].substr(0, 20), "cuMemcpyDtoHAsync_v2");
      EXPECT_EQ(record[4], "cuStreamSynchronize");
    }
    ASSERT_TRUE(view.drawn(0));
    int32_t drawn = must(nextToken(device, view, 0));
    std::vector<float> logits = feedAll(*logitsOf, other, segment.tokens);
    EXPECT_EQ(drawn, must(host.sample(logits)));
    device.accept(drawn);
    host.accept(drawn);
    token = drawn;
  }
}

// A step of both: tokens of some rows, logits of others.
TEST_F(CudaTest, RowsThatAreNotDrawnGiveLogits) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model), logitsOf = makeSession(*model);
  std::vector<int32_t> tokens = someTokens(6, 5);
  size_t vocab = TinyOptions().vocab;
  std::vector<float> all = feedAll(*logitsOf, must(logitsOf->createSequence()), tokens);
  Sampler greedy = must(Sampler::create(vocab, {}));
  // None, all, in turns, runs at either end.
  for (unsigned drawn : {0u, 0b111111u, 0b101010u, 0b010101u, 0b000111u, 0b110011u}) {
    StepDrawing drawing = must(StepDrawing::create(*session));
    std::vector<int32_t> rows;
    for (unsigned i = 0; i < 6; ++i) {
      rows.push_back(int32_t(i));
      if (drawn >> i & 1)
        drawing.add(greedy, 0);
      else
        drawing.addLogits();
    }
    SequenceId sequence = must(session->createSequence());
    mlc::StepSegment segment{sequence, tokens};
    LogitsView view = must(session->step({&segment, 1}, rows, drawing.draws()));
    for (unsigned i = 0; i < 6; ++i) {
      std::span<const float> expected = std::span<const float>(all).subspan(i * vocab, vocab);
      ASSERT_EQ(view.drawn(i), (drawn >> i & 1) != 0);
      if (view.drawn(i))
        EXPECT_EQ(must(view.token(i)), std::max_element(expected.begin(), expected.end()) - expected.begin());
      else
        EXPECT_EQ(0, memcmp(view.row(i).data(), expected.data(), vocab * sizeof(float)));
    }
    must(session->destroySequence(sequence));
  }
}

// An observer of a device sees copies of the calls that it names, of captured steps too, and changing it makes other
// graphs.
TEST_F(CudaTest, ObserversSeeCopies) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model), logitsOf = makeSession(*model);
  // The product that gives the logits: its rows, and what comes of them.
  struct Seen {
    std::vector<uint32_t> calls;
    std::vector<std::vector<float>> outputs;
    bool weightHidden = true;
  } seen;
  auto last = uint32_t(model->executionPlan().kernelCalls().size() - 1);
  const uint32_t named[] = {last};
  KernelObserver observer;
  observer.user = &seen;
  observer.after = [](void *user, uint32_t call, const KernelContext &context) {
    auto &seen = *static_cast<Seen *>(user);
    seen.calls.push_back(call);
    seen.weightHidden &= context.inputs[0].data && !context.inputs[1].data;
    const TensorView &out = context.outputs[0];
    std::vector<float> values;
    for (int64_t row = 0; row < out.dims[0]; ++row)
      values.insert(values.end(), out.row<float>(row), out.row<float>(row) + out.dims[1]);
    seen.outputs.push_back(values);
  };
  EXPECT_EQ(failure(session->observeKernels(observer), ErrorCode::InvalidArgument),
            "a device's kernel calls are watched by their numbers; give some");
  observer.calls = named;
  SequenceId sequence = must(session->createSequence()), other = must(logitsOf->createSequence());
  std::vector<int32_t> tokens = someTokens(24, 4);
  std::span<const int32_t> all = tokens;
  size_t at = 0, shown = 0;
  for (unsigned i = 0; at < tokens.size(); ++i) {
    size_t count = std::min<size_t>(i % 5 == 4 ? 3 : 1, tokens.size() - at);
    bool watching = i % 8 < 6;
    must(session->observeKernels(watching ? observer : KernelObserver{}));
    std::vector<float> logits = feedAll(*session, sequence, all.subspan(at, count));
    EXPECT_EQ(logits, feedAll(*logitsOf, other, all.subspan(at, count)));
    shown += watching;
    ASSERT_EQ(seen.calls.size(), shown);
    if (watching)
      EXPECT_EQ(seen.outputs.back(), logits);
    at += count;
  }
  EXPECT_TRUE(seen.weightHidden);
  EXPECT_EQ(seen.calls, std::vector<uint32_t>(shown, last));
  const uint32_t beyond[] = {last + 1};
  observer.calls = beyond;
  failure(session->observeKernels(observer), ErrorCode::OutOfRange);
  // What could not be watched is not.
  feedAll(*session, must(session->createSequence()), all.first(1));
  EXPECT_EQ(seen.calls.size(), shown);
}

TEST_F(CudaTest, DrawsThatCannotBeAreRefused) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model);
  SequenceId sequence = must(session->createSequence());
  int32_t token = 3, row = 0;
  mlc::StepSegment segment{sequence, {&token, 1}};
  auto refused = [&](Session &of, std::span<const RowDraw> rows, std::span<const TokenAdjustment> adjustments,
                     ErrorCode code) { return failure(of.step({&segment, 1}, {&row, 1}, {rows, adjustments}), code); };
  RowDraw draws[2] = {};
  TokenAdjustment adjustment{int32_t(TinyOptions().vocab), 0, 1, 0};
  EXPECT_EQ(refused(*session, draws, {}, ErrorCode::InvalidArgument),
            "draws of 2 rows in a step of 1; give one for each");
  EXPECT_EQ(refused(*session, {draws, 1}, {&adjustment, 1}, ErrorCode::OutOfRange),
            "a penalty of token id " + std::to_string(TinyOptions().vocab) + ", outside the vocabulary of " +
                std::to_string(TinyOptions().vocab));
  draws[0].adjustments = 2;
  EXPECT_EQ(refused(*session, {draws, 1}, {&adjustment, 1}, ErrorCode::InvalidArgument),
            "draw 0 names row 0 and penalties 0 to 2 of 1");
  draws[0] = {};
  draws[0].row = 5;
  EXPECT_EQ(refused(*session, {draws, 1}, {}, ErrorCode::InvalidArgument),
            "draw 0 names row 5 and penalties 0 to 0 of 0");
  TestModel host((TinyOptions()));
  Owned<Session> onHost = makeSession(*host.model);
  EXPECT_FALSE(onHost->draws());
  segment.sequence = must(onHost->createSequence());
  draws[0].row = 0;
  EXPECT_EQ(refused(*onHost, {draws, 1}, {}, ErrorCode::InvalidArgument),
            "draws of 1 rows in a step of 1; the host draws its tokens itself");
}

// Whatever call fails: one line that is no empty one, nothing that leaks, no call that the driver would refuse.
TEST_F(CudaTest, EveryFailureIsAnError) {
  AlignedBytes bytes = modelBytes(withProducts(kRegionText));
  std::vector<int32_t> tokens = someTokens(4, 3);
  Sampler greedy = must(Sampler::create(TinyOptions().vocab, {}));
  auto attempt = [&]() -> Status {
    MLC_ASSIGN(Model * opened, open(bytes));
    Owned<Model> model(opened);
    MLC_ASSIGN(Session * made, Session::create(*model, {}));
    Owned<Session> session(made);
    MLC_ASSIGN(SequenceId sequence, session->createSequence());
    for (int32_t &token : tokens) {
      mlc::StepSegment segment{sequence, {&token, 1}};
      int32_t row = 0;
      StepDrawing drawing = drawingOf(*session, greedy);
      MLC_TRY(session->step({&segment, 1}, {&row, 1}, &token == &tokens[1] ? StepDraws{} : drawing.draws()));
    }
    return {};
  };
  must(attempt());
  std::map<std::string, unsigned> counts;
  for (const std::string &record : fake::record())
    ++counts[record.substr(0, record.find(' '))];
  // Cleaning up tells nobody; a capture that does not begin is a step without a graph.
  for (const char *name :
       {"cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuGraphDestroy", "cuGraphExecDestroy", "cuModuleUnload",
        "cuDevicePrimaryCtxRelease_v2", "cuStreamBeginCapture_v2"})
    counts.erase(name);
  EXPECT_GE(counts.size(), 18u);
  for (auto &[name, count] : counts)
    for (unsigned after : {0u, count / 2, count - 1}) {
      fake::reset();
      fake::settings().failing = name;
      fake::settings().failingAfter = after;
      Status failed = attempt();
      // The last waits are of the clean-up.
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

// A failed step changes no sequence: the next one gives what it would have given.
TEST_F(CudaTest, AFailedStepChangesNothing) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  Owned<Model> model(must(open(bytes)));
  std::vector<int32_t> tokens = someTokens(4, 3);
  std::vector<float> expected = plainLogits(*model, tokens), logits;
  Owned<Session> session = makeSession(*model);
  SequenceId sequence = must(session->createSequence());
  for (size_t i = 0; i < tokens.size(); ++i) {
    mlc::StepSegment segment{sequence, {&tokens[i], 1}};
    fake::reset();
    // The step that failed counts: the next one of its shape is captured.
    fake::settings().failing = i < 1 ? "cuLaunchKernelEx" : "cuGraphLaunch";
    int32_t row = 0;
    std::string message = failure(session->step({&segment, 1}, {&row, 1}), ErrorCode::Unsupported);
    EXPECT_EQ(message, i < 1 ? "mlc_embedding: CUDA_ERROR_INJECTED (999)"
                             : "launching a step's graph: CUDA_ERROR_INJECTED (999)");
    fake::reset();
    EXPECT_EQ(must(session->length(sequence)), int64_t(i));
    std::vector<float> part = feedAll(*session, sequence, segment.tokens);
    logits.insert(logits.end(), part.begin(), part.end());
  }
  EXPECT_EQ(logits, expected);
}

TEST_F(CudaTest, WhatIsMissingIsNamed) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  auto message = [&](const AlignedBytes &artifact, ErrorCode code) { return failure(open(artifact), code); };
  fake::settings().devices = 0;
  EXPECT_EQ(message(bytes, ErrorCode::Unsupported),
            "artifact: the NVIDIA driver sees no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES");
  fake::reset();
  fake::settings().version = 12080;
  EXPECT_EQ(message(bytes, ErrorCode::Unsupported),
            "artifact: the NVIDIA driver is too old: it runs CUDA 12.8, 13.0 is needed");
  fake::reset();
  fake::settings().capability = 86;
  EXPECT_EQ(message(bytes, ErrorCode::Unsupported),
            "artifact: has kernels for sm_90a, none that Emulated GPU (sm_86) runs; compile it with --gpu sm_86");
  TinyModel foreign = onGpu({}, "sm_80");
  foreign.metadata.images[0]->contract ^= 1;
  EXPECT_EQ(message(modelBytes(foreign), ErrorCode::Unsupported),
            "artifact: its image for sm_80 is of another mlc, whose kernels are launched otherwise; compile it again");
  fake::reset();
  fake::settings().capability = 86;
  AlignedBytes older = modelBytes(onGpu({}, "sm_80"));
  Owned<Model>(must(open(older)));
  fake::reset();
  fake::settings().memory = 4096;
  EXPECT_THAT(
      message(bytes, ErrorCode::OutOfMemory),
      testing::MatchesRegex("artifact: Emulated GPU \\(sm_90\\): the weights take 0\\.[0-9] MiB, 0.0 of its 0.0 "
                            "MiB are free"));
  fake::reset();
  Owned<Model> model(must(open(bytes)));
  fake::settings().memory = 300 << 10;
  EXPECT_THAT(
      failure(Session::create(*model, {}), ErrorCode::OutOfMemory),
      testing::MatchesRegex("needs [0-9.]+ MiB beside its weights .*; Emulated GPU .sm_90. has [0-9.]+ of 0.3 MiB "
                            "free; lower --context or --sequences"));
}

// The upload compares what it copies.
TEST_F(CudaTest, ADamagedWeightIsNamed) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  bytes[bytes.size() - 200] ^= 1;
  EXPECT_THAT(failure(open(bytes), ErrorCode::Corrupt), testing::HasSubstr("segment 0 is damaged (digest)"));
}

// Kernels that the target does not have, and images that lie.
TEST_F(CudaTest, HostileArtifactsAreRefused) {
  TinyModel renamed = onGpu({});
  renamed.metadata.kernels[0]->name = "quantize_columns";
  EXPECT_THAT(failure(open(modelBytes(renamed)), ErrorCode::Unsupported),
              testing::HasSubstr("kernel 'quantize_columns' version 1 is not in this runtime"));
  TinyOptions quantized;
  quantized.format = fb::WeightFormat::panel_f32;
  EXPECT_THAT(failure(open(modelBytes(onGpu(quantized))), ErrorCode::Corrupt),
              testing::HasSubstr("no CUDA kernel reads weights stored as panel_f32"));
  for (auto change : {+[](fb::ImageT &image) { image.size = 65; }, +[](fb::ImageT &image) { image.size = 4; },
                      +[](fb::ImageT &image) { image.segment = 0; }, +[](fb::ImageT &image) { image.segment = 9; }}) {
    TinyModel model = onGpu({});
    change(*model.metadata.images[0]);
    EXPECT_THAT(failure(open(modelBytes(model)), ErrorCode::Corrupt), testing::HasSubstr("GPU image 0"));
  }
}

} // namespace
