//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Structural verification of an artifact's plan. After it, walking the FlatBuffer as the plan interpreter does is safe
// for any content without code objects: every index is in range, every view lies inside its segment or the arena at the
// largest extents, nesting, call depth and the number of executed calls are bounded, and every kernel has accepted the
// bound views of each of its calls.
//
#pragma once

#include "runtime/artifact/Artifact.h"
#include "runtime/exec/Kernel.h"

namespace mlc {

// Limits that a verified program keeps, so that the interpreter works with fixed arrays.
constexpr unsigned kMaxCallInputs = 16, kMaxCallOutputs = 8, kMaxCallStates = 4, kMaxCodeSlots = 32, kMaxCodeDims = 32;
/// Blocks open at once, those of callers included; functions on the call stack.
constexpr unsigned kMaxBlockDepth = 16, kMaxCallDepth = 16;
constexpr unsigned kMaxFunctions = 1024, kMaxStates = 4096, kMaxExtents = 256, kMaxKernels = 4096;
constexpr uint64_t kMaxOps = 1 << 20;
/// Kernel and code calls that one call of a function can make, loops unrolled.
constexpr uint64_t kMaxExecutedOps = 1 << 26;
constexpr uint64_t kMaxArenaBytes = uint64_t(16) << 30;
constexpr uint64_t kMaxContext = 1 << 24, kMaxBatch = 1 << 16, kMaxSequences = 1 << 16, kMaxVocabulary = 1 << 24;
/// kv_heads * head_dim of one state.
constexpr uint64_t kMaxKvWidth = 1 << 16;
/// Elements of the base and of a log entry of one recurrent state; columns of a convolution.
constexpr uint64_t kMaxRecurrentElements = 1 << 28, kMaxLogColumns = 1 << 24, kMaxConvKernel = 64;

/// The entry of a code object, see exec.call_code.
using CodeFunction = int32_t (*)(void *const *buffers, const int64_t *dims, int64_t begin, int64_t end);

/// A range of a network's arena that may lie elsewhere: of a port, or of an end of a carried state. Every slot that
/// touches it lies inside it.
struct MovableRange {
  uint64_t offset, bytes;
  uint32_t slot;
  int32_t state; // The carried state, or -1.
};

/// What verification resolved.
struct Program {
  OwnedArray<const KernelDef *> kernels; // by index in Artifact.kernels
  OwnedArray<CodeFunction> codes;        // by index in Artifact.codes
  ScratchNeed scratch;                   // the largest needs of any call
  int32_t step = -1;                     // index of the function "step"; -1: none (a network)
  int32_t tokensExtent = -1;             // indices in Artifact.extents; -1: none
  int32_t rowsExtent = -1;
  OwnedArray<MovableRange> ranges; // Of a network, disjoint, by offset.
};

/// Verifies the plan for `workers` threads on `isa` of `target`. Errors name the file and the function, op, slot or
/// state; a kernel that the target lacks is named with its version.
/// `elsewhere`: the plan is only looked at, so that it may be for another machine; `codes` then stay null.
Result<Program> verifyProgram(const Artifact &artifact, const TargetRegistry &target, Isa isa, unsigned workers,
                              const Allocator &allocator = systemAllocator(), bool elsewhere = false);

/// The view of a verified slot where extent i is extents[i] (0 <= extents[i] <= its bound); `data` is left null.
TensorView slotView(const fb::Slot &slot, std::span<const int64_t> extents);

/// Sets every extent that has a rule, in their order; one whose value would lie outside is set to its bound. The first
/// such, or -1. The extents are those of a verified plan.
int32_t followRules(const fb::Artifact &metadata, std::span<int64_t> extents);

/// The value of a verified dimension.
inline int64_t dimValue(const fb::Dim &dim, std::span<const int64_t> extents) {
  return dim.extent() < 0 ? dim.value() : dim.value() * extents[size_t(dim.extent())];
}

} // namespace mlc
