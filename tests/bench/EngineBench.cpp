//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The server's engine under load, without HTTP: clients that each send one request after the other. Prints one JSON
// object a load: throughput, times to the first token and between tokens, and how long a cancelled request keeps its
// slot.
//   engine_bench MODEL.mlca [--threads N] [--sequences N] [--step-ms MS] [--requests N] [--clients A,B,...] [--check]
//     --requests N     of each client (default 2)
//     --clients A,B    loads, one after the other (default 1,8,64)
//     --prompt A-B     tokens of a prompt (default 16-128); --answer A-B: of an answer (default 16-64)
//     --steps          no load: the time of steps of 1 to 64 answers, and of pieces of a prompt
//     --check          compares every answer with that of a session alone
//
#include "runtime/llm/Generate.h"
#include "runtime/server/engine/Engine.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>

namespace mlc::server {
namespace {

struct Range {
  unsigned from, to;
  unsigned draw(std::mt19937 &random) const { return from + unsigned(random() % (to - from + 1)); }
};

struct Arguments {
  const char *model = nullptr;
  unsigned threads = 0, requests = 2;
  uint64_t sequences = 0;
  double stepMs = 40;
  std::vector<unsigned> clients = {1, 8, 64};
  Range prompt{16, 128}, answer{16, 64};
  bool check = false, steps = false;
};

[[noreturn]] void usage() {
  fprintf(stderr, "usage: engine_bench MODEL.mlca [--threads N] [--sequences N] [--step-ms MS] [--requests N]\n"
                  "                    [--steps] [--clients A,B,...] [--prompt A-B] [--answer A-B] [--check]\n");
  exit(2);
}

Arguments parse(int argc, char **argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    std::string option = argv[i];
    if (option == "--check") {
      arguments.check = true;
      continue;
    }
    if (option == "--steps") {
      arguments.steps = true;
      continue;
    }
    if (option.rfind("--", 0)) {
      arguments.model = argv[i];
      continue;
    }
    if (++i == argc)
      usage();
    const char *value = argv[i];
    auto range = [&](Range &to) {
      if (sscanf(value, "%u-%u", &to.from, &to.to) != 2 || !to.from || to.to < to.from)
        usage();
    };
    if (option == "--threads")
      arguments.threads = unsigned(atoi(value));
    else if (option == "--sequences")
      arguments.sequences = uint64_t(atoi(value));
    else if (option == "--step-ms")
      arguments.stepMs = atof(value);
    else if (option == "--requests")
      arguments.requests = unsigned(atoi(value));
    else if (option == "--prompt")
      range(arguments.prompt);
    else if (option == "--answer")
      range(arguments.answer);
    else if (option == "--clients") {
      arguments.clients.clear();
      for (const char *at = value; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : nullptr)
        arguments.clients.push_back(unsigned(atoi(at)));
    } else
      usage();
  }
  if (!arguments.model)
    usage();
  return arguments;
}

template <typename T> T must(Result<T> result) {
  if (!result) {
    fprintf(stderr, "mlc: error: %s\n", result.error().message());
    exit(1);
  }
  return std::move(*result);
}

/// A client's request: when its tokens came.
class Stream : public Sink {
public:
  bool onTokens(const TokensEvent &event) override {
    double now = monotonicMs();
    std::lock_guard guard(lock);
    for (const TokenInfo &token : event.tokens) {
      tokens.push_back(token.token);
      times.push_back(now);
    }
    changed.notify_all();
    return true;
  }
  void onDone(const DoneEvent &event) override {
    std::lock_guard guard(lock);
    reason = event.reason;
    doneMs = monotonicMs();
    changed.notify_all();
  }
  /// Until `count` tokens came, or the end.
  void wait(size_t count) {
    std::unique_lock guard(lock);
    changed.wait(guard, [&] { return doneMs > 0 || tokens.size() >= count; });
  }

