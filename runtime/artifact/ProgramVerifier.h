//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the parts of the verifier share: the artifact's tables, what was resolved so far, and the walk's own memory.
//
#pragma once

#include "runtime/artifact/Checks.h"
#include "runtime/artifact/Verifier.h"

namespace mlc {

/// Length of a vector that may be absent.
template <typename T> uint32_t countOf(const flatbuffers::Vector<T> *vector) { return vector ? vector->size() : 0; }

/// Largest value of a dimension or stride, in elements, and of a view, in bytes.
constexpr int64_t kMaxDim = int64_t(1) << 40;
constexpr uint64_t kMaxViewBytes = uint64_t(1) << 46;
/// A fused weight's name joins those of its parts.
constexpr unsigned kMaxNameBytes = 1023;
constexpr unsigned kMaxPorts = 4096, kMaxSlots = 1 << 20, kMaxConstants = 1 << 20, kMaxTaps = 1 << 16,
                   kMaxCodes = 1 << 14, kMaxImages = 256;

class ProgramVerifier {
public:
  ProgramVerifier(const Artifact &artifact, const TargetRegistry &target, Isa isa, unsigned workers,
                  const Allocator &allocator, bool elsewhere)
      : artifact(artifact), meta(artifact.metadata()), target(target), isa(isa), workers(workers), allocator(allocator),
        elsewhere(elsewhere) {}

  /// VerifyTables.cpp: everything outside the functions.
  Status verifyTables();
  /// VerifyFunctions.cpp: the functions; needs verified tables.
  Status verifyFunctions();
  /// VerifyNetwork.cpp: what a network has beside them; needs verified functions.
  Status verifyNetwork();

  Program program;

private:
  const char *name() const { return artifact.name(); }

  Status checkName(const flatbuffers::String *text, const char *what, unsigned index) const;
  template <typename T> Status checkTableNames(const flatbuffers::Vector<T> *tables, const char *what, unsigned limit);
  Status checkNames();
  Status checkMachine() const;
  Status checkModel();
  Status checkExtents();
  Status checkRule(uint32_t index) const;
  Status checkSlot(unsigned index);
  Status checkSlots();
  Status checkStates() const;
  Status checkCarry(const fb::State &state) const;
  Status checkKernels();
  Status checkDeviceCode(const fb::Code &code) const;
  Status checkCode(unsigned index);
  Status checkCodes();
  Status checkConstants() const;
  Status checkTaps() const;
  Status checkImages() const;
  bool isWeights(uint32_t segment) const;
  Status checkRanks() const;

  /// What a verified function needs and can do.
  struct FunctionFacts {
    bool active, done;
    uint32_t height;   // functions on the stack, itself included
    uint32_t depth;    // blocks open at once, callees' included
    uint64_t executed; // kernel and code calls of one call, saturated past kMaxExecutedOps
  };
  Status checkFunctionSlots(const fb::Function &function) const;
  Status checkPorts(const fb::Function &function) const;
  Status checkStateKinds() const;
  Status checkStep(const fb::Function &function) const;
  Status checkFunction(uint32_t index, unsigned callers);
  Status checkBlock(const fb::Block &block, unsigned depth, FunctionFacts &facts, unsigned callers);
  Status checkKernelCall(const fb::KernelCall &call);
  Status checkOverlap(const fb::KernelCall &call) const;
  Status checkIf(const fb::If &op, unsigned depth, FunctionFacts &facts, unsigned callers);
  Status checkLoop(const fb::Loop &op, unsigned depth, FunctionFacts &facts, unsigned callers);
  Status checkCall(const fb::Call &call, unsigned depth, FunctionFacts &facts, unsigned callers);
  Status checkCallCode(const fb::CallCode &call) const;
  bool isScalar(uint32_t slot, DType type, bool writable) const;
  bool dimValid(const fb::Dim &dim) const;
  bool followsTokens(const fb::Slot &slot) const;

  const Artifact &artifact;
  const fb::Artifact &meta;
  const TargetRegistry &target;
  Isa isa;
  unsigned workers;
  Allocator allocator;
  bool elsewhere;

  OwnedArray<int64_t> bounds;     // of each extent
  OwnedArray<uint64_t> slotBytes; // of each slot's view at the largest extents
  OwnedArray<FunctionFacts> functions;
  uint64_t walkedOps = 0;
  unsigned openBlocks = 0; // of the functions that call the one being walked; bounds the walk's own recursion

  // Where the walk is, for messages.
  const char *functionName = "";
  const char *location = "";
  uint64_t opNumber = 0;
};

} // namespace mlc
