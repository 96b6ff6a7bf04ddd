//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/states/KvPlan.h"

#include "runtime/core/Checked.h"
#include "runtime/exec/states/StateStore.h"

#include <algorithm>

namespace mlc {

/// Pages that a sequence needs at most for a state: with a window, what a query sees, what a step adds, the slack of a
/// rollback and one page for the two ends.
static uint64_t pagesOfSequence(const fb::KvSpec &spec, const KvStoreOptions &options) {
  uint64_t all = uint64_t(ceilDiv(options.context, kPagePositions));
  if (!spec.window())
    return all;
  uint64_t held = uint64_t(spec.window()) + uint64_t(options.batch) + kRollbackTokens;
  return std::min(all, ceilDiv(held, uint64_t(kPagePositions)) + 1);
}

uint64_t kvPageBytes(const KvLayout &layout, const fb::KvSpec &spec) {
  return alignUp(uint64_t(layout.pageBytes(spec)), uint64_t(64));
}

uint32_t KvPlan::poolOf(uint64_t bytes) const {
  return uint32_t(std::find(pageBytes, pageBytes + poolCount, bytes) - pageBytes);
}

Result<KvPlan> planKv(std::span<const fb::State *const> states, const KvLayout &layout, const KvStoreOptions &options) {
  KvPlan plan;
  uint64_t pagesWanted[KvPlan::kMaxPageSizes] = {}, bytesWanted = 0;
  for (const fb::State *state : states) {
    if (state->kind() != fb::StateKind::kv)
      continue;
    ++plan.states;
    const fb::KvSpec &spec = *state->kv();
    uint64_t bytes = kvPageBytes(layout, spec);
    uint32_t pool = plan.poolOf(bytes);
    if (pool == KvPlan::kMaxPageSizes)
      return Error(ErrorCode::Unsupported, "KV states of more than %u page sizes", KvPlan::kMaxPageSizes);
    if (pool == plan.poolCount)
      plan.pageBytes[plan.poolCount++] = bytes;
    uint64_t pages, added;
    if (!checkedMul(pagesOfSequence(spec, options), uint64_t(options.sequences), pages) ||
        !checkedAdd(pagesWanted[pool], pages, pagesWanted[pool]) || !checkedMul(pages, bytes, added) ||
        !checkedAdd(bytesWanted, added, bytesWanted))
      return Error(ErrorCode::OutOfMemory, "KV pool overflows the address space; lower --context or --sequences");
  }
  for (uint32_t i = 0; i < plan.poolCount; ++i) {
    uint64_t pages = pagesWanted[i];
    if (options.memory) // Each size gets its share of the budget.
      pages = uint64_t(double(options.memory) * (double(pages * plan.pageBytes[i]) / double(bytesWanted)) /
                       double(plan.pageBytes[i]));
    if (pages == 0)
      return Error(ErrorCode::OutOfMemory, "--kv-memory %llu holds no page of %llu bytes",
                   (unsigned long long)options.memory, (unsigned long long)plan.pageBytes[i]);
    if (pages >= KvStateView::kNoPage)
      return Error(ErrorCode::OutOfMemory, "KV pool of %llu pages; lower --context, --sequences or --kv-memory",
                   (unsigned long long)pages);
    plan.pages[i] = uint32_t(pages);
    plan.poolBytes += pages * plan.pageBytes[i];
  }
  plan.pagesPerSlot = uint32_t(ceilDiv(options.context, kPagePositions));
  // Pages by slot and by import, what a slot holds, segments: four arrays of KvStore.
  uint64_t entries;
  if (!checkedMul(uint64_t(plan.states) * options.slots, uint64_t(plan.pagesPerSlot), entries) ||
      !checkedMul(entries, uint64_t(sizeof(uint32_t)), plan.tableBytes) ||
      !checkedAdd(plan.tableBytes, uint64_t(plan.states) * plan.pagesPerSlot * options.imports * sizeof(uint64_t),
                  plan.tableBytes) ||
      !checkedAdd(plan.tableBytes, uint64_t(plan.states) * (options.slots * 8 + options.sequences * sizeof(void *)),
                  plan.tableBytes))
    return Error(ErrorCode::OutOfMemory, "page tables overflow the address space");
  return plan;
}

} // namespace mlc
