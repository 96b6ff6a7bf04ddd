//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The checks of the loader and the verifier by id. Tests compile these sources with MLC_TRACE_CHECKS and see which
// check refused, so that a check that goes missing is noticed; the runtime's own build drops the id.
//
#pragma once

#include "runtime/core/Result.h"

#include <cstring>

namespace mlc {

enum class Check : unsigned {
  // The file (Artifact.cpp).
  FileSize,
  Magic,
  HeaderDigest,
  Version,
  Reserved,
  DeclaredSize,
  MetadataExtent,
  MetadataDigest,
  MetadataStructure,
  VectorAlignment,
  RequiredFeature,
  SegmentKind,
  SegmentSize,
  SegmentOffset,
  SegmentEnd,
  FileEnd,
  Padding,
  DigestCount,
  SegmentDigest,
  CodeAllowed,
  // Tables (VerifyTables.cpp).
  Name,
  DuplicateName,
  TableCount,
  TargetMachine,
  ModelBounds,
  CheckpointEvery,
  EndToken,
  Sampling,
  ExtentBound,
  ExtentRule,
  ModelExtent,
  SlotType,
  SlotRank,
  SlotDim,
  SlotDimExtent,
  SlotStrides,
  SlotSize,
  SlotSpace,
  SlotAlignment,
  SlotSegment,
  SlotInSegment,
  SlotInArena,
  ArenaSize,
  StateKind,
  StateSpec,
  RecurrentSpec,
  CarrySpec,
  KernelPresent,
  CodeVariants,
  CodeSegment,
  CodeEntry,
  CodeIsa,
  DeviceCode,
  ConstantSegment,
  ConstantExtent,
  ConstantFormat,
  TapSlot,
  Image,
  Ranks,
  // Functions (VerifyFunctions.cpp).
  FunctionSlots,
  PortNames,
  PortSlots,
  StepSignature,
  BlockDepth,
  OpCount,
  OpBody,
  DeviceOp,
  CallKernel,
  CallSlotCount,
  CallSlots,
  CallOutputSpace,
  CallOverlap,
  CallStates,
  CallAttrs,
  KernelCheck,
  KernelScratch,
  IfCondition,
  IfBlocks,
  LoopTrips,
  LoopSlots,
  LoopBody,
  CallFunction,
  CallCycle,
  CallDepth,
  ExecutedOps,
  CodeIndex,
  CodeSlots,
  CodeDims,
  CodeItems,
  // Networks (VerifyNetwork.cpp).
  CarryPorts,
  CarryRange,
  Count
};

#ifdef MLC_TRACE_CHECKS
/// The check that refused last. Test builds only.
extern Check lastRefused;
#define MLC_REFUSE(CHECK, ...) (::mlc::lastRefused = ::mlc::Check::CHECK, ::mlc::Error(__VA_ARGS__))
#else
#define MLC_REFUSE(CHECK, ...) (static_cast<void>(::mlc::Check::CHECK), ::mlc::Error(__VA_ARGS__))
#endif

/// Text of unknown origin fit for one line of a message: control characters become '?', the tail is kept.
class Printable {
public:
  explicit Printable(const char *text) : Printable(text, text ? strlen(text) : 0) {}
  Printable(const char *text, size_t length) {
    size_t out = 0;
    if (length > kKept) {
      memcpy(kept, "...", 3);
      out = 3;
      text += length - (kKept - 3);
      length = kKept - 3;
    }
    for (size_t i = 0; i < length; ++i)
      kept[out++] = static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f ? '?' : text[i];
    kept[out] = 0;
  }
  const char *c_str() const { return kept; }

private:
  static constexpr size_t kKept = 200;
  char kept[kKept + 1];
};

} // namespace mlc
