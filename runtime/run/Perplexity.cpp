//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Perplexity.h"
#include "runtime/run/Commands.h"
#include "runtime/run/Common.h"

#include <unistd.h>

namespace mlc::cli {

namespace {

struct PerplexityArguments {
  SessionArguments session;
  const char *file = nullptr, *against = nullptr;
  uint64_t stride = 0;
  bool json = false;
};

void showProgress(void *, uint64_t done, uint64_t total) {
  fprintf(stderr, "\r%3llu%% of %llu tokens%s", (unsigned long long)(done * 100 / total), (unsigned long long)total,
          done == total ? "\n" : "");
}

Status print(const PerplexityResult &result, bool against, bool asJson) {
  if (!asJson) {
    printf("tokens      %llu\nnll         %.6f\nperplexity  %.6f\n", (unsigned long long)result.tokens, result.nll,
           result.perplexity);
    if (against)
      printf("mean_kl     %.8f\np99_kl      %.8f\ntop1_agreement %.6f\n", result.meanKl, result.p99Kl,
             result.topAgreement);
    return flushOutput();
  }
  JsonWriter json;
  json.open(nullptr, '{');
  json.count("tokens", result.tokens);
  json.number("nll", result.nll);
  json.number("perplexity", result.perplexity);
  if (against) {
    json.number("mean_kl", result.meanKl);
    json.number("p99_kl", result.p99Kl);
    json.number("top1_agreement", result.topAgreement);
  }
  json.close('}');
  return json.finish();
}

Status measure(const char *path, const PerplexityArguments &arguments) {
  MLC_ASSIGN(Owned<Model> model, openModel(path, arguments.session));
  MLC_TRY(checkDevice(*model, arguments.session.device));
  Buffer<char> text;
  MLC_TRY(readAll(arguments.file, kMaxTextBytes, text));
  Buffer<int32_t> ids;
  MLC_TRY(encodeText(model->name(), model->tokenizer(), text.view(), /*special=*/true, arguments.file, ids));
  PerplexityOptions options;
  options.context = arguments.session.context;
  options.stride = arguments.stride;
  if (isatty(STDERR_FILENO))
    options.progress = showProgress;
  MLC_ASSIGN(Owned<Session> session, openSession(*model, arguments.session));
  Owned<Model> referenceModel;
  Owned<Session> reference;
  if (arguments.against) {
    MLC_ASSIGN(referenceModel, openModel(arguments.against, arguments.session));
    SessionArguments bounds = arguments.session;
    bounds.context = session->context();
    MLC_ASSIGN(reference, openSession(*referenceModel, bounds));
  }
  auto result = perplexity(*session, reference.get(), ids.span(), options);
  if (!result)
    return inFile(path, result.error());
  return print(*result, reference != nullptr, arguments.json);
}

} // namespace

int perplexityCommand(int argc, char **argv) {
  PerplexityArguments arguments;
  const Option options[] = {
      {"file", "F", "the text", OptionKind::text, &arguments.file},
      {"context", "N", "tokens of a window (default: the artifact's context)", OptionKind::count,
       &arguments.session.context, 2},
      {"stride", "N", "tokens from window to window (default: --context)", OptionKind::count, &arguments.stride, 1},
      {"against", "REF.mlca", "also the divergence from this artifact", OptionKind::text, &arguments.against},
      MLC_THREADS_OPTION(arguments.session),
      MLC_DEVICE_OPTION(arguments.session),
      MLC_NO_CODE_OPTION(arguments.session),
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &arguments.json},
  };
  Command command{
      argv[0], "OUT.mlca",
      "Mean negative log-likelihood (nats a token) and perplexity of a text. Each token is scored once, in the\n"
      "first window that holds it.",
      options, "model.mlca --file text.txt --context 512 --stride 256"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (!arguments.file) {
    printError("%s: give --file F", argv[0]);
    return 2;
  }
  if (Status done = measure(file, arguments); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
