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

/// The positions that a sequence or snapshot holding `held` can be cut to so that it shares `common` of them with
/// another: `common`, or 0 when its states do not reach back so far.
size_t reusable(size_t common, size_t held, int64_t rollbackLimit);

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
    int64_t rollbackLimit;
    uint64_t form, used;
  };
  void drop(size_t index);

  Session &session;
  size_t capacity;
  std::vector<Entry> entries;
  uint64_t clock = 0, evicted = 0;
};

} // namespace mlc::server
