//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// safetensors: what is read, and that every damaged header or index is refused in one line.
//
#include "compiler/Import/HuggingFace/SafeTensors.h"
#include "tests/unit/import/TestFiles.h"

#include <gmock/gmock.h>

using namespace mlc;
using namespace mlc::test;
using testing::HasSubstr;

namespace {

const std::string kHeader = R"({"__metadata__":{"format":"pt"},)"
                            R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
                            R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

std::string tensorsRefusal(const Bytes &bytes) { return messageOf(hf::parseSafeTensors("m.safetensors", bytes)); }
std::string tensorsRefusal(const std::string &header, size_t dataBytes) {
  return tensorsRefusal(safeTensors(header, dataBytes));
}

TEST(SafeTensors, ReadsTensors) {
  Bytes bytes = safeTensors(kHeader, 20);
  auto tensors = hf::parseSafeTensors("m.safetensors", bytes);
  ASSERT_TRUE(bool(tensors)) << messageOf(std::move(tensors));
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_EQ((*tensors)[1].name, "b");
  EXPECT_EQ((*tensors)[1].storage, StorageType::rows_bf16);
  EXPECT_EQ((*tensors)[1].data, bytes.data() + bytes.size() - 12);
  float values[3];
  Checkpoint::readRows((*tensors)[1], 1, 2, values);
  EXPECT_EQ(values[0], std::bit_cast<float>(0x01010000));
}

TEST(SafeTensors, RefusesByName) {
  auto one = [](const std::string &fields, size_t bytes) { return tensorsRefusal("{\"w\":{" + fields + "}}", bytes); };
  EXPECT_THAT(one(R"("dtype":"F64","shape":[1],"data_offsets":[0,8])", 8), HasSubstr("\"w\" is stored as F64"));
  EXPECT_THAT(one(R"("dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1])", 1), HasSubstr("F8_E4M3"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,8])", 8), HasSubstr("too large"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8])", 8), HasSubstr("too large"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[-1],"data_offsets":[0,8])", 8), HasSubstr("dimension"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[1.5],"data_offsets":[0,8])", 8), HasSubstr("dimension"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[3],"data_offsets":[0,8])", 8), HasSubstr("takes 12 bytes"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])", 8), HasSubstr("rising"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 4), HasSubstr("cut off"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])", 12), HasSubstr("end at byte 8"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[2],"data_offsets":[4,12])", 12), HasSubstr("a gap"));
  EXPECT_THAT(one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1)", 8), HasSubstr("exactly dtype"));
  EXPECT_THAT(tensorsRefusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                             12),
              HasSubstr("an overlap"));
  EXPECT_THAT(tensorsRefusal(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                             8),
              HasSubstr("twice"));
  EXPECT_THAT(tensorsRefusal("[]", 0), HasSubstr("no JSON object"));
  EXPECT_THAT(tensorsRefusal("{", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(tensorsRefusal(R"({"__metadata__":{"a":1}})", 0), HasSubstr("__metadata__"));
  Writer huge;
  huge.put(~uint64_t(0)).put(uint64_t(0));
  EXPECT_THAT(tensorsRefusal(huge.bytes), HasSubstr("header of 18446744073709551615 bytes"));
}

TEST(SafeTensors, SurvivesMutatedHeaders) {
  const Bytes original = safeTensors(kHeader, 20);
  ASSERT_EQ(tensorsRefusal(original), "");
  Random random{2};
  for (size_t at = 0; at < original.size() - 20; ++at)
    for (int kind = 0; kind < 12; ++kind) {
      Bytes bytes = original;
      const char replacements[] = {'0', '1', '9', '-', '"', '{', ']', 0, char(255)};
      bytes[at] = kind < 9 ? uint8_t(replacements[kind]) : uint8_t(random.next());
      std::string message = tensorsRefusal(bytes);
      if (!message.empty())
        expectOneLine(message, "m.safetensors: ");
    }
}

TEST(SafeTensors, RefusesEveryTruncation) {
  const Bytes original = safeTensors(kHeader, 20);
  for (size_t length = 0; length < original.size(); ++length)
    expectOneLine(tensorsRefusal(Bytes(original.begin(), original.begin() + long(length))), "m.safetensors: ");
}

TEST(SafeTensors, ReadsShardsAndRefusesWrongOnes) {
  TemporaryDirectory directory;
  auto tensor = [](const std::string &name) {
    return safeTensors("{\"" + name + R"(":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  };
  auto index = [&](const std::string &map) {
    directory.write("model.safetensors.index.json", "{\"metadata\":{},\"weight_map\":{" + map + "}}");
    return messageOf(hf::openSafeTensors(directory.path.string()));
  };
  EXPECT_THAT(messageOf(hf::openSafeTensors(directory.path.string())), HasSubstr("neither model.safetensors"));
  directory.write("x.safetensors", tensor("a"));
  directory.write("y.safetensors", tensor("b"));
  EXPECT_EQ(index(R"("a":"x.safetensors","b":"y.safetensors")"), "");
  EXPECT_THAT(index(R"("a":"x.safetensors","b":"z.safetensors")"), HasSubstr("z.safetensors: cannot be opened"));
  EXPECT_THAT(index(R"("a":"../x.safetensors")"), HasSubstr("plain name"));
  EXPECT_THAT(index(R"("a":"/x.safetensors")"), HasSubstr("plain name"));
  EXPECT_THAT(index(R"("a":1)"), HasSubstr("plain name"));
  EXPECT_THAT(index(R"("a":"x.safetensors","b":"x.safetensors")"), HasSubstr("\"b\" is not in x.safetensors"));
  EXPECT_THAT(index(R"("b":"x.safetensors","a":"y.safetensors")"), HasSubstr("does not expect it"));
  EXPECT_THAT(index(R"("c":"x.safetensors")"), HasSubstr("does not expect it"));
  EXPECT_THAT(index(R"("a":"x.safetensors","a":"x.safetensors")"), HasSubstr("twice"));
  directory.write("y.safetensors", tensor("a"));
  EXPECT_THAT(index(R"("a":"x.safetensors","b":"y.safetensors")"), HasSubstr("does not expect it"));
}

} // namespace
