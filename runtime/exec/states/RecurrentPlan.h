//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the recurrent states of an artifact take in memory: known before anything is allocated.
//
#pragma once

#include "runtime/exec/Kernel.h"

namespace mlc {

struct RecurrentStoreOptions {
  uint32_t slots = 1;          // Sequences, snapshots and pending imports together.
  uint32_t sequences = 1;      // Slots [0, sequences) take part in steps.
  uint32_t imports = 0;        // Most slots that are being imported at a time.
  int64_t context = 0;         // Most positions of a slot.
  int64_t batch = 1;           // Most tokens of a step.
  int64_t checkpointEvery = 0; // Positions, a multiple of kRecurrentPage; 0: none.
  WorkerPool *pool = nullptr;  // Shares out copies on the host, in turns of `sessionClass`; null: the caller copies.
  SessionClass sessionClass = SessionClass::batch;
};

/// All states of a sequence move together, so one block holds the bases of all of them, and one their log pages.
struct RecurrentPlan {
  uint32_t states = 0;
  uint64_t baseBytes = 0, logBytes = 0; // Of a block.
  uint32_t bases = 0, logs = 0;         // Blocks of the pools.
  uint32_t basesPerSlot = 0;            // At most, within a step.
  uint64_t poolBytes = 0, tableBytes = 0;
};

/// Values from entry to entry of a log page.
uint64_t recurrentLogStride(const fb::State &state);

/// `states`: the artifact's; those that are not recurrent are left out.
Result<RecurrentPlan> planRecurrent(std::span<const fb::State *const> states, const RecurrentLayout &layout,
                                    const RecurrentStoreOptions &options);

} // namespace mlc
