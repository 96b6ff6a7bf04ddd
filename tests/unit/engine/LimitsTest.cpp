//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What bounds an engine: the queue, deadlines, cancellation, memory, refusals, a long run.
//
#include "tests/unit/engine/EngineSupport.h"
#include "tests/unit/support/Sanitized.h"

#include <future>
#include <unistd.h>

namespace mlc::server {
namespace {

constexpr bool kSanitized = test::kAddressSanitized || test::kThreadSanitized;

using namespace mlc::test;

/// A sink that holds the engine's thread at its first token until it is told to go on.
struct Gate {
  std::shared_ptr<Recorder> sink = std::make_shared<Recorder>();
  std::promise<void> reached, opened;
  std::atomic<bool> first{true};
  Gate() {
    sink->tokensSeen = [this](const TokensEvent &) {
      if (first.exchange(false)) {
        reached.set_value();
        opened.get_future().wait();
      }
      return true;
    };
  }
};

Request endless(std::vector<int32_t> prompt) {
  Request request = makeRequest(std::move(prompt), 1000);
  request.ignoreEnd = true;
  return request;
}

TEST(EngineLimits, AFullQueueRefuses) {
  ServedModel served;
  EngineOptions options;
  options.session.sequences = 1;
  options.queue = 2;
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  Gate gate;
  Submission running = engine->submit(endless({3, 4}), gate.sink);
  gate.reached.get_future().wait();
  auto first = submit(*engine, endless({5})), second = submit(*engine, endless({6}));
  auto refused = std::make_shared<Recorder>();
  Submission full = engine->submit(makeRequest({7}, 2), refused);
  EXPECT_EQ(int(full.outcome), int(Submission::Outcome::queueFull));
  EXPECT_GE(full.retryAfterSeconds, 1);
  EXPECT_EQ(engine->stats().queued, 2u);
  EXPECT_EQ(engine->stats().refusedFull, 1u);
  gate.opened.set_value();
  engine->cancel(running.id);
  EXPECT_EQ(gate.sink->wait().done.reason, FinishReason::cancelled);
  EXPECT_EQ(first->wait().done.reason, FinishReason::length);
  EXPECT_EQ(second->wait().done.reason, FinishReason::length);
  EXPECT_FALSE(refused->isDone);
}

TEST(EngineLimits, ClientsTakeTurns) {
  ServedModel served;
  EngineOptions options;
  options.session.sequences = 1;
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  Gate gate;
  Submission running = engine->submit(endless({3, 4}), gate.sink);
  gate.reached.get_future().wait();
  std::mutex lock;
  std::vector<uint64_t> order;
  std::vector<std::shared_ptr<Recorder>> sinks;
  // Client 1 comes with many requests before client 2 comes with one.
  for (uint64_t key : {1, 1, 1, 1, 2}) {
    auto sink = std::make_shared<Recorder>();
    sink->tokensSeen = [&, key](const TokensEvent &) {
      std::lock_guard guard(lock);
      order.push_back(key);
      return true;
    };
    Request request = makeRequest({int32_t(key) + 10, int32_t(sinks.size())}, 1);
    request.fairnessKey = key;
    request.ignoreEnd = true;
    engine->submit(std::move(request), sink);
    sinks.push_back(sink);
  }
  gate.opened.set_value();
  engine->cancel(running.id);
  for (auto &sink : sinks)
    sink->wait();
  ASSERT_EQ(order.size(), 5u);
  EXPECT_EQ(order[1], 2u);
}

TEST(EngineLimits, CancellingFreesTheSlotWithinAStep) {
  ServedModel served;
  EngineOptions options;
  options.session.sequences = 2;
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  Gate gate;
  auto other = submit(*engine, endless({9, 9, 9}));
  Submission running = engine->submit(endless({3, 4}), gate.sink);
  gate.reached.get_future().wait();
  engine->cancel(running.id);
  gate.opened.set_value();
  gate.sink->wait();
  EXPECT_EQ(gate.sink->done.reason, FinishReason::cancelled);
  // The step that was handing out its tokens, and no other.
  EXPECT_LE(gate.sink->choices[0].tokens.size(), 1u);
  EXPECT_EQ(other->wait().done.reason, FinishReason::length);
  // A sink that refuses ends its request likewise.
  auto refusing = std::make_shared<Recorder>();
  refusing->tokensSeen = [](const TokensEvent &) { return false; };
  engine->submit(endless({3, 4}), refusing);
  EXPECT_EQ(refusing->wait().done.reason, FinishReason::cancelled);
  EXPECT_EQ(refusing->choices[0].tokens.size(), 1u);
  EXPECT_TRUE(engine->waitIdle(10000));
  EXPECT_EQ(engine->stats().sequencesUsed, 0u);
}

TEST(EngineLimits, DeadlinesEndAnswersWithWhatThereIs) {
  ServedModel served;
  EngineOptions options;
  options.session.sequences = 1;
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  Gate gate;
  Request request = endless({3, 4});
  request.deadlineMs = 1000; // Time enough for a first token on a busy machine.
  Submission running = engine->submit(std::move(request), gate.sink);
  gate.reached.get_future().wait();
  Request queued = endless({5});
  queued.deadlineMs = 1;
  queued.n = 2;
  auto never = submit(*engine, std::move(queued));
  usleep(1100000);
  gate.opened.set_value();
  gate.sink->wait();
  never->wait();
  EXPECT_EQ(gate.sink->done.reason, FinishReason::deadline);
  EXPECT_EQ(gate.sink->choices[0].end.reason, FinishReason::deadline);
  EXPECT_EQ(gate.sink->choices[0].tokens.size(), 1u);
  EXPECT_EQ(never->done.reason, FinishReason::deadline);
  EXPECT_TRUE(never->choices[0].finished && never->choices[1].finished);
  EXPECT_EQ(engine->stats().finished[size_t(FinishReason::deadline)], 2u);
}

TEST(EngineLimits, LittleMemoryIsSharedOut) {
  TinyOptions tiny = servedOptions();
  ServedModel served(tiny);
  EngineOptions options;
  // Of eight sequences of 4 pages each, one and a half.
  Owned<Session> probe = makeSession(*served.model);
  options.session.kvMemory = probe->kvBytes() * 6 / 32;
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  std::mt19937 random(8);
  std::vector<Request> requests;
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int i = 0; i < 24; ++i) {
    requests.push_back(makeRequest(randomTokens(random, 20 + random() % 100, 67), 40 + random() % 80));
    requests.back().ignoreEnd = true;
    sinks.push_back(submit(*engine, Request(requests.back())));
  }
  for (size_t i = 0; i < sinks.size(); ++i) {
    EXPECT_EQ(sinks[i]->wait().done.reason, FinishReason::length) << sinks[i]->message;
    EXPECT_EQ(sinks[i]->choices[0].ids(), soloAnswer(*served.model, requests[i])) << i;
  }
  EngineStats stats = engine->stats();
  EXPECT_GT(stats.preemptions, 0u);
  EXPECT_GT(stats.cacheEvictions, 0u);
  EXPECT_LE(stats.kvBytesUsed, stats.kvBytes);
  // What no eviction makes room for is an error of that request.
  options.session.kvMemory = probe->kvBytes() / 32;
  engine = makeEngine(*served.model, options);
  auto tooLong = submit(*engine, makeRequest(randomTokens(random, 150, 67), 4));
  auto fits = submit(*engine, makeRequest({4, 5}, 4));
  EXPECT_EQ(tooLong->wait().done.reason, FinishReason::error);
  EXPECT_EQ(tooLong->done.code, ErrorCode::OutOfMemory);
  EXPECT_NE(fits->wait().done.reason, FinishReason::error);
}

TEST(EngineLimits, DrainingFinishesWhatRuns) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  auto running = submit(*engine, endless({3, 4}));
  engine->drain();
  Submission refused = engine->submit(makeRequest({5}, 1), std::make_shared<Recorder>());
  EXPECT_EQ(int(refused.outcome), int(Submission::Outcome::draining));
  EXPECT_TRUE(engine->waitIdle(20000));
  EXPECT_EQ(running->wait().done.reason, FinishReason::length);
  EXPECT_TRUE(engine->stats().draining);
}

