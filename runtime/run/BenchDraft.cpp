//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/BenchDraft.h"

#include <string.h>

namespace mlc::cli {

Parsed DraftBenchArguments::check(std::span<const Option> options, uint64_t given) {
  if (Parsed checked = draft.check(); checked.leave)
    return checked;
  for (size_t i = 0; i < options.size(); ++i) {
    if (!(given >> i & 1))
      continue;
    for (const char *other : {"p", "d"})
      if (draft.wanted() && !strcmp(options[i].name, other)) {
        printError("-%s and --draft: give one of them; --draft measures what follows --prompt", other);
        return {true, 2};
      }
    for (const char *needs : {"prompt", "prompt-file", "tokens", "temperature", "seed"})
      if (!draft.wanted() && !strcmp(options[i].name, needs)) {
        printError("--%s goes with --draft", needs);
        return {true, 2};
      }
  }
  if (!draft.wanted())
    return {};
  // What stays depends on the text, so a made-up one would say nothing.
  if (!generation.prompt && !generation.promptFile && !generation.tokens) {
    printError("--draft needs a text to go on with: give --prompt, --prompt-file or --tokens");
    return {true, 2};
  }
  return generation.check("--draft");
}

namespace {

struct Measured {
  Spread plain, drafted;
  SpeculationStats stats;
};

Result<Measured> measure(Session &session, DraftSession &draft, std::span<const int32_t> prompt,
                         const BenchOptions &options, const GenerationArguments &generation) {
  GenerateOptions wanted;
  wanted.maxTokens = options.tokens;
  wanted.ignoreEnd = true;
  wanted.sampling = generation.sampling;
  double rates[2][kMaxBenchRepetitions];
  // Repetition 0 warms caches and pages and is not counted.
  for (unsigned r = 0; r <= options.repetitions; ++r)
    for (unsigned turn = 0; turn < 2; ++turn) {
      bool drafts = (r + turn) % 2; // A B, then B A: neither always follows the other.
      MLC_ASSIGN(SequenceId sequence, session.createSequence(int64_t(prompt.size())));
      auto generated =
          drafts ? draft.generate(session, sequence, prompt, wanted) : mlc::generate(session, sequence, prompt, wanted);
      MLC_TRY(session.destroySequence(sequence));
      if (!generated)
        return generated.error();
      if (generated->tokens < options.tokens)
        return Error(ErrorCode::OutOfRange, "-n %llu: the context of %llu has room for %llu behind the prompt",
                     (unsigned long long)options.tokens, (unsigned long long)session.context(),
                     (unsigned long long)generated->tokens);
      if (r)
        rates[drafts][r - 1] = generated->tokensPerSecond();
    }
  return Measured{spreadOf({rates[0], options.repetitions}), spreadOf({rates[1], options.repetitions}), *draft.stats()};
}

} // namespace

Status benchDraft(const Model &model, const SessionArguments &arguments, const BenchOptions &options,
                  const DraftBenchArguments &given, bool asJson) {
  if (options.repetitions > kMaxBenchRepetitions)
    return Error(ErrorCode::InvalidArgument, "-r %u: choose 1 to %u repetitions", options.repetitions,
                 kMaxBenchRepetitions);
  if (options.tokens < 2)
    return Error(ErrorCode::InvalidArgument, "-n %llu: --draft measures 2 tokens or more",
                 (unsigned long long)options.tokens);
  Buffer<int32_t> prompt;
  MLC_TRY(readPrompt(model.name(), model.tokenizer(), given.generation, prompt));
  MLC_ASSIGN(Owned<Session> session, openSession(model, arguments));
  DraftSession draft;
  MLC_TRY(draft.open(*session, arguments, given.draft));
  auto measured = measure(*session, draft, prompt.span(), options, given.generation);
  if (!measured)
    return inFile(model.name(), measured.error());
  double speedUp = measured->drafted.median / measured->plain.median;
  const SpeculationStats &stats = measured->stats;
  if (!asJson) {
    printSpread("tokens_per_s", measured->plain);
    printSpread("drafted_tokens_per_s", measured->drafted);
    printf("%-24s %.3f\n", "speed_up", speedUp);
    uint64_t judged = stats.accepted + stats.rollbacks;
    printf("%-24s %.3f\n", "acceptance", judged ? double(stats.accepted) / double(judged) : 0.0);
    printf("%-24s %.2f of %.2f\n", "mean_accepted", stats.meanAccepted(),
           stats.rounds ? double(stats.drafted) / double(stats.rounds) : 0.0);
    printf("%-24s %llu, and %llu plain steps\n", "rounds", (unsigned long long)stats.rounds,
           (unsigned long long)stats.lengths[0]);
    return flushOutput();
  }
  JsonWriter json;
  json.open(nullptr, '{');
  printSpread(json, "tokens_per_s", measured->plain);
  printSpread(json, "drafted_tokens_per_s", measured->drafted);
  json.number("speed_up", speedUp);
  printSpeculation(json, stats);
  json.close('}');
  return json.finish();
}

} // namespace mlc::cli
