//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A loaded artifact: the mapped file, its digests and extents checked. What lies in its plan is verified apart, see
// Verifier.h. Files are replaced by rename and never written in place, so a mapping keeps its content.
//
#pragma once

#include "runtime/artifact/Header.h"
#include "runtime/core/WorkerPool.h"
#include "schema_generated.h"

namespace mlc {

struct LoadOptions {
  /// Compare the digest of each 1 MiB of every segment; header and metadata are compared in any case.
  bool verifyDigests = true;
  /// Accept artifacts that carry code objects; they are trusted like a program.
  bool allowCode = true;
  /// Leave the weights of an artifact for a GPU out: who uploads them compares each piece (checkPiece).
  bool deferWeights = false;
  /// Spreads the digest checks; null: the caller's thread alone.
  WorkerPool *pool = nullptr;
};

/// Immutable after open(); any number of threads may read it.
class Artifact {
public:
  /// Maps `path` and checks, in this order: size, magic, header digest, version, declared sizes, metadata digest,
  /// FlatBuffer structure, required features, segment extents, padding, segment digests. Errors: one line with the
  /// path and the byte offset. Code segments are mapped read-execute.
  static Result<Artifact> open(const char *path, const LoadOptions &options = {},
                               const Allocator &allocator = systemAllocator());
  /// The same checks over bytes that the caller keeps (64-byte aligned). Code objects are refused: they run from a
  /// file.
  static Result<Artifact> fromMemory(std::span<const uint8_t> bytes, const LoadOptions &options = {},
                                     const Allocator &allocator = systemAllocator(), const char *name = "artifact");

  Artifact(Artifact &&other) noexcept;
  Artifact &operator=(Artifact &&other) noexcept;
  ~Artifact();

  const fb::Artifact &metadata() const { return *root; }
  unsigned segmentCount() const { return root->segments() ? root->segments()->size() : 0; }
  /// `index` < segmentCount().
  std::span<const uint8_t> segment(unsigned index) const;
  /// Compares `bytes`, read from `offset` (a multiple of kDigestChunk) of a segment on, up to its end or to such a
  /// multiple, with the segment's digests.
  Status checkPiece(unsigned index, uint64_t offset, std::span<const uint8_t> bytes) const;
  /// Whether it is made for a device of that family (kCudaFamily).
  bool isFor(const char *family) const;

  /// The path as given, fit for one line of a message.
  const char *name() const { return displayName.data(); }
  /// Stands for the whole content; what state files and exports name.
  uint64_t digest() const { return header().metadataDigest; }
  uint64_t fileSize() const { return file.size(); }
  const ArtifactHeader &header() const { return *reinterpret_cast<const ArtifactHeader *>(file.data()); }
  bool hasCode() const { return codeMaps.size() != 0; }

private:
  struct CodeMap {
    unsigned segment;
    const uint8_t *data;
    size_t size;
  };
  Artifact() = default;
  Status setName(const char *path, const Allocator &allocator);
  Status check(int descriptor, const LoadOptions &options, const Allocator &allocator);
  Status checkHeader();
  Status checkMetadata();
  Status checkSegments();
  Status checkDigests(WorkerPool *pool, bool deferWeights) const;
  Error damagedPiece(unsigned index, uint64_t chunk) const;
  Status mapCode(int descriptor, const Allocator &allocator);

  std::span<const uint8_t> file;
  bool mapped = false;
  const fb::Artifact *root = nullptr;
  OwnedArray<CodeMap> codeMaps;
  OwnedArray<char> displayName;
};

/// Whether a segment holds what another rank than the first has in its place (Segment.of_ranks).
bool isOfOtherRank(const fb::Artifact &metadata, uint32_t segment);
/// Bytes of the segments of other ranks than one; 0 of a plan of one rank.
uint64_t bytesOfOtherRanks(const fb::Artifact &metadata);

} // namespace mlc
