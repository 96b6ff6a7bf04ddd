//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Writes a .mlca file: metadata first, then the segments as a stream, digests computed on the way. The file is built
// without a name in the target's directory and appears there when it is complete, so an error, a signal or a power loss
// leaves nothing behind. Memory does not grow with the file.
//
#pragma once

#include "runtime/core/Result.h"
#include "runtime/artifact/Header.h"
#include "schema_generated.h"

#include <string>
#include <vector>

namespace mlc {

class ArtifactWriter {
public:
  /// Called after each chunk with the bytes written so far and the size of the whole file.
  using Progress = void (*)(void *context, uint64_t written, uint64_t total);

  static Result<ArtifactWriter> create(const std::string &path);
  ArtifactWriter(ArtifactWriter &&other) noexcept;
  /// Without commit(), nothing is left of the file.
  ~ArtifactWriter();

  void setProgress(Progress callback, void *context) {
    progress = callback;
    progressContext = context;
  }

  /// Takes the metadata, whose segments say their kind and size (> 0); offsets and digests are filled in here.
  Status begin(fb::ArtifactT metadata);
  /// Appends to the current segment; a segment that is full is followed by the next one.
  Status write(std::span<const uint8_t> bytes);
  /// Segment to which the next byte goes; the number of segments when all are full.
  unsigned currentSegment() const { return current; }
  /// Ends the file when every segment is full, makes it durable and names it `path`, replacing what stood there.
  Status commit();

private:
  ArtifactWriter() = default;
  Status append(const uint8_t *bytes, size_t size);
  Status flush();
  Status writeAt(uint64_t offset, const uint8_t *bytes, size_t size);
  Status startSegment();
  void closeChunk();

  std::string path, temporary; // temporary: the name of the unnamed file's fallback, else empty
  int descriptor = -1;
  fb::ArtifactT metadata;
  std::vector<uint8_t> buffer; // one digest chunk
  size_t buffered = 0;
  uint64_t position = 0, segmentWritten = 0, total = 0, metadataSize = 0;
  unsigned current = 0;
  Progress progress = nullptr;
  void *progressContext = nullptr;
};

} // namespace mlc
