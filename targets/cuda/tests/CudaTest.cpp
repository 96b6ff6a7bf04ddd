//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Whole models through the runtime, with a driver that has no GPU: answers against the CPU's, the order of driver
// calls, and what every failure of a call looks like.
//
#include "targets/cuda/tests/FakeDriver.h"

#include "tests/unit/session/SessionSupport.h"

#include <dlfcn.h>

using namespace mlc;
using namespace mlc::test;
using namespace mlc::cuda;

namespace {

/// The same model for a GPU of architecture `arch`.
TinyModel onGpu(const TinyOptions &options, const char *arch = "sm_90a") {
  TinyModel model = makeTinyModel(options);
  model.metadata.target->isa_family = kCudaFamily;
  model.metadata.required_features.push_back("cuda");
  auto segment = std::make_unique<fb::SegmentT>();
  segment->kind = fb::SegmentKind::images;
  segment->size = 64;
  auto image = std::make_unique<fb::ImageT>();
  image->module_ = "Kernels";
  image->arch = arch;
  image->segment = uint32_t(model.metadata.segments.size());
  image->size = 64;
  model.metadata.images.push_back(std::move(image));
  model.metadata.segments.push_back(std::move(segment));
  std::vector<uint8_t> bytes(64);
  memcpy(bytes.data(), "\177ELF", 4);
  model.weights.insert(model.weights.end(), bytes.begin(), bytes.end());
  return model;
}

struct CudaTest : testing::Test {
  CudaTest() { fake::reset(); }
  ~CudaTest() override {
    EXPECT_EQ(fake::mistakes(), std::vector<std::string>());
    EXPECT_EQ(fake::liveBytes(), 0u);
    EXPECT_EQ(fake::liveHandles(), 0u);
  }
  static Result<Model *> open(const AlignedBytes &bytes) { return Model::fromMemory(bytes.span()); }
};

unsigned calls(const std::string &prefix) {
  unsigned count = 0;
  for (const std::string &record : fake::record())
    count += record.rfind(prefix, 0) == 0;
  return count;
}

std::vector<int32_t> someTokens(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  return randomTokens(random, count, TinyOptions().vocab);
}

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
      StepSegment segments[] = {{two, all.subspan(at / 2, 3)}, {one, all.subspan(at, count)}};
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
      EXPECT_EQ(record, (fake::Record{"cuGraphLaunch", "cuStreamSynchronize"}));
    }
  }
  EXPECT_EQ(logits, expected);
}

// Whatever call fails: one line that is no empty one, nothing that leaks, no call that the driver would refuse.
TEST_F(CudaTest, EveryFailureIsAnError) {
  AlignedBytes bytes = modelBytes(onGpu({}));
  std::vector<int32_t> tokens = someTokens(4, 3);
  auto attempt = [&]() -> Status {
    MLC_ASSIGN(Model * opened, open(bytes));
    Owned<Model> model(opened);
    MLC_ASSIGN(Session * made, Session::create(*model, {}));
    Owned<Session> session(made);
    MLC_ASSIGN(SequenceId sequence, session->createSequence());
    for (int32_t &token : tokens) {
      StepSegment segment{sequence, {&token, 1}};
      int32_t row = 0;
      MLC_TRY(session->step({&segment, 1}, {&row, 1}));
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
    StepSegment segment{sequence, {&tokens[i], 1}};
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
  renamed.metadata.kernels[0]->name = "quantize_rows";
  EXPECT_THAT(failure(open(modelBytes(renamed)), ErrorCode::Unsupported),
              testing::HasSubstr("kernel 'quantize_rows' version 1 is not in this runtime"));
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