  std::vector<int32_t> tokens;
  std::vector<double> times;
  double sentMs = 0, doneMs = 0;
  FinishReason reason = FinishReason::stop;

private:
  std::mutex lock;
  std::condition_variable changed;
};

double at(std::vector<double> &values, double share) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, size_t(share * double(values.size())))];
}

Request makeRequest(const Arguments &arguments, const Model &model, uint32_t seed) {
  std::mt19937 random(seed);
  Request request;
  for (unsigned count = arguments.prompt.draw(random); count; --count)
    request.prompt.push_back(int32_t(random() % model.bounds().vocab));
  request.maxTokens = arguments.answer.draw(random);
  request.ignoreEnd = true;
  return request;
}

std::vector<int32_t> alone(const Model &model, const Request &request, unsigned threads) {
  SessionOptions options;
  options.sequences = 1;
  options.threads = threads;
  Owned<Session> session(must(Session::create(model, options)));
  SequenceId sequence = must(session->createSequence(int64_t(request.prompt.size())));
  std::vector<int32_t> tokens;
  GenerateOptions generation;
  generation.maxTokens = request.maxTokens;
  generation.ignoreEnd = true;
  generation.context = &tokens;
  generation.onToken = [](void *context, int32_t token) {
    static_cast<std::vector<int32_t> *>(context)->push_back(token);
    return true;
  };
  (void)must(generate(*session, sequence, request.prompt, generation));
  return tokens;
}

/// How long requests that are cancelled in mid-stream, beside others, keep their slots.
double disconnectMs(Engine &engine, const Arguments &arguments, unsigned clients) {
  double worst = 0;
  std::vector<std::shared_ptr<Stream>> streams;
  std::vector<RequestId> ids;
  for (unsigned i = 0; i < clients; ++i) {
    Request request = makeRequest(arguments, engine.model(), 9000 + i);
    request.maxTokens = 1000;
    streams.push_back(std::make_shared<Stream>());
    ids.push_back(engine.submit(std::move(request), streams.back()).id);
  }
  for (unsigned i = 0; i < clients; ++i) {
    streams[i]->wait(3);
    double start = monotonicMs();
    engine.cancel(ids[i]);
    streams[i]->wait(~size_t(0));
    worst = std::max(worst, streams[i]->doneMs - start);
  }
  engine.waitIdle(1e6);
  return worst;
}

