//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every place of a metadata FlatBuffer where a value stands, found by walking the buffer along its binary schema, so a
// new field of the schema is mutated without a change here.
//
#pragma once

#include "tests/unit/support/TinyArtifact.h"

namespace mlc::test {

struct MetadataSite {
  enum Kind { scalar, offset, length, vtable } kind;
  uint32_t position; // in the metadata
  uint32_t width;    // bytes, 1 to 8
  std::string path;  // "slots[3].dims[0].value"
};

/// Two neighbours of a vector.
struct MetadataSwap {
  uint32_t first, second; // positions in the metadata
  uint32_t width;         // bytes of an element
  bool offsets;           // elements are offsets, relative to where they stand
  std::string path;
};

struct MetadataSites {
  std::vector<MetadataSite> sites;
  std::vector<MetadataSwap> swaps;
};

/// Of a valid buffer.
MetadataSites findSites(std::span<const uint8_t> metadata);

void applySwap(std::span<uint8_t> metadata, const MetadataSwap &swap);

/// The model's metadata with every field written, also those at their default, and its segments placed behind it.
AlignedBytes fullFile(const TinyModel &model);

/// A file around any metadata bytes: header, metadata, then `weights` at the next multiple of 64; digests repaired.
AlignedBytes wrapMetadata(std::span<const uint8_t> metadata, std::span<const uint8_t> weights);

} // namespace mlc::test
