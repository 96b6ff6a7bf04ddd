//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/SamplesOutput.h"
#include "runtime/llm/Samples.h"

#include <optional>

namespace mlc::cli {

namespace {

/// Tokens as they come, of all samples.
struct Collected {
  struct Token {
    uint64_t sample;
    int32_t id;
  };
  Buffer<Token> tokens;
  Buffer<FinishReason> finished; // By sample; those that did not end are cancelled.
  uint64_t sample = 0;           // Of a generation with a draft.

  bool add(uint64_t which, int32_t id) { return tokens.append({which, id}); }
};

/// One after the other, each from a snapshot behind the prompt.
Status withDraft(Session &session, DraftSession &draft, std::span<const int32_t> prompt, uint64_t count,
                 const GenerateOptions &given, Collected &collected) {
  MLC_ASSIGN(SequenceId sequence, session.createSequence());
  MLC_TRY(checkPrompt(session, sequence, prompt));
  MLC_TRY(session.setPromptLength(sequence, int64_t(prompt.size())));
  GenerateOptions options = given;
  options.history = prompt.first(prompt.size() - 1);
  options.context = &collected;
  options.onToken = [](void *context, int32_t id) {
    auto &collected = *static_cast<Collected *>(context);
    return collected.add(collected.sample, id);
  };
  int32_t row[1];
  MLC_TRY(feedPrompt(session, sequence, options.history, {}, row));
  MLC_ASSIGN(SnapshotId start, session.snapshot(sequence));
  for (; collected.sample < count; ++collected.sample, ++options.sampling.seed) {
    MLC_TRY(session.restore(sequence, start));
    MLC_ASSIGN(GenerateResult result, draft.generate(session, sequence, prompt.last(1), options));
    if (result.finish == FinishReason::cancelled)
      break;
    if (!collected.finished.append(result.finish))
      return Error(ErrorCode::OutOfMemory, "no memory for the samples");
  }
  return {};
}

Status together(Session &session, std::span<const int32_t> prompt, uint64_t count, const GenerateOptions &options,
                Collected &collected) {
  for (uint64_t i = 0; i < count; ++i)
    if (!collected.finished.append(FinishReason::cancelled))
      return Error(ErrorCode::OutOfMemory, "no memory for the samples");
  SamplesOptions samples;
  samples.count = count;
  samples.generation = options;
  samples.context = &collected;
  samples.onToken = [](void *context, uint64_t sample, int32_t id) {
    return static_cast<Collected *>(context)->add(sample, id);
  };
  samples.onEnd = [](void *context, uint64_t sample, FinishReason finish) {
    static_cast<Collected *>(context)->finished[size_t(sample)] = finish;
  };
  auto done = generateSamples(session, prompt, samples);
  return done ? Status() : Status(done.error());
}

} // namespace

Status runSamples(Session &session, DraftSession &draft, std::span<const int32_t> prompt, uint64_t count,
                  const GenerationArguments &arguments, double loadMs) {
  GenerateOptions options;
  options.maxTokens = arguments.maxTokens;
  options.ignoreEnd = arguments.ignoreEnd;
  options.sampling = arguments.sampling;
  Collected collected;
  double start = monotonicMs();
  MLC_TRY(draft.active() ? withDraft(session, draft, prompt, count, options, collected)
                         : together(session, prompt, count, options, collected));
  double ms = monotonicMs() - start;

  // By sample: where its tokens begin, then the tokens.
  Buffer<uint64_t> begins;
  Buffer<int32_t> ids;
  for (uint64_t i = 0; i <= count; ++i)
    if (!begins.append(uint64_t(0)))
      return Error(ErrorCode::OutOfMemory, "no memory for the samples");
  for (const Collected::Token &token : collected.tokens.span()) {
    ++begins[size_t(token.sample) + 1];
    if (!ids.append(token.id))
      return Error(ErrorCode::OutOfMemory, "no memory for the samples");
  }
  for (uint64_t i = 0; i < count; ++i)
    begins[size_t(i) + 1] += begins[size_t(i)];
  for (const Collected::Token &token : collected.tokens.span())
    ids[size_t(begins[size_t(token.sample)]++)] = token.id; // begins[i] is now where sample i ends.

  const Tokenizer *tokenizer = session.model().tokenizer();
  // The texts go on where the prompt ends.
  std::optional<Decoder> behindPrompt;
  if (tokenizer) {
    TextSink nowhere{[](void *, std::string_view) {}, nullptr};
    behindPrompt.emplace(*tokenizer);
    for (int32_t id : prompt)
      MLC_TRY(behindPrompt->feed(uint32_t(id), nowhere));
  }
  JsonWriter json;
  if (arguments.json) {
    json.open(nullptr, '{');
    json.count("prompt_tokens", prompt.size());
    json.open("samples", '[');
  }
  for (size_t i = 0; i < count; ++i) {
    auto sample = ids.span().subspan(i ? size_t(begins[i - 1]) : 0, size_t(begins[i] - (i ? begins[i - 1] : 0)));
    Buffer<char> text;
    bool lost = false;
    if (tokenizer) {
      std::pair<Buffer<char> *, bool *> into(&text, &lost);
      TextSink sink{[](void *context, std::string_view piece) {
                      auto &[text, lost] = *static_cast<std::pair<Buffer<char> *, bool *> *>(context);
                      *lost |= !text->append(piece.data(), piece.size());
                    },
                    &into};
      Decoder decoder = *behindPrompt;
      for (int32_t id : sample)
        MLC_TRY(decoder.feed(uint32_t(id), sink));
      decoder.flush(sink);
    }
    if (lost)
      return Error(ErrorCode::OutOfMemory, "no memory for the generated text");
    if (!arguments.json) {
      printf("--- seed %llu\n", (unsigned long long)(arguments.sampling.seed + i));
      fwrite(text.span().data(), 1, text.size(), stdout);
      for (size_t k = 0; !tokenizer && k < sample.size(); ++k)
        printf(k ? ",%d" : "%d", sample[k]);
      putchar('\n');
      continue;
    }
    json.open(nullptr, '{');
    json.count("seed", arguments.sampling.seed + i);
    if (tokenizer)
      json.text("text", text.view());
    else
      json.null("text");
    json.open("tokens", '[');
    for (int32_t id : sample)
      json.count(nullptr, uint64_t(id));
    json.close(']');
    bool ended = i < collected.finished.size();
    json.text("finish_reason", finishReasonName(ended ? collected.finished[i] : FinishReason::cancelled));
    json.close('}');
  }
  if (!arguments.json)
    return flushOutput();
  json.close(']');
  json.open("timings", '{');
  json.number("load_ms", loadMs);
  json.number("total_ms", ms);
  json.number("tokens_per_s", ms > 0 ? double(ids.size()) * 1e3 / ms : 0);
  json.close('}');
  if (draft.active())
    printSpeculation(json, *draft.stats());
  json.close('}');
  return json.finish();
}

} // namespace mlc::cli