void load(const Model &model, const Arguments &arguments, unsigned clients) {
  EngineOptions options;
  options.session.threads = arguments.threads;
  options.session.sequences = arguments.sequences;
  options.stepMs = arguments.stepMs;
  std::unique_ptr<Engine> engine = must(Engine::create(model, options));
  std::vector<std::vector<std::shared_ptr<Stream>>> streams(clients);
  std::vector<std::thread> threads;
  double start = monotonicMs();
  for (unsigned client = 0; client < clients; ++client)
    threads.emplace_back([&, client] {
      for (unsigned i = 0; i < arguments.requests; ++i) {
        auto stream = std::make_shared<Stream>();
        stream->sentMs = monotonicMs();
        Request request = makeRequest(arguments, model, client * 1000 + i);
        request.fairnessKey = client;
        engine->submit(std::move(request), stream);
        stream->wait(~size_t(0));
        streams[client].push_back(std::move(stream));
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  double seconds = (monotonicMs() - start) / 1000;
  std::vector<double> first, between, latency;
  size_t tokens = 0, differ = 0;
  for (unsigned client = 0; client < clients; ++client)
    for (unsigned i = 0; i < arguments.requests; ++i) {
      const Stream &stream = *streams[client][i];
      tokens += stream.tokens.size();
      first.push_back(stream.times.empty() ? 0 : stream.times[0] - stream.sentMs);
      latency.push_back(stream.doneMs - stream.sentMs);
      for (size_t k = 1; k < stream.times.size(); ++k)
        between.push_back(stream.times[k] - stream.times[k - 1]);
      if (arguments.check)
        differ += stream.tokens != alone(model, makeRequest(arguments, model, client * 1000 + i), arguments.threads);
    }
  EngineStats stats = engine->stats();
  uint64_t longer = 0;
  for (size_t i = 0; i < stats.stepTime.counts.size(); ++i)
    if (!i || Histogram::kBounds[i - 1] >= 0.04)
      longer += i ? stats.stepTime.counts[i] : 0;
  printf("{\"clients\": %u, \"requests\": %u, \"sequences\": %llu, \"seconds\": %.2f, \"tokens_per_s\": %.1f, "
         "\"processed_per_s\": %.1f, \"first_token_ms\": {\"p50\": %.1f, \"p95\": %.1f}, \"inter_token_ms\": {\"p50\": "
         "%.1f, \"p99\": %.1f}, \"latency_ms\": {\"p50\": %.1f, \"p95\": %.1f}, \"steps\": %llu, "
         "\"steps_over_40_ms\": %llu, \"step_mean_ms\": %.1f, ",
         clients, clients * arguments.requests, (unsigned long long)stats.sequences, seconds, double(tokens) / seconds,
         double(stats.processedTokens) / seconds, at(first, 0.5), at(first, 0.95), at(between, 0.5), at(between, 0.99),
         at(latency, 0.5), at(latency, 0.95), (unsigned long long)stats.steps, (unsigned long long)longer,
         1000 * stats.stepTime.sum / double(std::max<uint64_t>(stats.stepTime.count, 1)));
  if (arguments.check)
    printf("\"answers_that_differ\": %zu, ", differ);
  printf("\"cancelled_ms\": %.1f}\n", disconnectMs(*engine, arguments, std::min(clients, 8u)));
  fflush(stdout);
}

/// The median of five.
double stepMs(Session &session, std::span<const StepSegment> segments, std::span<const int32_t> rows) {
  std::vector<double> times;
  for (int i = 0; i < 5; ++i) {
    double start = monotonicMs();
    (void)must(session.step(segments, rows));
    times.push_back(monotonicMs() - start);
  }
  return at(times, 0.5);
}

void profile(const Model &model, const Arguments &arguments) {
  SessionOptions options;
  options.threads = arguments.threads;
  Owned<Session> session(must(Session::create(model, options)));
  std::vector<int32_t> tokens(512, 7), rows;
  std::vector<StepSegment> segments;
  for (uint64_t count = 1; count <= std::min<uint64_t>(session->sequences(), 64); ++count) {
    segments.push_back({must(session->createSequence()), std::span(tokens).first(64)});
    (void)must(session->step({&segments.back(), 1}, {}));
    segments.back().tokens = std::span(tokens).first(1);
    rows.push_back(int32_t(count) - 1);
    if ((count & (count - 1)) == 0 || count == 6 || count == 12)
      printf("{\"answers\": %llu, \"ms\": %.2f, \"ms_without_logits\": %.2f}\n", (unsigned long long)count,
             stepMs(*session, segments, rows), stepMs(*session, segments, {}));
  }
  for (size_t count = 2; count <= std::min<size_t>(session->batch(), 128); count *= 2) {
    StepSegment segment{segments[0].sequence, std::span(tokens).first(count)};
    printf("{\"prompt\": %zu, \"ms\": %.2f}\n", count, stepMs(*session, {&segment, 1}, {}));
  }
}

} // namespace
} // namespace mlc::server

int main(int argc, char **argv) {
  using namespace mlc::server;
  Arguments arguments = parse(argc, argv);
  mlc::Owned<mlc::Model> model(must(mlc::Model::open(arguments.model)));
  if (arguments.steps)
    profile(*model, arguments);
  for (unsigned clients : arguments.steps ? std::vector<unsigned>() : arguments.clients)
    load(*model, arguments, clients);
}
