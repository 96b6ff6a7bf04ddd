//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/MemoryPlan.h"

#include "runtime/llm/Session.h"

namespace mlc {

RecurrentStoreOptions recurrentOptions(const fb::Artifact &metadata, const KvStoreOptions &kv) {
  RecurrentStoreOptions options;
  options.slots = kv.slots;
  options.sequences = kv.sequences;
  options.imports = kv.imports;
  options.context = kv.context;
  options.batch = kv.batch;
  options.checkpointEvery = metadata.model() ? int64_t(metadata.model()->checkpoint_every()) : 0;
  return options;
}

Result<MemoryPlan> planMemory(const fb::Artifact &metadata, uint64_t fileBytes, const ScratchNeed &scratch,
                              const TargetRegistry &target, const KvStoreOptions &kv, unsigned threads) {
  auto *states = metadata.states();
  uint32_t count = states ? states->size() : 0;
  MLC_ASSIGN(auto list, OwnedArray<const fb::State *>::create(systemAllocator(), count, "states"));
  for (uint32_t i = 0; i < count; ++i)
    list[i] = states->Get(i);
  MLC_ASSIGN(KvPlan planned, planKv(list.span(), target.kvLayout, kv));
  MLC_ASSIGN(RecurrentPlan recurrent,
             planRecurrent(list.span(), target.recurrentLayout, recurrentOptions(metadata, kv)));
  MemoryPlan plan;
  // Of one rank, as all else.
  plan.weights = fileBytes - bytesOfOtherRanks(metadata);
  plan.arena = metadata.arena_size();
  plan.sharedScratch = scratch.shared;
  plan.scratchPerThread = alignUp(scratch.perWorker, uint64_t(64));
  plan.threads = threads;
  uint64_t total, workers;
  if (!checkedAdd(planned.poolBytes, planned.tableBytes, plan.states) ||
      !checkedAdd(recurrent.poolBytes, recurrent.tableBytes, plan.recurrent) ||
      !checkedAdd(plan.states, plan.recurrent, plan.states) ||
      !checkedMul(plan.scratchPerThread, uint64_t(threads), workers) || !checkedAdd(plan.weights, plan.states, total) ||
      !checkedAdd(total, plan.arena, total) || !checkedAdd(total, plan.sharedScratch, total) ||
      !checkedAdd(total, workers, total))
    return Error(ErrorCode::OutOfMemory, "the memory plan overflows 64 bits");
  return plan;
}

Result<MemoryPlan> planMemory(const Artifact &artifact, uint64_t sequences) {
  MLC_ASSIGN(const TargetRegistry *target, findTarget(artifact.metadata()));
  MLC_ASSIGN(Program program, verifyProgram(artifact, *target, Isa::portable, 1, systemAllocator(),
                                            /*elsewhere=*/true));
  KvStoreOptions kv;
  if (const fb::Model *model = artifact.metadata().model()) {
    kv.context = int64_t(model->context());
    kv.batch = int64_t(model->batch());
  }
  SessionOptions defaults;
  kv.sequences = uint32_t(sequences);
  kv.slots = kv.sequences + defaults.snapshots;
  kv.imports = defaults.imports;
  return planMemory(artifact.metadata(), artifact.fileSize(), program.scratch, *target, kv, 1);
}

Status checkRoom(const MemoryPlan &plan, const Device &device) {
  MLC_ASSIGN(Device::Room room, device.room());
  uint64_t needed = plan.states + plan.arenas();
  if (needed <= room.free)
    return {};
  auto mib = [](uint64_t bytes) { return double(bytes) / (1 << 20); };
  return Error(
      ErrorCode::OutOfMemory,
      "needs %.1f MiB beside its weights (states %.1f, arena %.1f, scratch %.1f); %s has %.1f of %.1f MiB free; "
      "lower --context or --sequences",
      mib(needed), mib(plan.states), mib(plan.arena), mib(plan.scratch()), device.description(), mib(room.free),
      mib(room.total));
}

Status checkMemory(const MemoryPlan &plan, uint64_t most) {
  if (plan.total() <= most)
    return {};
  auto mib = [](uint64_t bytes) { return double(bytes) / (1 << 20); };
  return Error(
      ErrorCode::OutOfMemory,
      "needs %.1f MiB, more than --max-memory %.1f MiB: weights %.1f, states %.1f, arena %.1f, scratch %.1f (%u "
      "threads of %.1f each); lower --context, --sequences or --threads, or compile it smaller",
      mib(plan.total()), mib(most), mib(plan.weights), mib(plan.states), mib(plan.arena), mib(plan.scratch()),
      plan.threads, mib(plan.scratchPerThread));
}

} // namespace mlc
