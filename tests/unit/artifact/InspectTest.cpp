//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Inspection: valid JSON whatever the strings hold, and the facts of a known model in all three forms.
//
#include "runtime/artifact/Inspect.h"
#include "tests/unit/support/TinyArtifact.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace mlc {
namespace {

using namespace mlc::test;
using testing::HasSubstr;
using testing::Not;

std::string inspect(const TinyModel &model,
                    void (*form)(const Artifact &, std::span<const RamFigure>, const InspectSink &)) {
  std::string path = temporaryPath("inspect.mlca");
  writeModel(model, path);
  auto artifact = Artifact::open(path.c_str());
  if (!artifact)
    return artifact.error().message();
  std::string text;
  InspectSink sink{
      [](void *context, const char *data, size_t size) { static_cast<std::string *>(context)->append(data, size); },
      &text};
  const RamFigure ram[] = {{1, 1000, 200, 30, 7}, {4, 1000, 800, 30, 7}};
  form(*artifact, std::span<const RamFigure>(ram), sink);
  return text;
}

TEST(Inspect, JsonSaysWhatTheModelHolds) {
  TinyModel model = makeTinyModel();
  auto json = nlohmann::json::parse(inspect(model, inspectJson));
  EXPECT_EQ(json["format"], kArtifactVersion);
  EXPECT_EQ(json["code"], false);
  EXPECT_EQ(json["model"]["vocab_size"], 67);
  EXPECT_EQ(json["model"]["end_tokens"], nlohmann::json({2}));
  EXPECT_EQ(json["memory"]["arena"], model.metadata.arena_size);
  // Two layers of 2 heads of 8 values, K and V in f32; 256 positions.
  EXPECT_EQ(json["memory"]["kv_per_position"], 2 * 2 * 8 * 4 * 2);
  EXPECT_EQ(json["memory"]["kv_per_sequence"], 2 * 2 * 8 * 4 * 2 * 256);
  EXPECT_EQ(json["memory"]["recurrent_per_sequence"], 0);
  EXPECT_EQ(json["memory"]["ram"][0]["total"], 1230);
  EXPECT_EQ(json["memory"]["ram"][1]["sequences"], 4);
  EXPECT_EQ(json["memory"]["ram"][1]["states"], 800);
  EXPECT_EQ(json["constants"].size(), model.metadata.constants.size());
  EXPECT_EQ(json["functions"][0]["ops"], model.metadata.functions[0]->body->ops.size());
  EXPECT_EQ(json["functions"][0]["outputs"][0]["shape"], nlohmann::json({"rows", 67}));
  uint64_t linears = 0;
  for (auto &kernel : json["kernels"])
    if (kernel["name"] == "linear")
      linears = kernel["calls"];
  EXPECT_EQ(linears, 15u);
  uint64_t total = 0;
  for (const char *kind : {"header", "metadata", "weights", "code", "padding"})
    total += json["sizes"][kind].get<uint64_t>();
  EXPECT_EQ(total, json["bytes"]);
}

/// Without times of ops.
void inspectPage(const Artifact &artifact, std::span<const RamFigure> ram, const InspectSink &sink) {
  inspectHtml(artifact, ram, sink);
}

TEST(Inspect, AnyStringIsEscaped) {
  TinyModel model = makeTinyModel();
  model.metadata.model->name = "a\"b\\c\n\x01 \xff\xe2\x82\xac\xe2\x82</i>&";
  model.metadata.model->sampling->temperature = HUGE_VALF;
  auto json = nlohmann::json::parse(inspect(model, inspectJson));
  EXPECT_EQ(json["model"]["name"], "a\"b\\c\n\x01 \xef\xbf\xbd\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd</i>&");
  EXPECT_TRUE(json["model"]["sampling"]["temperature"].is_null());
  EXPECT_THAT(inspect(model, inspectPage), Not(HasSubstr("</i>&")));
  EXPECT_THAT(inspect(model, inspectText), HasSubstr("a\"b\\c??"));
}

TEST(Inspect, TextAndPageNameEverything) {
  TinyModel model = makeTinyModel();
  auto tap = std::make_unique<fb::TapT>();
  tap->name = "blocks.0.hook_resid_pre";
  tap->slot = model.metadata.functions[0]->outputs[0];
  model.metadata.taps.push_back(std::move(tap));
  for (auto *form : {inspectText, inspectPage}) {
    std::string text = inspect(model, form);
    for (const char *word : {"llama", "x86_64", "step", "attention", "l1.down", "rows_f32", "blocks.0.hook_resid_pre",
                             "f32[rows, 67]", "data only", "0.1.0", "4 sequences"})
      EXPECT_THAT(text, HasSubstr(word));
  }
}

// Broken indices open (digests and structure are right) and must not be followed.
TEST(Inspect, UnverifiedIndicesAreHarmless) {
  TinyModel model = makeTinyModel();
  model.metadata.functions[0]->inputs = {99999};
  for (auto &slot : model.metadata.slots)
    for (auto &dim : slot->dims)
      dim = fb::Dim(INT64_MIN, 77);
  for (auto *form : {inspectText, inspectJson, inspectPage})
    EXPECT_FALSE(inspect(model, form).empty());
}

} // namespace
} // namespace mlc
