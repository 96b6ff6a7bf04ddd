//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Generate.h"
#include "runtime/run/Commands.h"
#include "runtime/run/Common.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

namespace mlc::cli {

namespace {

struct RunArguments {
  SessionArguments session;
  const char *prompt = nullptr, *promptFile = nullptr, *tokens = nullptr, *logits = nullptr;
  uint64_t maxTokens = 256, topK = 0;
  bool ignoreEnd = false, json = false;
  SamplingOptions sampling;
};

// What a signal handler can reach: the session whose run it ends.
std::atomic<Session *> interruptible{nullptr};

void onInterrupt(int) {
  if (Session *session = interruptible.load(std::memory_order_relaxed))
    session->requestCancel();
}

/// Ctrl-C and SIGTERM end the generation cleanly as long as this lives; a second one ends the process.
class InterruptScope {
public:
  explicit InterruptScope(Session &session) {
    interruptible.store(&session, std::memory_order_relaxed);
    struct sigaction action = {};
    action.sa_handler = onInterrupt;
    action.sa_flags = int(SA_RESETHAND | SA_RESTART);
    sigaction(SIGINT, &action, &previousInterrupt);
    sigaction(SIGTERM, &action, &previousTerminate);
  }
  ~InterruptScope() {
    sigaction(SIGINT, &previousInterrupt, nullptr);
    sigaction(SIGTERM, &previousTerminate, nullptr);
    interruptible.store(nullptr, std::memory_order_relaxed);
  }

private:
  struct sigaction previousInterrupt = {}, previousTerminate = {};
};

/// Where the tokens go: text or ids on stdout, or both kept for --json; logits into the file.
class RunOutput {
public:
  RunOutput(const Model &model, const RunArguments &arguments) : arguments(arguments) {
    if (model.tokenizer())
      decoder.emplace(*model.tokenizer());
  }

  /// The prompt, so that the text goes on where it ends: a leading space stays, half a character is completed.
  Status prompt(std::span<const int32_t> tokens) {
    TextSink nowhere{[](void *, std::string_view) {}, nullptr};
    for (int32_t id : tokens)
      if (decoder)
        MLC_TRY(decoder->feed(uint32_t(id), nowhere));
    return {};
  }

  Status open(size_t vocab) { return arguments.logits ? npy.create(arguments.logits, vocab) : Status(); }

