//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Output.h"
#include "runtime/server/serve/Serve.h"
#include "runtime/server/serve/ServeOptions.h"

#include <csignal>
#include <memory>
#include <vector>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <sys/resource.h>

namespace mlc::server {

/// Connections need descriptors, of which shells give few.
static void raiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

/// What requests leave behind must not add up: few arenas, and large blocks go back to the system.
static void settleAllocator() {
#ifdef __GLIBC__
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  // A thread keeps seven freed blocks of each small size: those of the HTTP thread are there from the start.
  std::vector<std::unique_ptr<char[]>> blocks;
  for (size_t size = 16; size <= 1024; size += 16)
    for (int i = 0; i < 7; ++i)
      blocks.push_back(std::make_unique<char[]>(size - 8));
#endif
}

/// What was freed between blocks that are in use goes back, too, when nothing is in progress.
static void returnFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

/// What is served; goes from the end.
struct Loaded {
  Owned<Model> draft; // Of all models.
  std::vector<std::shared_ptr<ServedModel>> models;
};

static Status loadModels(const ServeOptions &options, WorkerPool *pool, const Log &log, Loaded &loaded) {
  if (!options.draft.empty()) {
    MLC_TRY(cli::refuseCheckpoint(options.draft.c_str()));
    MLC_ASSIGN(Model * draft, Model::open(options.draft.c_str(), options.modelOptions(0)));
    loaded.draft.reset(draft);
  }
  for (size_t i = 0; i < options.models.size(); ++i) {
    const ModelSource &source = options.models[i];
    MLC_TRY(cli::refuseCheckpoint(source.file.c_str()));
    EngineOptions engine = options.engine;
    // Several models take turns on one pool.
    engine.session.pool = pool;
    engine.draft.model = loaded.draft.get();
    // What the plan promises is there from the start, and requests add nothing to it.
    engine.session.allocator = &residentAllocator();
    auto start = Clock::now();
    const ModelOptions opened = options.modelOptions(i);
    MLC_ASSIGN(std::shared_ptr<ServedModel> model, ServedModel::load(source, engine, opened));
    MLC_TRY(cli::checkDevice(model->model(), opened.gpus));
    if (loaded.draft)
      cli::warnOfLargeDraft(model->model(), *loaded.draft);
    log.event("model", {{"name", source.name},
                        {"file", source.file},
                        {"ms", std::chrono::duration<double, std::milli>(Clock::now() - start).count()},
                        {"context", int64_t(model->engine().context())},
                        {"slots", int64_t(model->engine().stats().sequences)}});
    loaded.models.push_back(std::move(model));
  }
  return {};
}

static int serve(const ServeOptions &options) {
  Log log(options.log);
  Owned<WorkerPool> pool;
  if (options.models.size() > 1) {
    auto made = WorkerPool::create(options.threads);
    if (!made)
      return cli::fail(made.error());
    pool.reset(*made);
  }
  Loaded loaded; // Outlives what serves it.
  Service service(options.service);
  auto opened = HttpServer::open(options.http, service, log);
  if (!opened)
    return cli::fail(opened.error());
  std::unique_ptr<HttpServer> server = std::move(*opened);
  service.countWith([&] { return server->counts(); });
  server->onTerminate([&](int count) {
    log.event("terminating", {{"requests", int64_t(server->counts().requests)}});
    service.drain();
    count == 1 ? server->drain() : server->stop();
  });
  server->onIdle(returnFreedMemory);
  bool bracketed = options.http.host.find(':') != std::string::npos;
  std::string url = "http://" + (bracketed ? "[" + options.http.host + "]" : options.http.host) + ":" +
                    std::to_string(server->port());
  log.event("listening", {{"url", url}, {"port", int64_t(server->port())}});

  std::optional<Error> failure;
  std::thread loader([&] {
    if (Status made = loadModels(options, pool.get(), log, loaded); !made) {
      failure.emplace(made.error());
      server->stop();
      return;
    }
    service.serve(loaded.models);
    log.event("ready", {{"models", int64_t(loaded.models.size())}});
  });
  server->run();
  loader.join();
  log.event("stopped", {});
  // Before the server goes, which the exchanges still use.
  loaded.models.clear();
  service.stop();
  return failure ? cli::fail(*failure) : 0;
}

int serveCommand(int argc, char **argv) {
  ServeOptions options;
  if (cli::Parsed parsed = readServeOptions(argc, argv, options); parsed.leave)
    return parsed.status;
  signal(SIGPIPE, SIG_IGN);
  raiseDescriptorLimit();
  settleAllocator();
  try {
    return serve(options);
  } catch (const std::exception &error) {
    cli::printError("%s", error.what());
    return 1;
  }
}

} // namespace mlc::server
