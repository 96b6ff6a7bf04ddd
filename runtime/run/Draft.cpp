//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Draft.h"

#include <algorithm>
#include <stdlib.h>
#include <string.h>

namespace mlc::cli {

bool DraftArguments::wanted() const { return draft && strcmp(draft, "none"); }

static constexpr std::string_view kAndNgram = ",ngram";

std::string_view DraftArguments::file() const {
  std::string_view name = wanted() ? draft : "";
  if (name == kAndNgram.substr(1))
    return {};
  if (name.ends_with(kAndNgram))
    name.remove_suffix(kAndNgram.size());
  return name;
}

bool DraftArguments::ngram() const { return wanted() && file() != draft; }

Parsed DraftArguments::check() {
  if (!draftTokens)
    return {};
  char *end;
  unsigned long number = strtoul(draftTokens, &end, 10);
  bool isNumber = *draftTokens >= '0' && *draftTokens <= '9' && !*end;
  if (strcmp(draftTokens, "auto") && !(isNumber && number >= 1 && number <= kMaxDraftTokens)) {
    printError("--draft-tokens %s: choose auto or 1 to %u", draftTokens, kMaxDraftTokens);
    return {true, 2};
  }
  if (!draft) {
    printError("--draft-tokens goes with --draft");
    return {true, 2};
  }
  fixed = isNumber ? unsigned(number) : 0;
  return {};
}

void warnOfLargeDraft(const Model &target, const Model &draft) {
  if (draft.fileBytes() > target.fileBytes())
    fprintf(stderr, "mlc: warning: %s: the draft is larger than %s, so it can hardly pay\n", draft.name(),
            target.name());
}

Status DraftSession::open(Session &target, const SessionArguments &given, const DraftArguments &arguments) {
  if (!arguments.wanted())
    return {};
  if (std::string_view name = arguments.file(); !name.empty()) {
    Buffer<char> path;
    if (!path.append(name.data(), name.size()) || !path.append('\0'))
      return Error(ErrorCode::OutOfMemory, "--draft: no memory");
    MLC_ASSIGN(model, openModel(path.span().data(), given));
    MLC_TRY(checkVocabulary(target.model(), *model));
    warnOfLargeDraft(target.model(), *model);
    auto made = Session::create(*model, draftBounds(target, given.context, 1, given.maxMemory));
    if (!made)
      return inFile(model->name(), made.error());
    session = Owned<Session>(*made);
  }
  MLC_TRY(drafters.open(session.get(), target, arguments.ngram()));
  SpeculationOptions options;
  options.draftTokens = arguments.fixed;
  MLC_ASSIGN(Speculator made, Speculator::create(target, drafters.all(), options));
  speculator.emplace(std::move(made));
  return {};
}

Result<GenerateResult> DraftSession::generate(Session &target, SequenceId sequence, std::span<const int32_t> prompt,
                                              const GenerateOptions &options) {
  return active() ? speculator->generate(sequence, prompt, options) : mlc::generate(target, sequence, prompt, options);
}

void printSpeculation(JsonWriter &json, const SpeculationStats &stats) {
  json.open("speculation", '{');
  json.count("rounds", stats.rounds);
  json.count("drafted", stats.drafted);
  json.count("accepted", stats.accepted);
  json.count("rollbacks", stats.rollbacks);
  json.number("mean_accepted", stats.meanAccepted());
  json.open("acceptance_by_position", '[');
  for (unsigned i = 0; i < kMaxDraftTokens && stats.judged[i]; ++i)
    json.number(nullptr, double(stats.stayed[i]) / double(stats.judged[i]));
  json.close(']');
  json.number("draft_ms", stats.draftMs);
  json.number("verify_ms", stats.verifyMs);
  json.number("plain_ms", stats.plainMs);
  json.number("draft_prompt_ms", stats.draftPromptMs);
  json.number("rollback_ms", stats.rollbackMs);
  // By drafted tokens; the first are plain steps.
  json.open("gamma_histogram", '[');
  unsigned most = kMaxDraftTokens;
  while (most && !stats.lengths[most])
    --most;
  for (unsigned i = 0; i <= most; ++i)
    json.count(nullptr, stats.lengths[i]);
  json.close(']');
  json.close('}');
}

} // namespace mlc::cli
