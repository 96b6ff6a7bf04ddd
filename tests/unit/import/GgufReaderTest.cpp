//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// GGUF: what is read, and that every damaged header is refused in one line.
//
#include "compiler/Import/GGUF/Config.h"
#include "compiler/Import/GGUF/Reader.h"
#include "tests/unit/import/TestFiles.h"

#include <gmock/gmock.h>

using namespace mlc;
using namespace mlc::test;
using testing::HasSubstr;

namespace {

std::string refusal(const Bytes &bytes) { return messageOf(gguf::parseHeader("model.gguf", bytes)); }

/// A llama of one layer: 8 wide, 2 heads, 1 KV head, 16 tokens.
GgufWriter llama() {
  GgufWriter writer;
  writer.string("general.architecture", "llama")
      .u32("llama.block_count", 1)
      .u32("llama.embedding_length", 8)
      .u32("llama.context_length", 64)
      .u32("llama.feed_forward_length", 12)
      .u32("llama.attention.head_count", 2)
      .u32("llama.attention.head_count_kv", 1)
      .f32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .u32("tokenizer.ggml.eos_token_id", 2)
      .strings("tokenizer.ggml.tokens", {"a", "bc", ""});
  writer.tensor("token_embd.weight", {8, 16}, 0, Bytes(8 * 16 * 4));
  writer.tensor("blk.0.attn_norm.weight", {8}, 0, Bytes(8 * 4));
  return writer;
}

TEST(GgufReader, ReadsMetadataAndTensors) {
  for (uint32_t version : {2u, 3u}) {
    Writer nested;
    nested.put(uint32_t(9)).put(uint32_t(9)).put(uint64_t(2));
    for (int i = 0; i < 2; ++i)
      nested.put(uint32_t(1)).put(uint64_t(3)).put(int8_t(1)).put(int8_t(-2)).put(int8_t(3));
    Writer integers;
    integers.put(uint32_t(9)).put(uint32_t(5)).put(uint64_t(2)).put(int32_t(-7)).put(int32_t(9));
    Bytes half = {0x00, 0x3c, 0x00, 0xc0}, q8(34);
    q8[1] = 0x3c; // d = 1
    q8[2] = 5;
    q8[33] = 0xff;
    Bytes bytes = GgufWriter(version)
                      .u32("a", 7)
                      .f32("b", 0.5f)
                      .string("c", "text")
                      .strings("d", {"x", "", "yz"})
                      .raw("e", nested)
                      .raw("f", integers)
                      .tensor("half", {2}, 1, half)
                      .tensor("block", {32, 1}, 8, q8)
                      .build();
    auto header = gguf::parseHeader("model.gguf", bytes);
    ASSERT_TRUE(bool(header)) << messageOf(std::move(header));
    const gguf::Metadata &metadata = header->metadata;
    EXPECT_EQ(**metadata.integer("a"), 7);
    EXPECT_EQ(**metadata.number("b"), 0.5);
    EXPECT_EQ(**metadata.string("c"), "text");
    EXPECT_THAT(**metadata.strings("d"), testing::ElementsAre("x", "", "yz"));
    EXPECT_THAT(**metadata.integers("f"), testing::ElementsAre(-7, 9));
    EXPECT_FALSE(metadata.integer("absent")->has_value());
    EXPECT_THAT(messageOf(metadata.integer("c")), HasSubstr("\"c\" is STRING, an integer"));
    EXPECT_THAT(messageOf(metadata.strings("f")), HasSubstr("ARRAY of INT32"));
    ASSERT_EQ(header->tensors.size(), 2u);
    float values[32];
    Checkpoint::readRows(header->tensors[0], 0, 1, values);
    EXPECT_EQ(values[0], 1.0f);
    EXPECT_EQ(values[1], -2.0f);
    EXPECT_EQ(header->tensors[1].shape, (llvm::SmallVector<int64_t, 4>{1, 32}));
    Checkpoint::readRows(header->tensors[1], 0, 1, values);
    EXPECT_EQ(values[0], 5.0f);
    EXPECT_EQ(values[31], -1.0f);
  }
}

TEST(GgufReader, RefusesByName) {
  auto one = [](std::vector<uint64_t> extents, uint32_t type, size_t bytes) {
    return refusal(GgufWriter().tensor("w", std::move(extents), type, Bytes(bytes)).build());
  };
  EXPECT_THAT(one({32}, 20, 64), HasSubstr("\"w\" is stored as IQ4_NL"));
  EXPECT_THAT(one({256}, 23, 64), HasSubstr("IQ4_XS"));
  EXPECT_THAT(one({32}, 39, 64), HasSubstr("MXFP4"));
  EXPECT_THAT(one({32}, 28, 256), HasSubstr("F64"));
  EXPECT_THAT(one({32}, 77, 256), HasSubstr("unknown type number 77"));
  EXPECT_THAT(one({33}, 2, 256), HasSubstr("no whole blocks of Q4_0"));
  EXPECT_THAT(one({uint64_t(1) << 60}, 0, 64), HasSubstr("too large"));
  EXPECT_THAT(one({uint64_t(1) << 31, uint64_t(1) << 31, 4}, 0, 64), HasSubstr("too large"));
  EXPECT_THAT(one({uint64_t(1) << 40}, 0, 64), HasSubstr("leave the file"));
  EXPECT_THAT(one({0}, 0, 0), HasSubstr("dimension of 0"));
  EXPECT_THAT(one({}, 0, 4), HasSubstr("0 dimensions"));
  EXPECT_THAT(one({1, 1, 1, 1, 1}, 0, 4), HasSubstr("5 dimensions"));
  EXPECT_THAT(refusal(GgufWriter(1).build()), HasSubstr("version 1"));
  EXPECT_THAT(refusal(GgufWriter(0x03000000).build()), HasSubstr("big-endian"));
  EXPECT_THAT(refusal(GgufWriter().u32("k", 1).u32("k", 1).build()), HasSubstr("\"k\" stands twice"));
  EXPECT_THAT(refusal(GgufWriter().tensor("w", {1}, 0, Bytes(4)).tensor("w", {1}, 0, Bytes(4)).build()),
              HasSubstr("\"w\" stands twice"));
  EXPECT_THAT(refusal(GgufWriter().u32("general.alignment", 48).build()), HasSubstr("general.alignment is 48"));
  EXPECT_THAT(refusal(GgufWriter().u32("general.alignment", 0).build()), HasSubstr("general.alignment is 0"));
  Writer deep;
  deep.put(uint32_t(9));
  for (int i = 0; i < 100; ++i)
    deep.put(uint32_t(9)).put(uint64_t(1));
  EXPECT_THAT(refusal(GgufWriter().raw("deep", deep).build()), HasSubstr("nests arrays deeper"));
  Writer huge;
  huge.put(uint32_t(9)).put(uint32_t(8)).put(uint64_t(1) << 61);
  EXPECT_THAT(refusal(GgufWriter().raw("huge", huge).build()), HasSubstr("leave the file"));
  Bytes misaligned = GgufWriter().tensor("w", {1}, 0, Bytes(4)).build();
  misaligned[24 + 9 + 4 + 8 + 4] = 8; // Its offset.
  EXPECT_THAT(refusal(misaligned), HasSubstr("no multiple of the alignment"));
  Bytes overlap = GgufWriter().tensor("v", {16}, 0, Bytes(64)).tensor("w", {16}, 0, Bytes(64)).build();
  overlap[24 + 33 + 9 + 4 + 8 + 4] = 32;
  EXPECT_THAT(refusal(overlap), HasSubstr("\"v\" and \"w\" overlap"));
  EXPECT_THAT(refusal(GgufWriter().u32("bad\nkey", 1).u32("bad\nkey", 1).build()), HasSubstr("bad\\x0akey"));
}

// Every 1, 2, 4 and 8 bytes of the header to 0, 1, the maximum and random values: refused in one line, or read.
TEST(GgufReader, SurvivesMutatedHeaders) {
  const Bytes original = llama().build();
  ASSERT_EQ(refusal(original), "");
  const size_t headerBytes = original.size() - 8 * 16 * 4 - 8 * 4;
  Random random{1};
  unsigned refused = 0;
  for (size_t at = 0; at < headerBytes; ++at)
    for (size_t width : {1, 2, 4, 8})
      for (int kind = 0; kind < 4 && at + width <= headerBytes; ++kind) {
        Bytes bytes = original;
        uint64_t value = kind == 0 ? 0 : kind == 1 ? 1 : kind == 2 ? ~uint64_t(0) : random.next();
        std::memcpy(bytes.data() + at, &value, width);
        std::string message = refusal(bytes);
        if (message.empty())
          continue;
        ++refused;
        expectOneLine(message, "model.gguf: byte ");
      }
  EXPECT_GT(refused, headerBytes);
}

TEST(GgufReader, RefusesEveryTruncation) {
  const Bytes original = llama().build();
  for (size_t length = 0; length < original.size(); ++length)
    expectOneLine(refusal(Bytes(original.begin(), original.begin() + long(length))), "model.gguf: byte ");
}

Bytes part(unsigned number, unsigned count, const std::string &tensor, unsigned total) {
  GgufWriter writer;
  writer.string("general.architecture", "llama").u16("split.no", uint16_t(number)).u16("split.count", uint16_t(count));
  if (number == 0)
    writer.u32("split.tensors.count", total);
  return writer.tensor(tensor, {2}, 0, Bytes(8, uint8_t(number))).build();
}

TEST(GgufSplit, ReadsAllPartsAndRefusesWrongOnes) {
  TemporaryDirectory directory;
  auto write = [&](unsigned number, const Bytes &bytes) {
    return directory.write("m-0000" + std::to_string(number) + "-of-00003.gguf", bytes);
  };
  std::string first = write(1, part(0, 3, "a", 3));
  write(2, part(1, 3, "b", 3));
  EXPECT_THAT(messageOf(gguf::open(first)), HasSubstr("m-00003-of-00003.gguf: cannot be opened"));
  std::string third = write(3, part(2, 3, "c", 3));
  auto model = gguf::open(first);
  ASSERT_TRUE(bool(model)) << messageOf(std::move(model));
  EXPECT_EQ(model->checkpoint.tensors().size(), 3u);
  ASSERT_NE(model->checkpoint.find("c"), nullptr);
  EXPECT_EQ(model->checkpoint.fileOf(*model->checkpoint.find("c")), third);
  EXPECT_EQ(*model->checkpoint.find("c")->data, 2);

  EXPECT_THAT(messageOf(gguf::open(third)), HasSubstr("is part 3 of a split model"));
  write(3, part(1, 3, "c", 3));
  EXPECT_THAT(messageOf(gguf::open(first)), HasSubstr("says it is part 2 of 3, expected is part 3 of 3"));
  write(3, part(2, 3, "b", 3));
  EXPECT_THAT(messageOf(gguf::open(first)), HasSubstr("tensor \"b\" stands in"));
  std::filesystem::remove(third);
  std::filesystem::create_symlink(first, third);
  EXPECT_THAT(messageOf(gguf::open(first)), HasSubstr("is the same file as"));
  std::filesystem::remove(third);
  write(3, part(2, 3, "c", 3));
  write(1, part(0, 3, "a", 4));
  EXPECT_THAT(messageOf(gguf::open(first)), HasSubstr("split.tensors.count is 4"));
  std::string renamed = directory.write("m.gguf", part(0, 3, "a", 3));
  EXPECT_THAT(messageOf(gguf::open(renamed)), HasSubstr("PREFIX-00001-of-NNNNN.gguf"));
  EXPECT_THAT(messageOf(gguf::open(directory.path.string())), HasSubstr("no regular file"));
}

std::string configRefusal(const GgufWriter &writer) {
  TemporaryDirectory directory;
  auto model = gguf::open(directory.write("m.gguf", writer.build()));
  if (!model)
    return llvm::toString(model.takeError());
  return messageOf(gguf::readConfig(model->metadata, model->checkpoint));
}

TEST(GgufConfig, ReadsAndRefuses) {
  TemporaryDirectory directory;
  auto model = gguf::open(directory.write("m.gguf", llama().build()));
  ASSERT_TRUE(bool(model));
  auto config = gguf::readConfig(model->metadata, model->checkpoint);
  ASSERT_TRUE(bool(config)) << messageOf(std::move(config));
  EXPECT_EQ(config->headDim, 4);
  EXPECT_EQ(config->kvHeads, 1);
  EXPECT_EQ(config->vocab, 16);
  EXPECT_TRUE(config->tied);
  EXPECT_TRUE(config->rope.interleaved);
  EXPECT_THAT(config->endTokens, testing::ElementsAre(2));
  EXPECT_THAT(configRefusal(llama().u32("llama.strange", 1)), HasSubstr("llama.strange\" is not known"));
  EXPECT_THAT(configRefusal(llama().u32("llama.expert_count", 8)), HasSubstr("expert_used_count\" is missing"));
  EXPECT_THAT(configRefusal(llama().string("llama.rope.scaling.type", "longrope")), HasSubstr("longrope"));
  EXPECT_THAT(configRefusal(GgufWriter().string("general.architecture", "rwkv")),
              HasSubstr("\"rwkv\" is not supported"));
  EXPECT_THAT(configRefusal(llama().string("general.type", "adapter")), HasSubstr("adapter"));
  EXPECT_THAT(configRefusal(llama().u32("llama.vocab_size", 17)), HasSubstr("vocab_size\" is 17"));
  EXPECT_THAT(configRefusal(llama().u32("tokenizer.ggml.eot_token_id", 16)), HasSubstr("end token 16"));
}

} // namespace