TEST(EngineLimits, AnEndOfTheEngineEndsAll) {
  ServedModel served;
  EngineOptions options;
  options.session.sequences = 2;
  std::vector<std::shared_ptr<Recorder>> sinks;
  {
    std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
    for (int32_t i = 0; i < 6; ++i)
      sinks.push_back(submit(*engine, endless({i, 4})));
  }
  for (auto &sink : sinks)
    EXPECT_TRUE(sink->isDone);
  EXPECT_EQ(sinks.back()->done.reason, FinishReason::cancelled);
}

// As requests of the server do, whose last one may go on the engine's own thread.
TEST(EngineLimits, AStopEndsRequestsThatHoldTheEngine) {
  struct Holder : Recorder {
    std::shared_ptr<Engine> engine;
  };
  ServedModel served;
  std::shared_ptr<Engine> engine = makeEngine(*served.model);
  std::weak_ptr<Engine> left = engine;
  for (int32_t i = 0; i < 12; ++i) {
    auto sink = std::make_shared<Holder>();
    sink->engine = engine;
    ASSERT_EQ(int(engine->submit(endless({i % 8, 4}), sink).outcome), int(Submission::Outcome::accepted));
  }
  engine->stop();
  EXPECT_EQ(engine->stats().running, 0u);
  Submission refused = engine->submit(makeRequest({5}, 1), std::make_shared<Recorder>());
  EXPECT_EQ(int(refused.outcome), int(Submission::Outcome::draining));
  engine->stop();
  engine = nullptr;
  EXPECT_TRUE(left.expired());
}

