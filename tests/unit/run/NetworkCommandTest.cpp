//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc-run on a network: files in and out, streams, measuring, and what is refused.
//
#include "runtime/run/Npy.h"
#include "tests/unit/run/MlcRun.h"
#include "tests/unit/support/TinyNetwork.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::test;
using testing::HasSubstr;
using testing::MatchesRegex;

namespace {

template <typename T> std::string npy(const std::string &name, std::vector<uint64_t> shape, std::vector<T> values) {
  cli::NpyHeader header;
  header.kind = std::is_floating_point_v<T> ? 'f' : 'i';
  header.size = sizeof(T);
  header.axes = unsigned(shape.size());
  std::copy(shape.begin(), shape.end(), header.shape);
  std::string path = temporaryPath(name);
  EXPECT_TRUE(bool(
      cli::writeNpy(path.c_str(), header, {reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T)})));
  return path;
}

struct Array {
  std::vector<uint64_t> shape;
  std::vector<float> values;
};

Array readArray(const std::string &path) {
  std::string bytes = contentOf(path);
  cli::NpyHeader header;
  Status parsed = cli::parseNpy(bytes, header);
  if (!parsed || header.kind != 'f' || header.size != 4) {
    ADD_FAILURE() << path;
    return {};
  }
  Array array{{header.shape, header.shape + header.axes}, std::vector<float>(header.elements)};
  memcpy(array.values.data(), bytes.data() + header.offset, header.elements * 4);
  return array;
}

struct NetworkRun : testing::Test {
  static void SetUpTestSuite() {
    artifact = temporaryPath("network.mlca");
    writeModel(tinyNetwork().model, artifact);
    std::vector<float> x(16), y(16, -3);
    for (size_t i = 0; i < 16; ++i)
      x[i] = float(i);
    given = " --input x=" + npy("x.npy", {2, 8}, x) + " --input y=" + npy("y.npy", {2, 8}, y) +
            " --input ids=" + npy<int64_t>("ids.npy", {3}, {5, 6, 7});
    step = " --input step=" + npy<float>("step.npy", {4}, {1, 2, 3, 4});
  }
  static void refuse(const std::string &words, const std::string &line, int status = 1) {
    Outcome outcome = mlcRun(artifact + words);
    EXPECT_EQ(outcome.status, status) << words;
    EXPECT_EQ(outcome.err, "mlc: error: " + line + "\n") << words;
    EXPECT_EQ(outcome.out, "") << words;
  }
  static std::string artifact, given, step;
};
std::string NetworkRun::artifact, NetworkRun::given, NetworkRun::step;

} // namespace

TEST_F(NetworkRun, FilesInAndOut) {
  std::string out = temporaryPath("made/out");
  Outcome text = mlcRun(artifact + given + step + " --output-dir " + out);
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_EQ(text.out, "sum float32 [2, 8] " + out + "/sum.npy\nhalf float32 [2, 4] " + out +
                          "/half.npy\ntotal float32 [4] " + out + "/total.npy\nsame int64 [3] " + out + "/same.npy\n");
  Array sum = readArray(out + "/sum.npy");
  EXPECT_EQ(sum.shape, (std::vector<uint64_t>{2, 8}));
  for (size_t i = 0; i < sum.values.size(); ++i)
    EXPECT_EQ(sum.values[i], std::max(0.0f, float(i) - 3));
  EXPECT_EQ(contentOf(out + "/same.npy"), contentOf(temporaryPath("ids.npy")));
  Outcome json = mlcRun(artifact + given + step + " --json --threads 2");
  EXPECT_EQ(json.status, 0) << json.err;
  EXPECT_THAT(json.out,
              MatchesRegex("\\{\"outputs\":\\{\"sum\":\\{\"dtype\":\"float32\",\"shape\":\\[2,8\\]\\},.*\\}\\},"
                           "\"timings\":\\{\"load_ms\":[^,]*,\"run_ms\":[^,]*\\},\"peak_rss_bytes\":[0-9]+\\}\n"));
}

TEST_F(NetworkRun, AStreamIsARunARow) {
  std::string out = temporaryPath("stream");
  std::string steps = npy<float>("steps.npy", {3, 4}, {1, 2, 3, 4, 10, 20, 30, 40, 0, 0, 0, 100});
  Outcome outcome = mlcRun(artifact + given + " --input step=" + steps + " --output-dir " + out);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  Array total = readArray(out + "/total.npy"), half = readArray(out + "/half.npy");
  EXPECT_EQ(total.shape, (std::vector<uint64_t>{3, 4}));
  EXPECT_EQ(total.values, (std::vector<float>{1, 2, 3, 4, 11, 22, 33, 44, 11, 22, 33, 144}));
  // What has no axis in front is the same for every run.
  EXPECT_EQ(half.shape, (std::vector<uint64_t>{3, 2, 4}));
  EXPECT_EQ(half.values[0], half.values[16]);
  std::string two = npy<float>("two.npy", {2, 2, 8}, std::vector<float>(32));
  refuse(" --input step=" + steps + " --input x=" + two, two + ": is for 2 runs, other inputs for 3");
}

