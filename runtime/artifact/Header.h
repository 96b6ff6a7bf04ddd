//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The fixed head of a .mlca file. docs/artifact.md holds the layout and the rules by which it may change.
//
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mlc {

/// Bytes [0, 64) of every artifact, little-endian, of every version.
struct ArtifactHeader {
  uint8_t magic[4];        // "MLCA"
  uint32_t version;        // kArtifactVersion
  uint64_t fileSize;       // of the whole file
  uint64_t metadataOffset; // kMetadataOffset
  uint64_t metadataSize;   // bytes of the FlatBuffer
  uint64_t metadataDigest; // XXH3-64 of the FlatBuffer; it holds the segments' digests, so it stands for all content
  uint64_t reserved[2];    // 0
  uint64_t headerDigest;   // XXH3-64 of bytes [0, 56)
};
static_assert(sizeof(ArtifactHeader) == 64 && offsetof(ArtifactHeader, headerDigest) == 56);

constexpr uint8_t kArtifactMagic[4] = {'M', 'L', 'C', 'A'};
constexpr uint32_t kArtifactVersion = 2;
constexpr uint64_t kMetadataOffset = sizeof(ArtifactHeader);
/// FlatBuffers end below 2 GiB; a quarter of it holds any plan.
constexpr uint64_t kMaxMetadataSize = uint64_t(512) << 20;
/// Where segments start: the next multiple after what stands before.
constexpr uint64_t kWeightsAlignment = 64;
constexpr uint64_t kCodeAlignment = 64 << 10;
/// Bytes under one digest of a segment.
constexpr uint64_t kDigestChunk = 1 << 20;

/// XXH3-64, seed 0, by the fastest form this machine runs.
uint64_t digest64(std::span<const uint8_t> bytes);
/// headerDigest of `header`'s other fields.
uint64_t headerDigest(const ArtifactHeader &header);

} // namespace mlc