TEST(EngineLimits, RefusalsNameTheField) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  auto refusal = [&](auto change) {
    Request request = makeRequest({3, 4}, 4);
    change(request);
    Submission submission = engine->submit(std::move(request), std::make_shared<Recorder>());
    EXPECT_FALSE(submission.message.empty());
    return std::string(submission.field);
  };
  EXPECT_EQ(refusal([](Request &r) { r.prompt = {}; }), "prompt");
  EXPECT_EQ(refusal([](Request &r) { r.prompt[1] = 67; }), "prompt");
  EXPECT_EQ(refusal([](Request &r) { r.prompt[1] = -1; }), "prompt");
  EXPECT_EQ(refusal([](Request &r) { r.prompt.resize(257); }), "prompt");
  EXPECT_EQ(refusal([](Request &r) { r.sampling.temperature = -1; }), "sampling");
  EXPECT_EQ(refusal([](Request &r) { r.bias = {{67, 1}}; }), "bias");
  EXPECT_EQ(refusal([](Request &r) { r.bias = {{6, NAN}}; }), "bias");
  EXPECT_EQ(refusal([](Request &r) { r.n = 0; }), "n");
  EXPECT_EQ(refusal([](Request &r) { r.n = 129; }), "n");
  EXPECT_EQ(refusal([](Request &r) { r.n = 3, r.bestOf = 2; }), "bestOf");
  EXPECT_EQ(refusal([](Request &r) { r.logprobs = 21; }), "logprobs");
  EXPECT_EQ(refusal([](Request &r) { r.promptLogprobs = -2; }), "promptLogprobs");
  EXPECT_EQ(refusal([](Request &r) { r.stops = {""}; }), "stops");
  EXPECT_EQ(refusal([](Request &r) { r.stops = {"\x80"}; }), "stops");
  EXPECT_EQ(refusal([](Request &r) { r.stops.assign(17, "x"); }), "stops");
  EXPECT_EQ(refusal([](Request &r) { r.stopTokens = {99}; }), "stopTokens");
  EXPECT_EQ(refusal([](Request &r) { r.deadlineMs = NAN; }), "deadlineMs");
  Request longest = makeRequest(std::vector<int32_t>(257, 3), 1);
  EXPECT_EQ(int(engine->submit(std::move(longest), std::make_shared<Recorder>()).outcome),
            int(Submission::Outcome::contextExceeded));
  // The longest that fits gives one token.
  auto sink = submit(*engine, endless(std::vector<int32_t>(256, 3)));
  EXPECT_EQ(sink->wait().done.reason, FinishReason::length);
  EXPECT_EQ(sink->choices[0].tokens.size(), 1u);
}

size_t residentPages() {
  long total = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
    resident = 0;
  if (file)
    fclose(file);
  return size_t(resident);
}

TEST(EngineLimits, ALongRunKeepsItsSize) {
  ServedModel served;
  EngineOptions options;
  options.session.threads = 2;
  options.cacheEntries = 8;
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  std::mt19937 random(11);
  constexpr int kRequests = kSanitized ? 400 : 4000, kWarm = kRequests / 4;
  size_t warm = 0;
  std::vector<std::pair<RequestId, std::shared_ptr<Recorder>>> live;
  for (int i = 0; i < kRequests; ++i) {
    Request request = makeRequest(randomTokens(random, 1 + random() % 24, 67), 1 + random() % 6);
    request.sampling.temperature = i % 3 ? 0 : 1;
    request.n = i % 17 ? 1 : 3;
    request.stops = {"ab", "q"};
    request.logprobs = i % 5 ? -1 : 2;
    request.echo = i % 11 == 0;
    request.promptLogprobs = i % 22 ? -1 : 1;
    RequestId id;
    auto sink = submit(*engine, std::move(request), &id);
    live.emplace_back(id, sink);
    if (i % 13 == 0)
      engine->cancel(live[random() % live.size()].first);
    if (live.size() == 32) {
      for (auto &[done, waiting] : live)
        waiting->wait();
      live.clear();
    }
    if (i == kWarm)
      warm = residentPages();
  }
  for (auto &[id, sink] : live)
    sink->wait();
  EXPECT_TRUE(engine->waitIdle(10000));
  EngineStats stats = engine->stats();
  EXPECT_EQ(stats.accepted, uint64_t(kRequests));
  EXPECT_LE(stats.cacheEntries, 8u);
  EXPECT_EQ(stats.sequencesUsed, 0u);
  if (!kSanitized) {
    EXPECT_LE(double(residentPages()), 1.03 * double(warm) + 64);
  }
}

} // namespace
} // namespace mlc::server
