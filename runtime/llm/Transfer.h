//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

// The wire form of an exported sequence: chunks that describe themselves, little-endian. docs/runtime.md.
//
#pragma once

#include "schema_generated.h"

#include <cstddef>
#include <cstdint>

namespace mlc {

enum class TransferKind : uint16_t { data = 0, commit = 1 };

/// The head of every chunk; then nameBytes of the state's name, then payloadBytes. A commit record has neither.
struct TransferHeader {
  uint8_t magic[4]; // "MLCS"
  uint16_t version; // kTransferVersion
  TransferKind kind;
  uint64_t artifact;      // Digest of the artifact that wrote it.
  uint64_t firstPosition; // data: of its first position; commit: 0.
  uint64_t positions;     // data: how many, 0: the state before firstPosition; commit: the sequence's length.
  uint64_t formLength;    // commit: tokens of the complete prompt; data: 0.
  uint64_t chunks;        // commit: how many data chunks the sequence has; data: 0.
  uint32_t state;         // data: index of the state in the artifact; commit: 0.
  uint32_t nameBytes;
  uint64_t payloadBytes;
  // data: the format; commit: 0. kv: kv_heads, head_dim, dtype, window; conv: channels, kernel - 1, dtype, 0; ssm:
  // heads, head_dim, dtype, state.
  uint32_t format[4];
  uint64_t bodyDigest; // XXH3-64 of name and payload.
  uint64_t headDigest; // XXH3-64 of all bytes before.
};
static_assert(sizeof(TransferHeader) == 96 && offsetof(TransferHeader, headDigest) == 88);

constexpr uint8_t kTransferMagic[4] = {'M', 'L', 'C', 'S'};
constexpr uint16_t kTransferVersion = 1;

} // namespace mlc
