//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What earlier requests have processed, kept as snapshots: a new request goes on from the longest prefix it shares with
// one. Pages are shared by reference count; the least recently used entry goes first.
//
#pragma once

#include "runtime/llm/Session.h"

#include <vector>

namespace mlc::server {

/// Which form of RoPE a prompt of some length has: prefixes are shared within a form only. 0 without such forms.
class PromptForms {
public:
  explicit PromptForms(const Model &model);
  uint64_t form(uint64_t promptLength) const;

private:
  /// Prompts up to here have the plain form; 0: all have. `byLength`: each longer one has a form of its own.
  uint64_t plain = 0;
  bool byLength = false;
};

/// Tokens at which both begin.
size_t commonPrefix(std::span<const int32_t> a, std::span<const int32_t> b);

/// The most of `common` first positions that `held`, a sequence or a snapshot, can be rolled back to: all of them, or
/// up to a checkpoint of recurrent states, or 0.
template <typename Id> size_t reusable(const Session &session, Id held, size_t common) {
  auto reached = session.reachable(held, int64_t(common));
  return reached && *reached > 0 ? size_t(*reached) : 0;
}

class PrefixCache {
public:
  /// `session` has at least `capacity` snapshots and outlives the cache.
  PrefixCache(Session &session, size_t capacity) : session(session), capacity(capacity) {}
  ~PrefixCache();

  struct Match {
    SnapshotId snapshot = SnapshotId::none;
    size_t tokens = 0; // To which it is to be rolled back.
  };
  /// The entry that shares most of `tokens`; it counts as used.
  Match find(std::span<const int32_t> tokens, uint64_t form);
  /// Keeps `sequence`, which holds `tokens`. An entry that it makes needless goes; so does it where one holds it all.
  void insert(SequenceId sequence, std::span<const int32_t> tokens, uint64_t form);
  /// Lets the least recently used entry go; false when there is none.
  bool evict();

  size_t size() const { return entries.size(); }
  uint64_t evictions() const { return evicted; }

private:
  struct Entry {
    std::vector<int32_t> tokens;
    SnapshotId snapshot;
    uint64_t form, used;
  };
  void drop(size_t index);

  Session &session;
  size_t capacity;
  std::vector<Entry> entries;
  uint64_t clock = 0, evicted = 0;
};

} // namespace mlc::server
