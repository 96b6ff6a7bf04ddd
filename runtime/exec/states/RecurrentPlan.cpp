//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/states/RecurrentPlan.h"

#include "runtime/core/Checked.h"
#include "runtime/exec/states/RecurrentStore.h"

#include <algorithm>

namespace mlc {

uint64_t recurrentLogStride(const fb::State &state) {
  return alignUp(uint64_t(state.recurrent()->log_columns()), uint64_t(16));
}

Result<RecurrentPlan> planRecurrent(std::span<const fb::State *const> states, const RecurrentLayout &layout,
                                    const RecurrentStoreOptions &options) {
  RecurrentPlan plan;
  for (const fb::State *state : states) {
    if (!isRecurrent(*state))
      continue;
    ++plan.states;
    // The verifier bounds both terms far below 2^64.
    if (!checkedAdd(plan.baseBytes, alignUp(uint64_t(layout.baseBytes(*state)), uint64_t(64)), plan.baseBytes) ||
        !checkedAdd(plan.logBytes, recurrentLogStride(*state) * kRecurrentPage * sizeof(float), plan.logBytes))
      return Error(ErrorCode::OutOfMemory, "recurrent states overflow the address space");
  }
  if (!plan.states)
    return plan;
  // A sequence keeps the bases of its last two pages and its checkpoints. A step adds up to two before it drops the old
  // ones; the second only where it fills a whole page.
  uint64_t sequences = options.sequences, snapshots = options.slots - options.sequences;
  uint64_t checkpoints = options.checkpointEvery ? uint64_t(options.context / options.checkpointEvery) : 0;
  uint64_t filled = std::min(sequences, uint64_t(options.batch / kRecurrentPage) + 1);
  uint64_t kept, bases = 3 * sequences + filled + 2 * snapshots, logs = 3 * sequences + filled + 2 * snapshots;
  uint64_t baseTotal, logTotal, entries;
  if (!checkedMul(sequences, checkpoints, kept) || !checkedAdd(bases, kept, bases) ||
      bases >= RecurrentStateView::kNoBlock || !checkedMul(bases, plan.baseBytes, baseTotal) ||
      !checkedMul(logs, plan.logBytes, logTotal) || !checkedAdd(baseTotal, logTotal, plan.poolBytes))
    return Error(ErrorCode::OutOfMemory, "recurrent states overflow the address space; lower --context or --sequences");
  plan.bases = uint32_t(bases);
  plan.logs = uint32_t(logs);
  plan.basesPerSlot = uint32_t(checkpoints + 4);
  // What slots hold, what imports have received, what segments show.
  uint64_t held = uint64_t(plan.basesPerSlot + RecurrentStore::kLogsPerSlot) * sizeof(RecurrentHeld);
  uint64_t marks = uint64_t(plan.basesPerSlot + RecurrentStore::kLogsPerSlot) * plan.states * sizeof(uint16_t);
  if (!checkedMul(uint64_t(options.slots), held, plan.tableBytes) ||
      !checkedMul(uint64_t(options.imports), marks, entries) ||
      !checkedAdd(plan.tableBytes, entries, plan.tableBytes) ||
      !checkedAdd(plan.tableBytes,
                  sequences * sizeof(RecurrentSegment) + RecurrentStore::stepPages(options) * sizeof(RecurrentPage) +
                      (bases + 3 * logs) * 8,
                  plan.tableBytes))
    return Error(ErrorCode::OutOfMemory, "tables of recurrent states overflow the address space");
  return plan;
}

} // namespace mlc
