//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// mlc-run as its users see it: exit status, the one error line, stdout, files.
//
#include "tests/unit/run/MlcRun.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace mlc::test;
using testing::HasSubstr;
using testing::StartsWith;

namespace {

struct MlcRun : testing::Test {
  static void SetUpTestSuite() {
    artifact = temporaryPath("tiny.mlca");
    writeModel(makeTinyModel(), artifact);
  }
  /// Exactly one line, and the status.
  static void expectError(const std::string &words, int status, const std::string &line) {
    Outcome outcome = mlcRun(words);
    EXPECT_EQ(outcome.status, status) << words;
    EXPECT_EQ(outcome.err, "mlc: error: " + line + "\n") << words;
    EXPECT_EQ(outcome.out, "") << words;
  }
  static std::string artifact;
};
std::string MlcRun::artifact;

} // namespace

TEST_F(MlcRun, IdsComeOutWithoutATokenizer) {
  Outcome plain = mlcRun(artifact + " --tokens 1,2,3 --max-tokens 5 --ignore-eos");
  EXPECT_EQ(plain.status, 0) << plain.err;
  EXPECT_THAT(plain.out, testing::MatchesRegex("[0-9]+(,[0-9]+)+\n"));
  Outcome json = mlcRun(artifact + " --tokens 1,2,3 --max-tokens 5 --ignore-eos --json");
  EXPECT_EQ(json.status, 0);
  std::string ids = plain.out.substr(0, plain.out.size() - 1);
  EXPECT_THAT(json.out, StartsWith("{\"text\":null,\"prompt_tokens\":3,\"tokens\":[" + ids +
                                   "],\"finish_reason\":\"length\",\"timings\":{\"load_ms\":"));
  for (const char *key : {"prompt_ms", "first_token_ms", "generate_ms", "prompt_tokens_per_s", "tokens_per_s"})
    EXPECT_THAT(json.out, HasSubstr("\"" + std::string(key) + "\":"));
  EXPECT_THAT(json.out, HasSubstr("},\"peak_rss_bytes\":"));
}

TEST_F(MlcRun, LogitsFileHoldsEveryPosition) {
  std::string file = temporaryPath("logits.npy");
  Outcome outcome = mlcRun(artifact + " --tokens 1,2,3 --max-tokens 5 --ignore-eos --threads 2 --logits " + file);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  std::string content = contentOf(file);
  EXPECT_THAT(content, HasSubstr("{'descr': '<f4', 'fortran_order': False, 'shape': (7, 67), }"));
  EXPECT_EQ(content.size(), 128u + 7 * 67 * 4);
  // A failure after it was begun leaves nothing.
  std::string none = temporaryPath("none") + "/logits.npy";
  expectError(artifact + " --tokens 1 --logits " + none, 1, none + ": No such file or directory");
  EXPECT_FALSE(std::filesystem::exists(none));
}

TEST_F(MlcRun, ErrorsAreOneLine) {
  expectError(artifact + " --tokens 1,67", 1, artifact + ": token id 67 is outside the vocabulary of 67");
  expectError(artifact + " --prompt hello", 1, artifact + ": has no tokenizer; give ids with --tokens");
  expectError(artifact + " --prompt ''", 1, "--prompt: the prompt is empty; give some text, or ids with --tokens");
  expectError(artifact + " </dev/null", 1, "standard input: the prompt is empty; give some text, or ids with --tokens");
  expectError(artifact + " --tokens 1,2,3 --context 2", 1,
              artifact + ": a prompt of 3 tokens does not fit the context of 2; shorten it");
  expectError(artifact + " --tokens 1 --context 300", 1,
              artifact + ": --context 300 is above the artifact's 256; compile it with a larger --context");
  expectError(artifact + " --tokens 1,x", 1, "--tokens 1,x: not a list of token ids like 1,2,3");
  Outcome full = mlcRun(artifact + " --tokens 1 --max-tokens 4 --ignore-eos", "/dev/full");
  EXPECT_EQ(full.status, 1);
  EXPECT_EQ(full.err, "mlc: error: standard output: No space left on device\n");
  expectError(artifact + ".gone --tokens 1", 1, artifact + ".gone: No such file or directory");
  expectError(artifact + " --prompt-file /nowhere", 1, "/nowhere: No such file or directory");
}

