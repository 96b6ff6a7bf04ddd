//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/serve/ServeOptions.h"
#include "runtime/core/Cpus.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace mlc::server {

using cli::OptionKind;
using cli::Parsed;

static constexpr size_t kMaxModels = 64;

Result<ModelSource> readModelSource(std::string_view argument) {
  ModelSource source;
  size_t equals = argument.find('='), slash = argument.find('/');
  bool named = equals != argument.npos && equals < slash;
  source.file = std::string(named ? argument.substr(equals + 1) : argument);
  if (named) {
    source.name = std::string(argument.substr(0, equals));
  } else {
    source.name = source.file.substr(source.file.rfind('/') + 1);
    if (source.name.ends_with(".mlca"))
      source.name.resize(source.name.size() - strlen(".mlca"));
  }
  bool fine = !source.name.empty() && !source.file.empty() &&
              std::all_of(source.name.begin(), source.name.end(),
                          [](unsigned char c) { return isalnum(c) || strchr("._:/@+-", c); });
  if (!fine)
    return Error(ErrorCode::InvalidArgument,
                 "%.*s: no name for a model; write NAME=FILE with a name of letters, digits and ._:/@+-",
                 int(std::min<size_t>(argument.size(), 200)), argument.data());
  return source;
}

/// "0,1": GPUs, no more than models; "0+1": those of one model.
static Status readDevices(std::string_view list, ServeOptions &out) {
  for (size_t at = 0; at <= list.size();) {
    size_t end = std::min(list.find(',', at), list.size());
    auto gpus = cli::parseDevices(list.substr(at, end - at));
    if (!gpus || out.devices.size() == out.models.size())
      return Error(ErrorCode::InvalidArgument,
                   "--device %.*s: give numbers of GPUs with commas, no more than models; 0+1 of one that two run",
                   int(std::min<size_t>(list.size(), 200)), list.data());
    out.devices.push_back(*gpus);
    at = end + 1;
  }
  return {};
}

