//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Generation.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

namespace mlc::cli {

Parsed GenerationArguments::check(const char *command, bool chat) {
  int prompts = !!prompt + !!promptFile + !!tokens;
  if (prompts > 1) {
    printError("--prompt, --prompt-file and --tokens: give one of them");
    return {true, 2};
  }
  sampling.topK = uint32_t(topK);
  if (Status checked = Sampler::checkOptions(sampling); !checked) {
    printError("--%s", checked.error().message());
    return {true, 2};
  }
  if (!prompts && !chat && isatty(STDIN_FILENO)) {
    printError("%s: give --prompt, --prompt-file, --tokens or text on standard input; see %s --help", command, command);
    return {true, 2};
  }
  return {};
}

GenerationOutput::GenerationOutput(const Tokenizer *tokenizer, const GenerationArguments &arguments)
    : arguments(arguments) {
  if (tokenizer)
    decoder.emplace(*tokenizer);
}

Status GenerationOutput::open(std::span<const int32_t> prompt, size_t vocab) {
  TextSink nowhere{[](void *, std::string_view) {}, nullptr};
  for (int32_t id : prompt)
    if (decoder)
      MLC_TRY(decoder->feed(uint32_t(id), nowhere));
  return arguments.logits ? npy.create(arguments.logits, vocab) : Status();
}

bool GenerationOutput::token(int32_t id) {
  if (!ids.append(id))
    return false;
  if (decoder) {
    Status fed = decoder->feed(uint32_t(id), sink());
    lost |= !fed;
  } else if (!arguments.json) {
    printf(ids.size() > 1 ? ",%d" : "%d", id);
  }
  // Each token is seen as it comes; a reader that is gone ends the run.
  if (!arguments.json && fflush(stdout) && !writeError)
    writeError = errno;
  return !lost && !writeError;
}

Status GenerationOutput::finish(const GenerateResult &result, double loadMs, const SpeculationStats *speculation) {
  if (decoder)
    decoder->flush(sink());
  if (!arguments.json && ids.size() && (!decoder || isatty(STDOUT_FILENO)))
    putchar('\n');
  if (writeError)
    return Error(ErrorCode::Io, "standard output: %s", strerror(writeError));
  MLC_TRY(flushOutput());
  if (lost)
    return Error(ErrorCode::OutOfMemory, "no memory for the generated text");
  if (arguments.logits)
    MLC_TRY(npy.commit());
  return arguments.json ? printJson(result, loadMs, speculation) : Status();
}

TextSink GenerationOutput::sink() {
  return {[](void *context, std::string_view text) {
            GenerationOutput &self = *static_cast<GenerationOutput *>(context);
            if (self.arguments.json)
              self.lost |= !self.kept.append(text.data(), text.size());
            else if (fwrite(text.data(), 1, text.size(), stdout) != text.size() && !self.writeError)
              self.writeError = errno;
          },
          this};
}

Status GenerationOutput::printJson(const GenerateResult &result, double loadMs,
                                   const SpeculationStats *speculation) const {
  JsonWriter json;
  json.open(nullptr, '{');
  if (decoder)
    json.text("text", kept.view());
  else
    json.null("text");
  json.count("prompt_tokens", result.promptTokens);
  json.open("tokens", '[');
  for (int32_t id : ids.span())
    json.count(nullptr, uint64_t(id));
  json.close(']');
  json.text("finish_reason", finishReasonName(result.finish));
  json.open("timings", '{');
  json.number("load_ms", loadMs);
  json.number("prompt_ms", result.promptMs);
  json.number("first_token_ms", result.firstTokenMs);
  json.number("generate_ms", result.generateMs);
  json.number("prompt_tokens_per_s", result.promptTokensPerSecond());
  json.number("tokens_per_s", result.tokensPerSecond());
  json.close('}');
  if (speculation)
    printSpeculation(json, *speculation);
  json.count("peak_rss_bytes", peakResidentBytes());
  json.close('}');
  return json.finish();
}

Status readPrompt(const char *file, const Tokenizer *tokenizer, const GenerationArguments &arguments,
                  Buffer<int32_t> &ids) {
  if (arguments.tokens)
    return parseTokens(arguments.tokens, ids);
  Buffer<char> content;
  std::string_view text;
  const char *source = arguments.promptFile ? arguments.promptFile : arguments.prompt ? "--prompt" : "standard input";
  if (arguments.prompt) {
    text = arguments.prompt;
  } else {
    MLC_TRY(readAll(arguments.promptFile, kMaxTextBytes, content));
    text = content.view();
    // Editors and echo end a file with one.
    if (!text.empty() && text.back() == '\n')
      text.remove_suffix(1);
  }
  if (text.empty())
    return Error(ErrorCode::InvalidArgument, "%s: the prompt is empty; give some text, or ids with --tokens", source);
  return encodeText(file, tokenizer, text, /*special=*/true, source, ids);
}

} // namespace mlc::cli
