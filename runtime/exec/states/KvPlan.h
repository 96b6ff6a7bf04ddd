//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the KV states of an artifact take in memory: known before anything is allocated.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc {

struct KvStoreOptions {
  uint32_t slots = 1;     // Sequences, snapshots and pending imports together.
  uint32_t sequences = 1; // Slots [0, sequences) take part in steps.
  uint32_t imports = 0;   // Most slots that are being imported at a time.
  int64_t context = 0;    // Most positions of a slot.
  int64_t batch = 1;      // Most positions reserved at once.
  uint64_t memory = 0;    // Bytes of all pools; 0: `sequences` sequences of `context` positions.
};

struct KvPlan {
  /// Distinct page sizes of one artifact.
  static constexpr unsigned kMaxPageSizes = 16;

  uint32_t states = 0;    // Of kind kv.
  uint32_t poolCount = 0; // One for each page size:
  uint64_t pageBytes[kMaxPageSizes] = {};
  uint32_t pages[kMaxPageSizes] = {};
  uint32_t pagesPerSlot = 0; // Of one state.
  uint64_t poolBytes = 0;
  uint64_t tableBytes = 0;

  /// The pool of a state with pages of `bytes`.
  uint32_t poolOf(uint64_t bytes) const;
};

/// Bytes of a state's page: what the layout says, rounded up to a cache line.
uint64_t kvPageBytes(const KvLayout &layout, const fb::KvSpec &spec);

/// `states`: the artifact's; those that are not KV are left out.
Result<KvPlan> planKv(std::span<const fb::State *const> states, const KvLayout &layout, const KvStoreOptions &options);

} // namespace mlc
