//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sessions on one pool: bits as alone, whatever comes between; realtime steps beside a long prefill; cancellation from
// another thread. The tsan preset runs it too.
//
#include "tests/unit/session/SessionSupport.h"
#include "tests/unit/support/Sanitized.h"

#include <chrono>
#include <thread>

using namespace mlc;
using namespace mlc::test;
using Clock = std::chrono::steady_clock;

namespace {

// Under ThreadSanitizer every chunk takes ten times as long.
constexpr double kMostMs = kThreadSanitized ? 100 : 10;

double msSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// A model whose step of 512 tokens is real work.
TinyOptions largerOptions() {
  TinyOptions options;
  options.layers = 4;
  options.hidden = 384;
  options.inner = 1024;
  options.heads = 6;
  options.headDim = 64;
  options.context = 512;
  options.batch = 512;
  return options;
}

Result<LogitsView> feed(Session &session, SequenceId sequence, std::span<const int32_t> tokens) {
  auto last = int32_t(tokens.size() - 1);
  StepSegment segment{sequence, tokens};
  return session.step({&segment, 1}, {&last, 1});
}

/// A session on `pool` that feeds one prompt again and again, and whether every answer was the same.
struct Client {
  Client(const Model &model, WorkerPool *pool, SessionClass sessionClass, std::vector<int32_t> prompt)
      : prompt(std::move(prompt)) {
    SessionOptions options;
    options.sequences = 1;
    options.pool = pool;
    options.sessionClass = sessionClass;
    session = makeSession(model, options);
    sequence = must(session->createSequence(int64_t(this->prompt.size())));
  }
  /// One prefill; false when it was cancelled.
  bool prefill() {
    auto logits = feed(*session, sequence, prompt);
    if (!logits) {
      EXPECT_EQ(logits.error().code(), ErrorCode::Cancelled);
      EXPECT_EQ(must(session->length(sequence)), 0);
      return false;
    }
    std::vector<float> row(logits->row(0).begin(), logits->row(0).end());
    if (expected.empty())
      expected = row;
    EXPECT_EQ(0, memcmp(row.data(), expected.data(), row.size() * sizeof(float)));
    must(session->rollback(sequence, 0));
    return true;
  }
  std::vector<int32_t> prompt;
  Owned<Session> session;
  SequenceId sequence{};
  std::vector<float> expected;
};

} // namespace

TEST(SharedPool, EverySessionComputesWhatItDoesAlone) {
  TestModel test;
  std::mt19937 random(5);
  std::vector<int32_t> prompts[3];
  std::vector<float> alone[3];
  for (int i = 0; i < 3; ++i) {
    prompts[i] = randomTokens(random, 5 + size_t(i) * 5, 67);
    std::vector<float> all = plainLogits(*test.model, prompts[i]);
    alone[i].assign(all.end() - 67, all.end());
  }
  for (unsigned threads : {1u, 2u, 4u, 16u, 64u}) {
    Owned<WorkerPool> pool(must(WorkerPool::create(threads)));
    std::vector<std::unique_ptr<Client>> clients;
    for (int i = 0; i < 3; ++i) {
      clients.push_back(std::make_unique<Client>(*test.model, pool.get(),
                                                 i == 2 ? SessionClass::realtime : SessionClass::batch, prompts[i]));
      clients.back()->expected = alone[i];
    }
    std::vector<std::thread> running;
    std::atomic<int> done{0}, cancelled{0};
    for (auto &client : clients)
      running.emplace_back([&] {
        for (int step = 0; step < 30 || !cancelled; ++step)
          if (!client->prefill()) {
            ++cancelled;
            client->session->clearCancel();
          }
        ++done;
      });
    std::thread canceller([&] {
      for (unsigned i = 0; done < 3; ++i) {
        clients[i % 3]->session->requestCancel();
        std::this_thread::sleep_for(std::chrono::microseconds(500 + 97 * i % 3000));
      }
    });
    for (std::thread &thread : running)
      thread.join();
    canceller.join();
    for (auto &client : clients) {
      client->session->clearCancel();
      EXPECT_TRUE(client->prefill());
    }
  }
}

TEST(SharedPool, ARealtimeStepDoesNotWaitForAPrefill) {
  TestModel test(largerOptions());
  Owned<WorkerPool> pool(must(WorkerPool::create(2)));
  std::mt19937 random(6);
  Client batch(*test.model, pool.get(), SessionClass::batch, randomTokens(random, 512, 67)),
      realtime(*test.model, pool.get(), SessionClass::realtime, randomTokens(random, 16, 67));
  ASSERT_TRUE(batch.prefill());
  ASSERT_TRUE(realtime.prefill());
  struct Watch {
    Clock::time_point submitted;
    double waitMs;
  } watch{};
  must(realtime.session->observeKernels({[](void *user, uint32_t, const KernelContext &) {
                                           auto &watch = *static_cast<Watch *>(user);
                                           if (watch.waitMs < 0)
                                             watch.waitMs = msSince(watch.submitted);
                                         },
                                         &watch}));
  std::atomic<bool> stop{false};
  std::atomic<int> prefills{0};
  double prefillMs = 0;
  std::thread other([&] {
    Clock::time_point start = Clock::now();
    while (!stop && batch.prefill())
      ++prefills;
    prefillMs = msSince(start) / (prefills + 1);
  });
  // As in WorkerPoolTest: a busy machine may delay any thread.
  double best = 1e9;
  for (int attempt = 0; attempt < 10 && best > kMostMs; ++attempt) {
    double worst = 0;
    for (int step = 0; step < 10; ++step) {
      std::this_thread::sleep_for(std::chrono::milliseconds(7));
      watch = {Clock::now(), -1};
      EXPECT_TRUE(realtime.prefill());
      worst = std::max(worst, watch.waitMs);
    }
    best = std::min(best, worst);
  }
  stop = true;
  other.join();
  printf("longest wait of ten realtime steps: %.2f ms; a prefill beside them: %.0f ms\n", best, prefillMs);
  EXPECT_LE(best, kMostMs);
}

TEST(SharedPool, APrefillIsCancelledWithinTenMilliseconds) {
  TestModel test(largerOptions());
  Owned<WorkerPool> pool(must(WorkerPool::create(2)));
  std::mt19937 random(7);
  Client batch(*test.model, pool.get(), SessionClass::batch, randomTokens(random, 512, 67));
  ASSERT_TRUE(batch.prefill());
  double best = 1e9;
  for (int attempt = 0; attempt < 20 && best > kMostMs; ++attempt) {
    Clock::time_point cancelledAt;
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5 + attempt));
      cancelledAt = Clock::now();
      batch.session->requestCancel();
    });
    // Again and again, should it be done before.
    while (batch.prefill())
      ;
    Clock::time_point ended = Clock::now();
    canceller.join();
    batch.session->clearCancel();
    best = std::min(best, std::chrono::duration<double, std::milli>(ended - cancelledAt).count());
  }
  printf("a step ended %.2f ms after its cancellation\n", best);
  EXPECT_LE(best, kMostMs);
  EXPECT_TRUE(batch.prefill());
}
