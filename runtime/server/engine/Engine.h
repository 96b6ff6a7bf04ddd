//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The engine: one model, one session, one thread that steps it for all requests. Every step mixes one token of each
// answer in progress with pieces of prompts, as much as fits the step's time by measured cost; answers are bitwise
// those of a request alone. Prefixes that earlier or running requests have processed are shared, not computed again.
//
// Any thread may call every member.
//
#pragma once

#include "runtime/llm/Session.h"
#include "runtime/server/engine/Request.h"
#include "runtime/server/engine/Stats.h"

namespace mlc::server {

/// What drafts tokens for the answers in progress (docs/speculation.md); none by default.
struct DraftOptions {
  const Model *model = nullptr; // Outlives the engine.
  bool ngram = false;
  unsigned tokens = 0; // Of every draft; 0: as many as pay.
};

struct EngineOptions {
  /// `snapshots` is the engine's own: it is set from cacheEntries.
  SessionOptions session;
  /// Requests that may wait for a slot; one more is refused.
  uint32_t queue = 256;
  /// Bound of a step while an answer is in progress, and of one that processes prompts alone.
  double stepMs = 40, promptStepMs = 250;
  /// For requests that set none; 0: none.
  double deadlineMs = 0;
  /// Prefixes kept after their request has ended, the least recently used goes first; 0: none.
  uint32_t cacheEntries = 64;
  DraftOptions draft;
};

struct Submission {
  enum class Outcome : uint8_t {
    accepted,
    invalid,         // `field` and `message` say what (400).
    contextExceeded, // The prompt does not fit (400, context_length_exceeded).
    unsupported,     // The artifact or this build cannot do it (400).
    queueFull,       // Try again after `retryAfterSeconds` (429).
    draining,        // The engine takes no more requests (503).
  };
  Outcome outcome = Outcome::accepted;
  RequestId id = RequestId::none;
  /// Member of Request, "" where none is to blame.
  const char *field = "";
  std::string message;
  double retryAfterSeconds = 0;
};

class Engine {
public:
  /// Starts the engine's thread. The model outlives the engine.
  static Result<std::unique_ptr<Engine>> create(const Model &model, const EngineOptions &options = {});
  /// stop(); not on the engine's own thread, so whoever's sinks hold the engine calls that before.
  ~Engine();
  Engine(const Engine &) = delete;
  Engine &operator=(const Engine &) = delete;

  /// Never blocks on a step. Unless accepted, the sink is not called.
  Submission submit(Request request, std::shared_ptr<Sink> sink);
  /// Ends the request with FinishReason::cancelled within one step; one that is not known any more is ignored.
  void cancel(RequestId id);

  /// Refuses new requests from now on; those accepted go on. Cannot be undone.
  void drain();
  /// Ends every request with FinishReason::cancelled, then the thread; requests are refused from now on.
  void stop();
  /// Waits until no request is left, at most `ms`; whether none is.
  bool waitIdle(double ms);

  EngineStats stats() const;
  const Model &model() const;
  /// The session's bounds, which may be lower than the artifact's.
  uint64_t context() const;
  /// Ok when the artifact gives hidden states, else the reason, by name.
  Status embeddingSupport() const;
  /// Floats of an embedding; 0 without support.
  size_t embeddingSize() const;

private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace mlc::server