  bool token(int32_t id) {
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
  Status logits(std::span<const float> row) { return npy.row(row); }

  /// The end of the text, and whether all of it was taken.
  Status finish() {
    if (decoder)
      decoder->flush(sink());
    if (!arguments.json && ids.size() && (!decoder || isatty(STDOUT_FILENO)))
      putchar('\n');
    if (writeError)
      return Error(ErrorCode::Io, "standard output: %s", strerror(writeError));
    MLC_TRY(flushOutput());
    if (lost)
      return Error(ErrorCode::OutOfMemory, "no memory for the generated text");
    return arguments.logits ? npy.commit() : Status();
  }

  std::span<const int32_t> tokens() const { return ids.span(); }
  std::string_view text() const { return kept.view(); }
  bool hasText() const { return decoder.has_value(); }

private:
  TextSink sink() {
    return {[](void *context, std::string_view text) {
              RunOutput &self = *static_cast<RunOutput *>(context);
              if (self.arguments.json)
                self.lost |= !self.kept.append(text.data(), text.size());
              else if (fwrite(text.data(), 1, text.size(), stdout) != text.size() && !self.writeError)
                self.writeError = errno;
            },
            this};
  }

  const RunArguments &arguments;
  std::optional<Decoder> decoder;
  Buffer<int32_t> ids;
  Buffer<char> kept;
  NpyWriter npy;
  int writeError = 0; // errno of the first write to stdout that failed.
  bool lost = false;  // No memory for something that --json would print.
};

/// The prompt's ids from whichever option gives them, else from standard input.
Status readPrompt(const Model &model, const RunArguments &arguments, Buffer<int32_t> &ids) {
  if (arguments.tokens)
    return parseTokens(arguments.tokens, ids);
  Buffer<char> file;
  std::string_view text;
  const char *source = arguments.promptFile ? arguments.promptFile : arguments.prompt ? "--prompt" : "standard input";
  if (arguments.prompt) {
    text = arguments.prompt;
  } else {
    MLC_TRY(readAll(arguments.promptFile, kMaxTextBytes, file));
    text = file.view();
    // Editors and echo end a file with one.
    if (!text.empty() && text.back() == '\n')
      text.remove_suffix(1);
  }
  if (text.empty())
    return Error(ErrorCode::InvalidArgument, "%s: the prompt is empty; give some text, or ids with --tokens", source);
  return encodeText(model, text, /*special=*/true, source, ids);
}

Status printJson(const GenerateResult &result, const RunOutput &output, double loadMs) {
  JsonWriter json;
  json.open(nullptr, '{');
  if (output.hasText())
    json.text("text", output.text());
  else
    json.null("text");
  json.count("prompt_tokens", result.promptTokens);
  json.open("tokens", '[');
  for (int32_t id : output.tokens())
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
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  json.count("peak_rss_bytes", uint64_t(usage.ru_maxrss) * 1024);
  json.close('}');
  return json.finish();
}

Status run(const char *file, const RunArguments &arguments) {
  double start = monotonicMs();
  MLC_ASSIGN(Owned<Model> model, openModel(file, arguments.session));
  Buffer<int32_t> prompt;
  MLC_TRY(readPrompt(*model, arguments, prompt));
  MLC_ASSIGN(Owned<Session> session, openSession(*model, arguments.session));
  double loadMs = monotonicMs() - start;

  RunOutput output(*model, arguments);
  GenerateOptions options;
  options.maxTokens = arguments.maxTokens;
  options.ignoreEnd = arguments.ignoreEnd;
  options.sampling = arguments.sampling;
  options.sampling.topK = uint32_t(arguments.topK);
  options.context = &output;
  options.onToken = [](void *context, int32_t id) { return static_cast<RunOutput *>(context)->token(id); };
  if (arguments.logits)
    options.onLogits = [](void *context, std::span<const float> row) {
      return static_cast<RunOutput *>(context)->logits(row);
    };
  auto generated = [&]() -> Result<GenerateResult> {
    MLC_ASSIGN(SequenceId sequence, session->createSequence());
    MLC_TRY(checkPrompt(*session, sequence, prompt.span()));
    MLC_TRY(output.prompt(prompt.span()));
    MLC_TRY(output.open(model->bounds().vocab));
    InterruptScope scope(*session);
    return generate(*session, sequence, prompt.span(), options);
  }();
  // Errors of the logits' file name it; all others are about the model.
  if (!generated)
    return generated.error().code() == ErrorCode::Io ? generated.error() : inFile(file, generated.error());
  MLC_TRY(output.finish());
  return arguments.json ? printJson(*generated, output, loadMs) : Status();
}

} // namespace

int runCommand(int argc, char **argv) {
  RunArguments arguments;
  bool mode = false; // mlcRunMain has taken these options; the rows are for --help.
  const Option options[] = {
      {"prompt", "TEXT", "the prompt", OptionKind::text, &arguments.prompt},
      {"prompt-file", "F", "the prompt is the text of F (less one final newline)", OptionKind::text,
       &arguments.promptFile},
      {"tokens", "1,2,3", "the prompt as token ids, taken as they are", OptionKind::text, &arguments.tokens},
      {"max-tokens", "N", "most new tokens (default 256; 0: until the context is full)", OptionKind::count,
       &arguments.maxTokens},
      {"temperature", "T", "0, the default, is greedy", OptionKind::real, &arguments.sampling.temperature},
      {"top-k", "K", "sample from the K likeliest tokens", OptionKind::count, &arguments.topK, 0, 1 << 24},
      {"top-p", "P", "sample from the fewest tokens that reach P together", OptionKind::real, &arguments.sampling.topP},
      {"min-p", "P", "drop tokens less likely than P times the likeliest", OptionKind::real, &arguments.sampling.minP},
      {"repeat-penalty", "R", "penalty of tokens that were there before (1: none)", OptionKind::real,
       &arguments.sampling.repetitionPenalty},
      {"seed", "N", "of the sampling (default 0)", OptionKind::count, &arguments.sampling.seed},
      MLC_THREADS_OPTION(arguments.session),
      {"logits", "F.npy", "write the logits of every position, [n, vocab] f32", OptionKind::text, &arguments.logits},
      {"ignore-eos", nullptr, "go on past end tokens", OptionKind::flag, &arguments.ignoreEnd},
      MLC_CONTEXT_OPTION(arguments.session),
      {"sequences", "N", "sequences the memory is for (default 1)", OptionKind::count, &arguments.session.sequences, 1},
      MLC_KV_MEMORY_OPTION(arguments.session),
      MLC_NO_CODE_OPTION(arguments.session),
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &arguments.json},
      {"input", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"output-dir", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"state", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"draft", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"tap", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"patch", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"adapter", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"trust", nullptr, nullptr, OptionKind::unavailable, nullptr},
      {"bench", nullptr, "measure speed instead; see --bench --help", OptionKind::flag, &mode},
      {"verify", nullptr, "check the artifact instead", OptionKind::flag, &mode},
      {"inspect", nullptr, "show what is inside instead", OptionKind::flag, &mode},
  };
  constexpr size_t modes = 3;
  bool alone = !strcmp(argv[0], "mlc-run");
  Command command{argv[0], "OUT.mlca",
                  "Runs a language model. The prompt is --prompt, --prompt-file, --tokens or standard input; the text goes\n"
                  "to standard output as it is produced (token ids when the artifact has no tokenizer).",
                  std::span(options).first(std::size(options) - (alone ? 0 : modes)),
                  "model.mlca --prompt \"Once upon a time\" --max-tokens 100"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  int prompts = !!arguments.prompt + !!arguments.promptFile + !!arguments.tokens;
  if (prompts > 1) {
    printError("--prompt, --prompt-file and --tokens: give one of them");
    return 2;
  }
  if (Status checked = Sampler::checkOptions(arguments.sampling); !checked) {
    printError("--%s", checked.error().message());
    return 2;
  }
  if (!prompts && isatty(STDIN_FILENO)) {
    printError("%s: give --prompt, --prompt-file, --tokens or text on standard input; see %s --help", argv[0], argv[0]);
    return 2;
  }
  // A reader that has gone is an error of writing, so that nothing half-made stays behind.
  signal(SIGPIPE, SIG_IGN);
  if (Status done = run(file, arguments); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
