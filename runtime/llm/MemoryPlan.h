//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a session takes in memory, known before anything is allocated: everything of size is in the artifact's plan.
//
#pragma once

#include "runtime/artifact/Verifier.h"
#include "runtime/exec/Device.h"
#include "runtime/exec/states/KvPlan.h"
#include "runtime/exec/states/RecurrentPlan.h"

namespace mlc {

/// Bytes at most; pages of KV and of weights count once they are touched.
struct MemoryPlan {
  uint64_t weights = 0;          // The mapped file, shared by every session and process.
  uint64_t states = 0;           // Pools of KV and of recurrent states, and their tables.
  uint64_t recurrent = 0;        // The recurrent part of `states`.
  uint64_t arena = 0;            // Activations.
  uint64_t sharedScratch = 0;    // Of the hungriest kernel.
  uint64_t scratchPerThread = 0; // The same, for each thread.
  unsigned threads = 1;

  uint64_t scratch() const { return sharedScratch + scratchPerThread * threads; }
  uint64_t arenas() const { return arena + scratch(); }
  uint64_t total() const { return weights + states + arenas(); }
};

/// The bounds of `kv` for recurrent states, with the checkpoints of `metadata`.
RecurrentStoreOptions recurrentOptions(const fb::Artifact &metadata, const KvStoreOptions &kv);

/// `scratch` is of any number of workers, per worker.
Result<MemoryPlan> planMemory(const fb::Artifact &metadata, uint64_t fileBytes, const ScratchNeed &scratch,
                              const TargetRegistry &target, const KvStoreOptions &kv, unsigned threads);

/// What a session of `sequences` sequences at the artifact's bounds takes on one thread. Needs no machine that runs the
/// artifact, only one that has its kernels.
Result<MemoryPlan> planMemory(const Artifact &artifact, uint64_t sequences);

/// Ok, or one line with the figures when the device has no room for the plan's states and activations.
Status checkRoom(const MemoryPlan &plan, const Device &device);

/// Ok, or one line with the figures when the plan is above `most` bytes.
Status checkMemory(const MemoryPlan &plan, uint64_t most);

} // namespace mlc
