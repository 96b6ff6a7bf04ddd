//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Chat.h"
#include "runtime/run/Commands.h"
#include "runtime/run/Generation.h"
#include "runtime/run/RouterOutput.h"
#include "runtime/run/RunNetwork.h"
#include "runtime/run/SamplesOutput.h"

#include <algorithm>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

namespace mlc::cli {

namespace {

struct RunArguments {
  SessionArguments session;
  GenerationArguments generation;
  RouterArguments router;
  ChatArguments chat;
  DraftArguments draft;
  NetworkArguments network;
  uint64_t samples = 0;
};

// What a signal handler can reach: the session whose run it ends.
std::atomic<Session *> interruptible{nullptr};

void cancelRun(int) {
  if (Session *session = interruptible.load(std::memory_order_relaxed))
    session->requestCancel();
}

/// Ctrl-C and SIGTERM end the generation cleanly as long as this lives; a second one ends the process.
class InterruptScope {
public:
  explicit InterruptScope(Session &session) {
    interruptible.store(&session, std::memory_order_relaxed);
    struct sigaction action = {};
    action.sa_handler = cancelRun;
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

Status run(const char *file, const RunArguments &arguments, std::span<const Option> table, uint64_t given) {
  double start = monotonicMs();
  MLC_ASSIGN(Owned<Model> model, openModel(file, arguments.session, /*networks=*/true));
  MLC_TRY(checkDevice(*model, arguments.session.device));
  MLC_TRY(checkOptions(*model, table, given, {"input", "output-dir"}, {"threads", "json", "max-memory", "no-code"}));
  if (model->isNetwork())
    return runNetwork(*model, arguments.session, arguments.network, arguments.generation.json, start);
  Buffer<int32_t> prompt;
  MLC_TRY(readPrompt(model->name(), model->tokenizer(), arguments.generation, prompt));
  SessionArguments bounds = arguments.session;
  if (!bounds.sequences)
    bounds.sequences = std::clamp<uint64_t>(arguments.samples, 1, model->bounds().sequences);
  MLC_ASSIGN(Owned<Session> session, openSession(*model, bounds));
  DraftSession draft;
  MLC_TRY(draft.open(*session, arguments.session, arguments.draft));
  RouterOutput routers;
  MLC_TRY(routers.open(*session, arguments.router));
  double loadMs = monotonicMs() - start;

  if (arguments.samples) {
    {
      InterruptScope scope(*session);
      Status made = runSamples(*session, draft, prompt.span(), arguments.samples, arguments.generation, loadMs);
      if (!made)
        return made.error().code() == ErrorCode::Io ? made : Status(inFile(file, made.error()));
    }
    (void)session->observeKernels({});
    return routers.finish();
  }
  GenerationOutput output(model->tokenizer(), arguments.generation);
  GenerateOptions options;
  options.maxTokens = arguments.generation.maxTokens;
  options.ignoreEnd = arguments.generation.ignoreEnd;
  options.sampling = arguments.generation.sampling;
  options.context = &output;
  options.onToken = [](void *context, int32_t id) { return static_cast<GenerationOutput *>(context)->token(id); };
  if (arguments.generation.logits)
    options.onLogits = [](void *context, std::span<const float> row) {
      return static_cast<GenerationOutput *>(context)->logits(row);
    };
  auto generated = [&]() -> Result<GenerateResult> {
    MLC_ASSIGN(SequenceId sequence, session->createSequence());
    MLC_TRY(checkPrompt(*session, sequence, prompt.span()));
    MLC_TRY(output.open(prompt.span(), size_t(model->bounds().vocab)));
    InterruptScope scope(*session);
    return draft.generate(*session, sequence, prompt.span(), options);
  }();
  // Errors of the logits' file name it; all others are about the model.
  if (!generated)
    return generated.error().code() == ErrorCode::Io ? generated.error() : inFile(file, generated.error());
  (void)session->observeKernels({});
  MLC_TRY(routers.finish());
  MLC_TRY(output.finish(*generated, loadMs, draft.stats()));
  // On a terminal, for whoever tries drafts out.
  if (const SpeculationStats *stats = draft.stats(); stats && isatty(STDERR_FILENO) && !arguments.generation.json)
    fprintf(stderr, "%.1f tokens/s; %llu drafts of %.1f tokens, %.1f of them stayed; %llu plain steps\n",
            generated->tokensPerSecond(), (unsigned long long)stats->rounds,
            stats->rounds ? double(stats->drafted) / double(stats->rounds) : 0.0, stats->meanAccepted(),
            (unsigned long long)stats->lengths[0]);
  return {};
}

} // namespace

int runCommand(int argc, char **argv) {
  RunArguments arguments;
  uint64_t given = 0;
  bool mode = false; // mlcRunMain has taken these options; the rows are for --help.
  const Option options[] = {
      MLC_GENERATION_OPTIONS(arguments.generation),
      MLC_CHAT_OPTIONS(arguments.chat),
      MLC_DRAFT_OPTIONS(arguments.draft),
      {"samples", "N", "N texts of the prompt, by the seeds from --seed on", OptionKind::count, &arguments.samples, 1,
       1 << 24},
      MLC_THREADS_OPTION(arguments.session),
      MLC_DEVICE_OPTION(arguments.session),
      MLC_CONTEXT_OPTION(arguments.session),
      {"sequences", "N", "sequences the memory is for (default 1)", OptionKind::count, &arguments.session.sequences, 1},
      MLC_KV_MEMORY_OPTION(arguments.session),
      MLC_MAX_MEMORY_OPTION(arguments.session),
      MLC_NO_CODE_OPTION(arguments.session),
      MLC_ROUTER_OPTIONS(arguments.router),
      MLC_NETWORK_INPUT_OPTION(arguments.network),
      {"output-dir", "D", "of a network: write every output to D/NAME.npy", OptionKind::text,
       &arguments.network.outputDir},
      {"state", nullptr, nullptr, OptionKind::unavailable, nullptr},
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
  Command command{
      argv[0],
      "OUT.mlca",
      "Runs a language model or a network. The prompt is --prompt, --prompt-file, --tokens or standard input; the "
      "text\n"
      "goes to standard output as it is produced (token ids when the artifact has no tokenizer). With --chat every "
      "line\n"
      "is a turn of a conversation: Ctrl-C stops an answer, Ctrl-D leaves; --json gives one object a turn. A network\n"
      "takes an --input for each of its inputs; when it has states, files with one axis more in front are a stream, a\n"
      "run a row.",
      std::span(options).first(std::size(options) - (alone ? 0 : modes)),
      "model.mlca --prompt \"Once upon a time\" --max-tokens 100",
      &given};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (Parsed checked = arguments.draft.check(); checked.leave)
    return checked.status;
  if (Parsed checked = arguments.chat.check(arguments.generation); checked.leave)
    return checked.status;
  bool network = arguments.network.inputs.count || arguments.network.outputDir;
  if (Parsed checked = arguments.generation.check(argv[0], arguments.chat.chat || network); checked.leave)
    return checked.status;
  if (arguments.samples && (arguments.chat.chat || arguments.generation.logits)) {
    printError("--samples and --%s: give one of them", arguments.chat.chat ? "chat" : "logits");
    return 2;
  }
  // A reader that has gone is an error of writing, so that nothing half-made stays behind.
  signal(SIGPIPE, SIG_IGN);
  Status done = arguments.chat.chat
                    ? chat(file, arguments.session, arguments.generation, arguments.chat, arguments.draft)
                    : run(file, arguments, command.options, given);
  if (!done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