Parsed readServeOptions(int argc, char **argv, ServeOptions &out) {
  constexpr Parsed usage{true, 2};
  const char *host = "127.0.0.1", *keyFile = nullptr, *log = "text", *origin = nullptr, *devices = nullptr;
  uint64_t port = 8080, threads = 0, sequences = 0, context = 0, kvMemory = 0, maxMemory = 0, queue = 256, cache = 64;
  uint64_t deadline = 600, connections = 4096, maxBody = 8 << 20, idle = 75;
  bool lenient = false, noCode = false;
  cli::DraftArguments drafting;
  const cli::Option table[] = {
      {"host", "ADDRESS", "address to listen at (default 127.0.0.1)", OptionKind::text, &host},
      {"port", "N", "port to listen at; 0: any free one (default 8080)", OptionKind::count, &port, 0, 65535},
      {"sequences", "N", "answers in progress at a time; lowers the artifact's", OptionKind::count, &sequences, 1},
      {"context", "N", "most positions of a sequence; lowers the artifact's", OptionKind::count, &context, 1},
      {"threads", "N", "threads (default: the cores that this process may use)", OptionKind::count, &threads, 1, 1024},
      {"api-key-file", "FILE", "keys, one a line, of which every request must carry one", OptionKind::text, &keyFile},
      {"queue", "N", "requests that may wait; more get 429 (default 256)", OptionKind::count, &queue, 0, 65536},
      {"deadline", "SECONDS", "of a request, waiting included; 0: none (default 600)", OptionKind::count, &deadline, 0,
       86400},
      {"cache-entries", "N", "prefixes kept for later requests; 0: none (default 64)", OptionKind::count, &cache, 0,
       65536},
      {"kv-memory", "BYTES", "memory of the KV pages; suffix K, M, G", OptionKind::bytes, &kvMemory, 1},
      {"max-memory", "BYTES", "refuse a plan of weights, KV, arena and scratch above it; suffix K, M, G",
       OptionKind::bytes, &maxMemory, 1},
      {"lenient", nullptr, "ignore unknown fields of requests", OptionKind::flag, &lenient},
      {"log", "FORM", "text, json or off (default text)", OptionKind::text, &log},
      {"allow-origin", "ORIGIN", "lets web pages of this origin use the server", OptionKind::text, &origin},
      {"connections", "N", "most open connections (default 4096)", OptionKind::count, &connections, 1, 65536},
      {"idle-timeout", "SECONDS", "of a connection without a request (default 75)", OptionKind::count, &idle, 1, 86400},
      {"max-body", "BYTES", "of a request; suffix K, M, G (default 8M)", OptionKind::bytes, &maxBody, 1024, 1 << 30},
      {"no-code", nullptr, "refuse an artifact that carries code", OptionKind::flag, &noCode},
      {"device", "N,...",
       "of artifacts for GPUs: the GPU of each model, from 0, or 0+1 where several run one; the last goes on (default "
       "0)",
       OptionKind::text, &devices},
      MLC_DRAFT_OPTIONS(drafting),
  };
  cli::Command command{argv[0], "[NAME=]MODEL.mlca ...",
                       "Serves models to OpenAI's clients: /v1/completions, /v1/chat/completions, /v1/embeddings,\n"
                       "/v1/models, /tokenize, /detokenize, /health, /metrics and a page to try them at /. SIGTERM\n"
                       "finishes what runs and ends; a second one ends at once. docs/serving.md says more.",
                       table, "qwen.mlca --port 8080 --sequences 8 --api-key-file keys.txt"};
  const char *files[kMaxModels];
  size_t count = 0;
  if (Parsed parsed = cli::parseOptions(command, argc, argv, files, count); parsed.leave)
    return parsed;
  if (Parsed checked = drafting.check(); checked.leave)
    return checked;
  for (size_t i = 0; i < count; ++i) {
    auto source = readModelSource(files[i]);
    if (!source) {
      cli::printError("%s", source.error().message());
      return usage;
    }
    for (const ModelSource &other : out.models)
      if (other.name == source->name) {
        cli::printError("%s and %s are both named %s; write NAME=FILE", other.file.c_str(), source->file.c_str(),
                        source->name.c_str());
        return usage;
      }
    out.models.push_back(std::move(*source));
  }
  if (devices)
    if (Status read = readDevices(devices, out); !read) {
      cli::printError("%s", read.error().message());
      return usage;
    }
  static constexpr std::pair<const char *, LogForm> forms[] = {
      {"text", LogForm::text}, {"json", LogForm::json}, {"off", LogForm::off}};
  auto form = std::find_if(std::begin(forms), std::end(forms), [&](auto &entry) { return !strcmp(entry.first, log); });
  if (form == std::end(forms)) {
    cli::printError("--log %s: choose text, json or off", log);
    return usage;
  }
  out.log = form->second;
  if (keyFile) {
    auto keys = ApiKeys::read(keyFile);
    if (!keys)
      return {true, cli::fail(keys.error())};
    out.service.keys = std::move(*keys);
  }
  out.service.lenient = lenient;
  out.service.allowOrigin = origin ? origin : "";
  out.http.host = host;
  out.http.port = uint16_t(port);
  out.http.limits.connections = size_t(connections);
  out.http.limits.bodyBytes = size_t(maxBody);
  out.http.limits.allBodiesBytes = std::max<size_t>(out.http.limits.allBodiesBytes, 4 * size_t(maxBody));
  out.http.limits.idle = std::chrono::seconds(idle);
  out.threads = threads ? unsigned(threads) : usableCores();
  out.model.allowCode = !noCode;
  out.model.threads = out.threads;
  SessionOptions &session = out.engine.session;
  session.sequences = sequences;
  session.context = context;
  session.kvMemory = kvMemory;
  session.maxMemory = maxMemory;
  session.threads = out.threads;
  out.draft = std::string(drafting.file());
  out.engine.draft.ngram = drafting.ngram();
  out.engine.draft.tokens = drafting.fixed;
  out.engine.queue = uint32_t(queue);
  out.engine.cacheEntries = uint32_t(cache);
  out.engine.deadlineMs = double(deadline) * 1e3;
  return {};
}

} // namespace mlc::server
