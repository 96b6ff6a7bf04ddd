//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The writer: deterministic bytes, any cut of the stream, nothing left after an error or a signal.
//
#include "compiler/Artifact/Writer.h"
#include "runtime/artifact/Artifact.h"
#include "tests/unit/support/TinyArtifact.h"

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace mlc {
namespace {

using namespace mlc::test;
using testing::HasSubstr;

// A directory of its own, so that what is left in it can be counted.
std::string freshDirectory(const char *name) {
  std::string path = temporaryPath(name);
  std::filesystem::create_directory(path);
  return path + "/";
}
size_t filesIn(const std::string &directory) {
  size_t count = 0;
  for ([[maybe_unused]] auto &entry : std::filesystem::directory_iterator(directory))
    ++count;
  return count;
}

// Three segments: 3.5 MiB and a few bytes of weights, code, weights again.
TinyModel threeSegments() {
  TinyModel model = makeTinyModel();
  model.weights.resize((7 << 19) + 5, 7);
  model.metadata.segments[0]->size = model.weights.size();
  for (auto kind : {fb::SegmentKind::code, fb::SegmentKind::weights}) {
    auto segment = std::make_unique<fb::SegmentT>();
    segment->kind = kind;
    segment->size = 70000;
    model.metadata.segments.push_back(std::move(segment));
  }
  size_t start = model.weights.size();
  model.weights.resize(start + 140000);
  for (size_t i = start; i < model.weights.size(); ++i)
    model.weights[i] = uint8_t(i * 31);
  return model;
}

TEST(ArtifactWriter, AnyCutGivesTheSameBytes) {
  TinyModel model = threeSegments();
  std::string path = temporaryPath("whole.mlca");
  writeModel(model, path);
  AlignedBytes whole = readBytes(path);
  auto artifact = Artifact::open(path.c_str());
  ASSERT_TRUE(artifact) << artifact.error().message();
  EXPECT_EQ(artifact->metadata().segments()->Get(1)->offset() % kCodeAlignment, 0u);
  EXPECT_EQ(artifact->segment(2).back(), model.weights.back());
  for (size_t step : {size_t(1000), size_t(65537), size_t(1 << 20), size_t(3000001)}) {
    auto writer = ArtifactWriter::create(path);
    ASSERT_TRUE(writer) << writer.error().message();
    ASSERT_TRUE(writer->begin(model.metadata));
    for (size_t i = 0; i < model.weights.size(); i += step)
      ASSERT_TRUE(writer->write({model.weights.data() + i, std::min(step, model.weights.size() - i)}));
    EXPECT_EQ(writer->currentSegment(), 3u);
    ASSERT_TRUE(writer->commit());
    AlignedBytes bytes = readBytes(path);
    ASSERT_EQ(bytes.size(), whole.size());
    EXPECT_EQ(memcmp(bytes.data(), whole.data(), whole.size()), 0) << step;
  }
}

TEST(ArtifactWriter, ReportsProgress) {
  TinyModel model = threeSegments();
  auto writer = ArtifactWriter::create(temporaryPath("progress.mlca"));
  ASSERT_TRUE(writer);
  struct Seen {
    uint64_t written = 0, total = 0;
    int calls = 0;
  } seen;
  writer->setProgress(
      [](void *context, uint64_t written, uint64_t total) {
        auto &seen = *static_cast<Seen *>(context);
        EXPECT_GT(written, seen.written);
        seen = {written, total, seen.calls + 1};
      },
      &seen);
  ASSERT_TRUE(writer->begin(model.metadata));
  ASSERT_TRUE(writer->write(model.weights));
  ASSERT_TRUE(writer->commit());
  EXPECT_EQ(seen.written, seen.total);
  EXPECT_EQ(seen.calls, 6);
}

TEST(ArtifactWriter, NothingIsLeftWithoutCommit) {
  std::string directory = freshDirectory("dropped");
  TinyModel model = makeTinyModel();
  {
    auto writer = ArtifactWriter::create(directory + "a.mlca");
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->begin(model.metadata));
    ASSERT_TRUE(writer->write(std::span(model.weights).first(100)));
    Status early = writer->commit();
    ASSERT_FALSE(early);
  }
  EXPECT_EQ(filesIn(directory), 0u);
}

TEST(ArtifactWriter, AFileWithoutANameReadsAndIsGone) {
  std::string directory = freshDirectory("unnamed");
  TinyModel model = makeTinyModel();
  {
    auto writer = ArtifactWriter::create(directory + "model.mlca", /*durable=*/false);
    ASSERT_TRUE(bool(writer)) << writer.error().message();
    ASSERT_TRUE(bool(writer->begin(model.metadata)));
    EXPECT_FALSE(bool(writer->finish())) << "a segment is missing";
    ASSERT_TRUE(bool(writer->write(model.weights)));
    ASSERT_TRUE(bool(writer->finish()));
    auto opened = Artifact::open(writer->readablePath().c_str());
    ASSERT_TRUE(bool(opened)) << opened.error().message();
    EXPECT_EQ(opened->segment(0).size(), model.weights.size());
    EXPECT_FALSE(std::filesystem::exists(directory + "model.mlca"));
  }
  EXPECT_EQ(filesIn(directory), 0u);
}

TEST(ArtifactWriter, AnErrorKeepsTheOldFile) {
  std::string directory = freshDirectory("kept"), path = directory + "a.mlca";
  writeModel(makeTinyModel(), path);
  AlignedBytes before = readBytes(path);
  {
    auto writer = ArtifactWriter::create(path);
    ASSERT_TRUE(writer);
    TinyModel model = threeSegments();
    ASSERT_TRUE(writer->begin(model.metadata));
    ASSERT_TRUE(writer->write(model.weights));
    Status surplus = writer->write(std::span(model.weights).first(1));
    ASSERT_FALSE(surplus);
  }
  EXPECT_EQ(filesIn(directory), 1u);
  EXPECT_EQ(readBytes(path).size(), before.size());
}

TEST(ArtifactWriter, AFullDiskIsOneLineAndLeavesNothing) {
  std::string directory = freshDirectory("full"), path = directory + "a.mlca";
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, SIG_IGN);
  rlimit small{1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  {
    auto writer = ArtifactWriter::create(path);
    ASSERT_TRUE(writer);
    TinyModel model = threeSegments();
    Status begun = writer->begin(model.metadata);
    if (!begun)
      message = begun.error().message();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(message, HasSubstr(path + ": cannot"));
  EXPECT_THAT(message, HasSubstr("File too large"));
  EXPECT_EQ(filesIn(directory), 0u);
}

TEST(ArtifactWriter, RefusesWhatIsNoPlaceForAFile) {
  for (std::string path : {"/dev/null", "/", "/nonexistent/a.mlca", "/proc/a.mlca"}) {
    auto writer = ArtifactWriter::create(path);
    ASSERT_FALSE(writer) << path;
    EXPECT_EQ(std::string(writer.error().message()).find(path), 0u) << writer.error().message();
  }
}

TEST(ArtifactWriter, ASignalLeavesNothing) {
  std::string directory = freshDirectory("signal");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (!child) {
    TinyModel model = makeTinyModel();
    auto writer = ArtifactWriter::create(directory + "a.mlca");
    if (!writer || !writer->begin(model.metadata) || !writer->write(std::span(model.weights).first(5000)))
      _exit(1);
    signal(SIGINT, [](int) {
      removePartialArtifacts();
      _exit(130);
    });
    if (::write(ready[1], "x", 1) != 1)
      _exit(1);
    pause();
    _exit(2);
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  kill(child, SIGINT);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_EQ(filesIn(directory), 0u);
}

} // namespace
} // namespace mlc
