//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The plan of a verified artifact, resolved once at load: the op tree flattened, operands listed, views at their
// largest extents. Immutable after create(); any number of executors of any threads share one.
//
// The calling convention of a language model's plan:
//   extents  `tokens` (bound = model.batch) and `rows` (bound = model.rows)
//   function `step`, inputs ids i32[tokens] and rows i32[rows] (row numbers of the step), output logits f32[rows,
//   vocab]
//
#pragma once

#include "runtime/artifact/Verifier.h"
#include "runtime/core/Owned.h"

namespace mlc {

class Plan {
public:
  /// `program` is what verifyProgram made of `artifact`; `artifact` and `target` outlive the plan.
  static Result<Plan *> create(const Artifact &artifact, Program program, const TargetRegistry &target,
                               const Allocator &allocator = systemAllocator());
  static void destroy(Plan *plan);

  /// Index of the function `name`, or NotFound.
  Result<uint32_t> functionIndex(const char *name) const;
  const Program &program() const { return resolved; }
  const Artifact &artifact() const { return *source; }
  const fb::Artifact &metadata() const { return source->metadata(); }
  const TargetRegistry &target() const { return *registry; }

  // The resolved form, read by the executor.
  enum class OpKind : uint8_t { kernel, branch, loop, call, code };
  /// Ops [first, first + count) of `ops`.
  struct Range {
    uint32_t first = 0, count = 0;
  };
  struct Op {
    OpKind kind;
    /// kernel: an index of `kernelCalls`; branch, loop: of `branches`, `loops`; call: a function; code: of `codeCalls`.
    uint32_t index;
    const char *location;
  };
  struct KernelCall {
    const KernelDef *kernel;
    const void *attrs;
    uint32_t firstView, inputs, outputs; // Views of `views`: inputs, then outputs.
    uint32_t firstState, states;         // State ids of `stateRefs`.
    fb::KernelAttrs attrsType;
  };
  struct Branch {
    uint32_t condition;
    Range thenOps, elseOps;
  };
  struct Loop {
    int64_t tripSlot, indexSlot, whileSlot; // Slots, or -1.
    uint64_t staticTrips, maxTrips;
    Range body;
  };
  struct CodeCall {
    CodeFunction entry; // Null: of a device.
    const char *name;
    uint32_t code;             // An index of Artifact.codes.
    uint32_t firstSlot, slots; // Slots of `codeSlots`.
    uint32_t firstDim, dims;   // Dims of `codeDims`.
    fb::Dim items;
    int64_t grain;
  };

  std::span<const Op> ops() const { return opArray.span(); }
  std::span<const KernelCall> kernelCalls() const { return callArray.span(); }
  std::span<const Branch> branches() const { return branchArray.span(); }
  std::span<const Loop> loops() const { return loopArray.span(); }
  std::span<const CodeCall> codeCalls() const { return codeArray.span(); }
  std::span<const uint32_t> viewSlots() const { return viewSlotArray.span(); }
  std::span<const uint32_t> stateRefs() const { return stateRefArray.span(); }
  std::span<const uint32_t> codeSlots() const { return codeSlotArray.span(); }
  std::span<const fb::Dim> codeDims() const { return codeDimArray.span(); }
  std::span<const Range> functions() const { return functionArray.span(); }
  /// Scratch of the hungriest call with `workers` workers.
  ScratchNeed scratch(unsigned workers) const;
  /// What a kernel sees of `call` at load, with `workers` workers.
  struct CallDescription;
  void describe(const KernelCall &call, unsigned workers, CallDescription &description) const;

private:
  Plan() = default;
  ~Plan() = default;
  friend class PlanBuilder;

  const Artifact *source = nullptr;
  Program resolved;
  const TargetRegistry *registry = nullptr;
  Allocator allocator{};
  OwnedArray<Op> opArray;
  OwnedArray<KernelCall> callArray;
  OwnedArray<Branch> branchArray;
  OwnedArray<Loop> loopArray;
  OwnedArray<CodeCall> codeArray;
  OwnedArray<uint32_t> viewSlotArray, stateRefArray, codeSlotArray;
  OwnedArray<fb::Dim> codeDimArray;
  OwnedArray<Range> functionArray;
};

struct Plan::CallDescription {
  TensorView views[kMaxCallInputs + kMaxCallOutputs];
  bool follows[kMaxCallInputs + kMaxCallOutputs], constant[kMaxCallInputs + kMaxCallOutputs];
  const fb::State *states[kMaxCallStates];
  KernelCallInfo info; // Of the members above.
};

} // namespace mlc