TEST_F(MlcRun, UsageErrorsAreTwo) {
  expectError(artifact + " --tokens 1 --draft ngram --draft-tokens 17", 2, "--draft-tokens 17: choose auto or 1 to 16");
  expectError(artifact + " --tokens 1 --draft ngram --draft-tokens 0", 2, "--draft-tokens 0: choose auto or 1 to 16");
  expectError(artifact + " --tokens 1 --draft ngram --draft-tokens 3x", 2, "--draft-tokens 3x: choose auto or 1 to 16");
  expectError(artifact + " --tokens 1 --draft-tokens 3", 2, "--draft-tokens goes with --draft");
  expectError(artifact + " --state a=b", 2, "--state: not available in this version");
  expectError(artifact + " --bogus", 2, "--bogus: unknown option; see mlc-run --help");
  expectError(artifact + " --tokens 1 --temperature warm", 2, "--temperature warm: not a number");
  expectError(artifact + " --tokens 1 --top-p 2", 2, "--top-p 2: choose above 0, at most 1");
  expectError(artifact + " --tokens 1 --threads 0", 2, "--threads 0: choose 1 to 1024");
  expectError(artifact + " --tokens 1 --prompt x", 2, "--prompt, --prompt-file and --tokens: give one of them");
  expectError(artifact + " --tokens", 2, "--tokens needs a value, 1,2,3");
  expectError("--tokens 1", 2, "mlc-run: give OUT.mlca; see mlc-run --help");
  expectError(artifact + " --bench --verify", 2, "--bench and --verify: give one of them");
}

TEST_F(MlcRun, DraftsChangeNothingButTheTime) {
  std::string smaller = temporaryPath("smaller.mlca");
  TinyOptions small;
  small.layers = 1;
  writeModel(makeTinyModel(small), smaller);
  std::string words = artifact + " --tokens 5,9,1,5,9 --max-tokens 60 --ignore-eos";
  Outcome plain = mlcRun(words);
  for (const std::string &draft : {smaller, artifact, std::string("ngram"), smaller + ",ngram", std::string("none")})
    for (const char *tokens : {"auto", "1", "5", "15"}) {
      Outcome fast = mlcRun(words + " --draft " + draft + " --draft-tokens " + tokens);
      EXPECT_EQ(fast.status, 0) << fast.err;
      EXPECT_EQ(fast.out, plain.out) << draft;
      EXPECT_EQ(fast.err, "");
    }
  std::string json = mlcRun(words + " --json --draft " + artifact + " --draft-tokens 5").out;
  for (const char *key : {"rounds", "drafted", "accepted", "rollbacks", "mean_accepted", "acceptance_by_position",
                          "draft_ms", "verify_ms", "gamma_histogram"})
    EXPECT_THAT(json, HasSubstr("\"" + std::string(key) + "\":"));
  // The model is its own draft: all of it stays.
  EXPECT_THAT(json, HasSubstr("\"speculation\":{\"rounds\":10,\"drafted\":49,\"accepted\":49,\"rollbacks\":0,"));
  EXPECT_THAT(mlcRun(words + " --json").out, testing::Not(HasSubstr("speculation")));
}

TEST_F(MlcRun, SamplesAreTheTextsOfTheirSeeds) {
  std::string words = artifact + " --tokens 5,9,1 --max-tokens 7 --ignore-eos --temperature 1.2 ";
  for (const std::string &draft : {std::string(), " --draft " + artifact + " --draft-tokens 2"}) {
    std::string all;
    for (int i = 0; i < 6; ++i)
      all +=
          "--- seed " + std::to_string(4 + i) + "\n" + mlcRun(words + draft + " --seed " + std::to_string(4 + i)).out;
    Outcome samples = mlcRun(words + draft + " --seed 4 --samples 6");
    EXPECT_EQ(samples.status, 0) << samples.err;
    EXPECT_EQ(samples.out, all);
    Outcome json = mlcRun(words + draft + " --seed 4 --samples 6 --json");
    EXPECT_THAT(json.out, StartsWith("{\"prompt_tokens\":3,\"samples\":[{\"seed\":4,\"text\":null,\"tokens\":["));
  }
  expectError(artifact + " --tokens 1 --samples 2 --logits x.npy", 2, "--samples and --logits: give one of them");
}

