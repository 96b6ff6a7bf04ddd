//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Damaged files: every flipped byte, every truncation and trailing bytes are refused with one line that names the file
// and the offset; and load survives every failing allocation.
//
#include "runtime/artifact/Artifact.h"
#include "tests/unit/support/TinyArtifact.h"

#include <cstdio>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mlc {
namespace {

using namespace mlc::test;
using testing::HasSubstr;
using testing::StartsWith;

TinyModel smallModel() { return makeTinyModel(smallestOptions()); }

void expectOneLine(const Error &error, const char *name) {
  std::string message = error.message();
  EXPECT_THAT(message, StartsWith(std::string(name) + ": "));
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

void writeFile(const std::string &path, std::span<const uint8_t> bytes) {
  FILE *file = fopen(path.c_str(), "wb");
  ASSERT_TRUE(file);
  ASSERT_EQ(fwrite(bytes.data(), 1, bytes.size(), file), bytes.size());
  fclose(file);
}

TEST(Artifact, OpensWhatTheWriterWrote) {
  TinyModel model = smallModel();
  std::string path = temporaryPath("good.mlca");
  writeModel(model, path);
  auto artifact = Artifact::open(path.c_str());
  ASSERT_TRUE(artifact) << artifact.error().message();
  EXPECT_EQ(artifact->segmentCount(), 1u);
  auto segment = artifact->segment(0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(segment.data()) % 64, 0u);
  EXPECT_TRUE(std::equal(segment.begin(), segment.end(), model.weights.begin(), model.weights.end()));
  EXPECT_EQ(artifact->metadata().model()->vocab_size(), 11u);
  EXPECT_FALSE(artifact->hasCode());
  EXPECT_STREQ(artifact->name(), path.c_str());
}

TEST(Artifact, EveryFlippedByteIsRefused) {
  AlignedBytes bytes = modelBytes(smallModel());
  ASSERT_TRUE(Artifact::fromMemory(bytes.span()));
  for (size_t i = 0; i < bytes.size(); ++i)
    for (uint8_t flip : {uint8_t(1), uint8_t(0x80), uint8_t(0xff)}) {
      bytes[i] ^= flip;
      auto artifact = Artifact::fromMemory(bytes.span(), {}, systemAllocator(), "f");
      ASSERT_FALSE(artifact) << "byte " << i << " xor " << int(flip);
      expectOneLine(artifact.error(), "f");
      EXPECT_THAT(artifact.error().message(), HasSubstr("byte"));
      bytes[i] ^= flip;
    }
}

TEST(Artifact, EveryTruncationIsRefused) {
  AlignedBytes bytes = modelBytes(smallModel());
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto artifact = Artifact::fromMemory(bytes.span().first(size), {}, systemAllocator(), "f");
    ASSERT_FALSE(artifact) << size;
    expectOneLine(artifact.error(), "f");
    EXPECT_THAT(artifact.error().message(), HasSubstr("byte " + std::to_string(size)));
  }
}

TEST(Artifact, TrailingBytesAreRefused) {
  AlignedBytes bytes = modelBytes(smallModel());
  for (size_t extra : {size_t(1), size_t(63), size_t(4096), size_t(1 << 20)}) {
    std::vector<uint8_t> longer(bytes.data(), bytes.data() + bytes.size());
    longer.resize(bytes.size() + extra);
    auto artifact = Artifact::fromMemory(AlignedBytes(longer).span(), {}, systemAllocator(), "f");
    ASSERT_FALSE(artifact) << extra;
    expectOneLine(artifact.error(), "f");
    EXPECT_THAT(artifact.error().message(), HasSubstr("byte " + std::to_string(bytes.size())));
  }
}

TEST(Artifact, DamagedFilesAreRefused) {
  AlignedBytes bytes = modelBytes(smallModel());
  std::string path = temporaryPath("damaged.mlca");
  for (size_t i = 0; i < bytes.size(); i += 97) {
    bytes[i] ^= 4;
    writeFile(path, bytes.span());
    auto artifact = Artifact::open(path.c_str());
    ASSERT_FALSE(artifact) << i;
    expectOneLine(artifact.error(), path.c_str());
    bytes[i] ^= 4;
    writeFile(path, bytes.span().first(i));
    auto shorter = Artifact::open(path.c_str());
    ASSERT_FALSE(shorter) << i;
    expectOneLine(shorter.error(), path.c_str());
  }
}

TEST(Artifact, NamesTheDamagedMebibyte) {
  TinyModel model = smallModel();
  model.weights.resize(5 << 20, 3);
  model.metadata.segments[0]->size = model.weights.size();
  AlignedBytes bytes = modelBytes(model);
  uint64_t start = bytes.size() - model.weights.size();
  auto pool = WorkerPool::create(2);
  ASSERT_TRUE(pool);
  LoadOptions pooled;
  pooled.pool = *pool;
  ASSERT_TRUE(Artifact::fromMemory(bytes.span(), pooled));
  bytes[start + (2 << 20) + 5] ^= 1;
  bytes[start + (4 << 20)] ^= 1;
  std::string expected =
      "bytes " + std::to_string(start + (2 << 20)) + " to " + std::to_string(start + (3 << 20) - 1) + ": segment 0";
  for (const LoadOptions &options : {LoadOptions(), pooled}) {
    auto artifact = Artifact::fromMemory(bytes.span(), options);
    ASSERT_FALSE(artifact);
    EXPECT_THAT(artifact.error().message(), HasSubstr(expected));
  }
  LoadOptions trusting;
  trusting.verifyDigests = false;
  EXPECT_TRUE(Artifact::fromMemory(bytes.span(), trusting));
  WorkerPool::destroy(*pool);
}

TEST(Artifact, RefusesWhatIsNoFile) {
  for (const char *path : {"/nonexistent/x.mlca", "/", "/dev/null", ""}) {
    auto artifact = Artifact::open(path);
    ASSERT_FALSE(artifact) << path;
    expectOneLine(artifact.error(), path);
  }
  std::string fifo = temporaryPath("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_FALSE(Artifact::open(fifo.c_str()));
  // A hole of 1 TB is refused by its first bytes, not read through.
  std::string sparse = temporaryPath("sparse.mlca");
  writeFile(sparse, {});
  ASSERT_EQ(truncate(sparse.c_str(), off_t(1) << 40), 0);
  EXPECT_FALSE(Artifact::open(sparse.c_str()));
}

TEST(Artifact, NamesAreFitForOneLine) {
  auto artifact = Artifact::open("/nonexistent/a\nb\x1b[2J.mlca");
  ASSERT_FALSE(artifact);
  EXPECT_THAT(artifact.error().message(), StartsWith("/nonexistent/a?b?[2J.mlca: "));
  auto longName = Artifact::open(("/nonexistent/" + std::string(3000, 'x') + "/end.mlca").c_str());
  ASSERT_FALSE(longName);
  EXPECT_THAT(longName.error().message(), HasSubstr("/end.mlca: "));
}

// Fails at allocation `left`, counted down.
struct Failing {
  int left;
  static void *allocate(void *context, size_t size, size_t alignment) {
    auto *self = static_cast<Failing *>(context);
    if (self->left-- == 0)
      return nullptr;
    return systemAllocator().allocate(nullptr, size, alignment);
  }
  static void release(void *, void *memory, size_t size) { systemAllocator().release(nullptr, memory, size); }
  Allocator allocator() { return {allocate, release, this}; }
};

TEST(Artifact, LoadSurvivesEveryFailingAllocation) {
  TinyModel model = smallModel();
  auto code = std::make_unique<fb::SegmentT>();
  code->kind = fb::SegmentKind::code;
  code->size = 16;
  model.metadata.segments.push_back(std::move(code));
  model.weights.resize(model.weights.size() + 16);
  std::string path = temporaryPath("code.mlca");
  writeModel(model, path);
  int failures = 0;
  for (;; ++failures) {
    Failing failing{failures};
    auto artifact = Artifact::open(path.c_str(), {}, failing.allocator());
    if (artifact) {
      EXPECT_TRUE(artifact->hasCode());
      break;
    }
    EXPECT_EQ(artifact.error().code(), ErrorCode::OutOfMemory) << artifact.error().message();
  }
  EXPECT_GE(failures, 2);
}

TEST(Artifact, CodeIsMappedForExecutionAndNeverWritable) {
  TinyModel model = smallModel();
  auto code = std::make_unique<fb::SegmentT>();
  code->kind = fb::SegmentKind::code;
  code->size = 16;
  model.metadata.segments.push_back(std::move(code));
  model.weights.resize(model.weights.size() + 16, 0x90);
  std::string path = temporaryPath("mapped.mlca");
  writeModel(model, path);
  auto artifact = Artifact::open(path.c_str());
  ASSERT_TRUE(artifact) << artifact.error().message();
  auto address = reinterpret_cast<uintptr_t>(artifact->segment(1).data());
  EXPECT_EQ(address % 4096, 0u);
  FILE *maps = fopen("/proc/self/maps", "r");
  ASSERT_TRUE(maps);
  char line[512], protection[8] = "";
  bool found = false;
  while (fgets(line, sizeof line, maps)) {
    unsigned long begin, end;
    if (sscanf(line, "%lx-%lx %7s", &begin, &end, protection) == 3 && begin <= address && address < end) {
      found = true;
      break;
    }
  }
  fclose(maps);
  ASSERT_TRUE(found);
  EXPECT_STREQ(protection, "r-xp");
  AlignedBytes bytes = readBytes(path);
  EXPECT_FALSE(Artifact::fromMemory(bytes.span()));
}

} // namespace
} // namespace mlc