TEST_F(NetworkRun, WhatIsRefused) {
  auto input = [](const std::string &name, const std::string &file) { return " --input " + name + "=" + file; };
  std::string ids = temporaryPath("ids.npy"), wide = npy("wide.npy", {2, 9}, std::vector<float>(18)),
              tall = npy("tall.npy", {5, 8}, std::vector<float>(40)),
              one = npy("one.npy", {1, 8}, std::vector<float>(8)),
              flat = npy("flat.npy", {2, 2, 2, 8}, std::vector<float>(64));
  refuse(given, artifact + ": give the inputs step with --input NAME=F.npy");
  refuse(given + step + step, artifact + ": --input: gives 'step' twice");
  refuse(input("z", ids), artifact + ": --input: there is no input 'z'; there are: x, y, step, ids");
  refuse(" --input x", artifact + ": --input x: write NAME=F.npy");
  refuse(input("x", ids), ids + ": holds int64, input 'x' is float32");
  refuse(input("x", wide), wide + ": axis 1 has 9 elements, input 'x' has 8");
  refuse(input("x", tall), tall + ": axis 0 has 5 elements; 'batch' is 1 to 4");
  refuse(input("x", one) + input("y", temporaryPath("y.npy")),
         temporaryPath("y.npy") + ": axis 0 has 2 elements; 'batch' is 1 in this run");
  refuse(input("x", flat), flat + ": has 4 axes, input 'x' has 2 (or one more in front, a run a row)");
  refuse(input("x", artifact), artifact + ": is no .npy file");
  refuse(input("x", "/nowhere.npy"), "/nowhere.npy: No such file or directory");
  refuse(" --prompt a", artifact + ": is a network; --prompt goes with language models");
  refuse(given + step + " --max-tokens 3", artifact + ": is a network; --max-tokens goes with language models");
  refuse(given + step + " --output-dir " + artifact, artifact + ": not a directory");
  EXPECT_THAT(mlcRun(artifact + given + step + " --max-memory 100").err, HasSubstr("more than the 100 allowed"));
  std::string language = temporaryPath("language.mlca");
  writeModel(makeTinyModel(), language);
  Outcome outcome = mlcRun(language + " --tokens 1 --input x=y");
  EXPECT_EQ(outcome.err, "mlc: error: " + language + ": is a language model; --input goes with networks\n");
}

TEST_F(NetworkRun, Bench) {
  Outcome text = mlcRun(artifact + " --bench --threads 1 -r 30 --profile" + step);
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("latency_us"));
  EXPECT_THAT(text.out, HasSubstr("binary.0"));
  Outcome json = mlcRun(artifact + " --bench --threads 1 -r 30 --json --profile");
  EXPECT_EQ(json.status, 0) << json.err;
  EXPECT_THAT(json.out,
              MatchesRegex("\\{\"latency_us\":\\{\"median\":[0-9.e-]+,\"p95\":[0-9.e-]+,\"min\":[0-9.e-]+\\},"
                           "\"runs\":30,\"threads\":1,\"ops\":\\[\\{\"op\":\"binary\",\"location\":\"binary.0\","
                           "\"us\":[0-9.e-]+,\"calls\":1\\},.*\\]\\}\n"));
  refuse(" --bench -p 5", artifact + ": is a network; -p goes with language models");
}

TEST_F(NetworkRun, VerifyAndInspect) {
  EXPECT_EQ(mlcRun(artifact + " --verify").status, 0);
  Outcome text = mlcRun(artifact + " --inspect");
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("main(x f32[batch, 8], y f32[batch, 8]"));
  EXPECT_THAT(text.out, HasSubstr("streams    steps f32[4]"));
  EXPECT_THAT(mlcRun(artifact + " --inspect --json").out, HasSubstr("\"port\": \"half\""));
  // The picture: six ops, joined where one reads what another wrote, with their times; and the arena over them.
  std::string profile = temporaryPath("profile.json"), page = temporaryPath("page.html");
  EXPECT_EQ(mlcRun(artifact + " --bench --threads 1 -r 30 --json --profile", profile).status, 0);
  Outcome html = mlcRun(artifact + " --inspect --html " + page + " --profile " + profile);
  EXPECT_EQ(html.status, 0) << html.err;
  std::string drawn = contentOf(page);
  EXPECT_THAT(drawn, HasSubstr("5 copy <tspan>copy.5 → i64[3]"));
  EXPECT_THAT(drawn, HasSubstr(" us</text>"));
  EXPECT_THAT(drawn, HasSubstr("Memory over time"));
  size_t joined = 0;
  for (size_t at = drawn.find("<path"); at != drawn.npos; at = drawn.find("<path", at + 1))
    ++joined;
  EXPECT_EQ(joined, 2u);
  refuse(" --inspect --profile " + profile, "--profile goes with --html", 2);
  refuse(" --inspect --html " + page + " --profile " + temporaryPath("x.npy"),
         temporaryPath("x.npy") + ": column 1: what mlc bench --profile --json prints is expected");
}