TEST_F(MlcRun, DraftsThatDoNotFit) {
  auto made = [](const char *name, TinyOptions options) {
    std::string path = temporaryPath(name);
    writeModel(makeTinyModel(options), path);
    return path;
  };
  TinyOptions vocabulary, context, larger;
  vocabulary.vocab = 66;
  context.context = 128;
  larger.layers = 4;
  std::string words = artifact + " --tokens 1 --max-tokens 8 --ignore-eos --draft ";
  std::string draft = made("vocabulary.mlca", vocabulary);
  expectError(words + draft, 1,
              draft + ": a vocabulary of 66 tokens, and " + artifact +
                  " has 67; a draft needs the target's vocabulary");
  draft = made("context.mlca", context);
  expectError(words + draft, 1,
              draft + ": a context of 128, and " + artifact +
                  " has 256; compile it for the same, or lower both with --context 128");
  EXPECT_EQ(mlcRun(words + draft + " --context 128").status, 0);
  draft = made("larger.mlca", larger);
  Outcome outcome = mlcRun(words + draft);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, mlcRun(artifact + " --tokens 1 --max-tokens 8 --ignore-eos").out);
  EXPECT_EQ(outcome.err,
            "mlc: warning: " + draft + ": the draft is larger than " + artifact + ", so it can hardly pay\n");
  expectError(words + artifact + ".gone", 1, artifact + ".gone: No such file or directory");
  expectError(words + artifact + " --draft-tokens 16", 1,
              artifact + ": its steps take 16 tokens, a draft at most one less; compile it with a larger --batch");
}

TEST_F(MlcRun, CheckpointsAreAnsweredWithTheCompileLine) {
  std::string gguf = temporaryPath("a model.gguf"), folder = temporaryPath("folder");
  std::ofstream(gguf) << "GGUF";
  std::filesystem::create_directory(folder);
  std::ofstream(folder + "/model.safetensors") << "x";
  expectError("'" + gguf + "' --prompt x", 1,
              gguf + ": a checkpoint, not an artifact; first: mlc compile '" + gguf + "' -o '" +
                  temporaryPath("a model") + ".mlca'");
  expectError(folder + "/ --prompt x", 1,
              folder + "/: a checkpoint, not an artifact; first: mlc compile " + folder + " -o " + folder + ".mlca");
  expectError(folder + "/model.safetensors --prompt x", 1,
              folder + "/model.safetensors: a checkpoint, not an artifact; first: mlc compile " + folder + " -o " +
                  folder + ".mlca");
}

TEST_F(MlcRun, HelpVersionVerifyInspectBench) {
  Outcome help = mlcRun("--help");
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("--repeat-penalty"));
  EXPECT_THAT(help.out, HasSubstr("example:\n  mlc-run model.mlca"));
  EXPECT_THAT(help.out, HasSubstr("--bench"));
  EXPECT_THAT(help.out, HasSubstr("--draft-tokens auto|N"));
  EXPECT_THAT(mlcRun("--version").out, testing::MatchesRegex("mlc [0-9.]+\n"));
  EXPECT_THAT(mlcRun("--verify " + artifact).out, StartsWith(artifact + ": ok, "));
  EXPECT_THAT(mlcRun(artifact + " --inspect --json").out, StartsWith("{"));
  Outcome bench = mlcRun(artifact + " --bench -p 20 -n 3 -r 1 --json");
  EXPECT_EQ(bench.status, 0) << bench.err;
  for (const char *key : {"prompt_tokens_per_s", "tokens_per_s", "weight_bytes_per_token", "read_bandwidth_gb_s",
                          "fraction_of_bandwidth", "int8_peak_gop_s", "fraction_of_peak", "f32_peak_gflop_s",
                          "state_bytes_per_token", "snapshot_us", "snapshot_step_fraction"})
    EXPECT_THAT(bench.out, HasSubstr("\"" + std::string(key) + "\":"));
  std::string damaged = temporaryPath("damaged.mlca");
  AlignedBytes bytes = readBytes(artifact);
  bytes[bytes.size() - 1] ^= 1;
  std::ofstream(damaged, std::ios::binary)
      .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  Outcome verify = mlcRun("--verify " + damaged);
  EXPECT_EQ(verify.status, 1);
  EXPECT_THAT(verify.err, StartsWith("mlc: error: " + damaged + ": "));
}

TEST_F(MlcRun, InterruptEndsCleanly) {
  std::string out = temporaryPath("interrupted");
  std::string file = temporaryPath("interrupted.npy");
  // The reader of its text interrupts it after the first id.
  std::string script = "mkfifo " + out + " && { " + MLC_RUN + " " + artifact +
                       " --tokens 1 --max-tokens 0 --ignore-eos --logits " + file + " >" + out +
                       " & } && pid=$! && { head -c 1 >/dev/null; kill -INT $pid; cat >/dev/null; } <" + out +
                       "; wait $pid";
  int status = system(("bash -c '" + script + "'").c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_THAT(contentOf(file), StartsWith("\x93NUMPY"));
}
