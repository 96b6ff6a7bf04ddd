//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/BenchDraft.h"
#include "runtime/run/Commands.h"
#include "runtime/run/RunNetwork.h"

namespace mlc::cli {

void printSpread(const char *name, const Spread &spread) {
  printf("%-24s %.2f (min %.2f, max %.2f)\n", name, spread.median, spread.min, spread.max);
}

void printSpread(JsonWriter &json, const char *key, const Spread &values) {
  json.open(key, '{');
  json.number("median", values.median);
  json.number("min", values.min);
  json.number("max", values.max);
  json.close('}');
}

static Status runBench(const Model &model, const SessionArguments &arguments, const BenchOptions &options,
                       bool asJson) {
  MLC_ASSIGN(Owned<Session> session, openSession(model, arguments));
  auto measured = bench(*session, options);
  if (!measured)
    return inFile(model.name(), measured.error());
  const BenchResult &result = *measured;
  const Ceilings &ceilings = result.ceilings;
  if (!asJson) {
    if (options.prompt)
      printSpread("prompt_tokens_per_s", result.promptTokensPerSecond);
    if (options.tokens)
      printSpread("tokens_per_s", result.tokensPerSecond);
    printf("%-24s %llu\n", "weight_bytes_per_token", (unsigned long long)result.weightBytesPerToken);
    if (result.stateBytesPerToken)
      printf("%-24s %llu\n", "state_bytes_per_token", (unsigned long long)result.stateBytesPerToken);
    printf("%-24s %.2f\n", "read_bandwidth_gb_s", ceilings.readBandwidthGbS);
    printf("%-24s %.3f\n", "fraction_of_bandwidth", result.fractionOfBandwidth);
    // Of a GPU the peak of bf16 products is what a prompt is held against.
    if (ceilings.int8PeakGopS > 0)
      printf("%-24s %.1f\n", "int8_peak_gop_s", ceilings.int8PeakGopS);
    printf("%-24s %.3f\n", "fraction_of_peak", result.fractionOfPeak);
    if (ceilings.f32PeakGflopS > 0)
      printf("%-24s %.1f\n", "f32_peak_gflop_s", ceilings.f32PeakGflopS);
    if (options.tokens) {
      printSpread("snapshot_us", result.snapshotUs);
      printf("%-24s %.4f\n", "snapshot_step_fraction", result.snapshotStepFraction);
    }
    if (ceilings.bf16PeakGflopS > 0)
      printf("%-24s %.1f\n", "bf16_peak_gflop_s", ceilings.bf16PeakGflopS);
    return flushOutput();
  }
  JsonWriter json;
  json.open(nullptr, '{');
  printSpread(json, "prompt_tokens_per_s", result.promptTokensPerSecond);
  printSpread(json, "tokens_per_s", result.tokensPerSecond);
  json.count("weight_bytes_per_token", result.weightBytesPerToken);
  json.count("state_bytes_per_token", result.stateBytesPerToken);
  json.number("read_bandwidth_gb_s", ceilings.readBandwidthGbS);
  json.number("fraction_of_bandwidth", result.fractionOfBandwidth);
  json.number("int8_peak_gop_s", ceilings.int8PeakGopS);
  json.number("fraction_of_peak", result.fractionOfPeak);
  json.number("f32_peak_gflop_s", ceilings.f32PeakGflopS);
  printSpread(json, "snapshot_us", result.snapshotUs);
  json.number("snapshot_step_fraction", result.snapshotStepFraction);
  if (ceilings.bf16PeakGflopS > 0)
    json.number("bf16_peak_gflop_s", ceilings.bf16PeakGflopS);
  json.close('}');
  return json.finish();
}

int benchCommand(int argc, char **argv) {
  SessionArguments session;
  BenchOptions bench;
  uint64_t repetitions = 0;
  uint64_t given = 0;
  NetworkArguments network;
  NetworkBenchOptions networkBench;
  DraftBenchArguments drafting;
  bool json = false;
  const Option options[] = {
      {"p", "N", "tokens of the prompt (default 512; 0: not measured)", OptionKind::count, &bench.prompt},
      {"n", "N", "tokens generated (default 128; 0: not measured)", OptionKind::count, &bench.tokens},
      {"d", "N", "tokens that stand before both of them (default 0)", OptionKind::count, &bench.depth},
      {"r", "N", "repetitions (default 5; of a network: about a second of runs)", OptionKind::count, &repetitions, 1,
       100000},
      MLC_THREADS_OPTION(session),
      MLC_DEVICE_OPTION(session),
      MLC_CONTEXT_OPTION(session),
      MLC_KV_MEMORY_OPTION(session),
      MLC_MAX_MEMORY_OPTION(session),
      MLC_NO_CODE_OPTION(session),
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &json},
      {"input", "NAME=F.npy", "of a network; those not given are seeded normals (floats) or zeros", OptionKind::texts,
       &network.inputs},
      {"profile", nullptr, "of a network: the time of every op too", OptionKind::flag, &networkBench.profile},
      MLC_DRAFT_OPTIONS(drafting.draft),
      {"prompt", "TEXT", "with --draft: -n tokens behind it are generated with drafts and without, in turns",
       OptionKind::text, &drafting.generation.prompt},
      {"prompt-file", "F", "the same, the text of F (less one final newline)", OptionKind::text,
       &drafting.generation.promptFile},
      {"tokens", "1,2,3", "the same, as token ids", OptionKind::text, &drafting.generation.tokens},
      {"temperature", "T", "with --draft: 0, the default, is greedy", OptionKind::real,
       &drafting.generation.sampling.temperature},
      {"seed", "N", "with --draft: of the sampling (default 0)", OptionKind::count, &drafting.generation.sampling.seed},
  };
  Command command{
      argv[0],
      "OUT.mlca",
      "Measures prompt and generation speed beside this machine's read bandwidth and peaks of int8, f32 and bf16;\n"
      "of an artifact for a GPU beside its copy bandwidth; of a network, the latency of a run with its inputs in "
      "place.\nWith --draft, generation with drafts beside generation without.",
      options,
      "model.mlca -p 512 -n 128 -r 5",
      &given};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (Parsed checked = drafting.check(options, given); checked.leave)
    return checked.status;
  if (repetitions)
    bench.repetitions = unsigned(repetitions);
  auto measured = [&]() -> Status {
    MLC_ASSIGN(Owned<Model> model, openModel(file, session, /*networks=*/true));
    MLC_TRY(checkDevice(*model, session.device));
    MLC_TRY(
        checkOptions(*model, options, given, {"input", "profile"}, {"r", "threads", "json", "max-memory", "no-code"}));
    if (drafting.draft.wanted())
      return benchDraft(*model, session, bench, drafting, json);
    if (!model->isNetwork())
      return runBench(*model, session, bench, json);
    networkBench.repetitions = repetitions;
    return benchNetwork(*model, session, network, networkBench, json);
  }();
  if (!measured)
    return fail(measured.error());
  return 0;
}

} // namespace mlc::cli
