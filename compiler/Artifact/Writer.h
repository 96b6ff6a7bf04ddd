//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Writes a .mlca file: metadata first, then the segments as a stream, digests computed on the way. The file is built
// without a name in the target's directory and appears there when it is complete, so an error, a signal or a power loss
// leaves nothing behind. Memory does not grow with the file. It reaches the system in whole large pages, which file
// systems with large folios then keep as such: whoever maps the file reads it with few entries of the page tables.
//
#pragma once

#include "runtime/artifact/Header.h"
#include "runtime/core/Result.h"
#include "schema_generated.h"

#include <string>
#include <vector>

namespace mlc {

class ArtifactWriter {
public:
  /// Called after each chunk with the bytes written so far and the size of the whole file.
  using Progress = void (*)(void *context, uint64_t written, uint64_t total);

  /// `path` must not name something else than a regular file. durable: commit() waits until the disk holds the file.
  static Result<ArtifactWriter> create(const std::string &path, bool durable = true);
  ArtifactWriter(ArtifactWriter &&other) noexcept;
  ArtifactWriter &operator=(ArtifactWriter &&other) = delete;
  /// Without commit(), nothing is left of the file.
  ~ArtifactWriter();

  void setProgress(Progress callback, void *context) {
    progress = callback;
    progressContext = context;
  }

  /// Takes the metadata, whose segments say their kind and size (> 0); offsets and digests are filled in here. Reserves
  /// the whole file, so that a disk that is too small says so before the work.
  Status begin(fb::ArtifactT contents);
  /// Appends to the current segment; a segment that is full is followed by the next one.
  Status write(std::span<const uint8_t> bytes);
  /// Index of the segment to which the next byte goes; the number of segments when all are full.
  size_t currentSegment() const { return current; }
  /// Ends the file when every segment is full, makes it durable and names it `path`, replacing what stood there.
  Status commit();
  /// In place of commit(): ends the file without naming it. It may be read at readablePath() as long as the writer
  /// lives and is gone with it, however the process ends (where the file system builds unnamed files).
  Status finish();
  std::string readablePath() const;

private:
  ArtifactWriter() = default;
  Status closeChunk(const uint8_t *bytes, size_t size);
  Status append(uint64_t offset, const uint8_t *bytes, size_t size);
  Status flush();
  Status writeAt(uint64_t offset, const uint8_t *bytes, size_t size);
  Error failed(const char *what) const;

  std::string path, temporary; // temporary: the file's name where the file system builds no unnamed files, else empty
  int descriptor = -1;
  bool durable = true;
  fb::ArtifactT metadata;
  std::vector<uint8_t> chunk; // the open digest chunk of the current segment
  std::vector<uint8_t> page;  // what is not yet written of the large page from pageOffset on
  uint64_t pageOffset = 0;
  uint64_t written = 0; // bytes of the current segment in the file
  uint64_t total = 0, metadataSize = 0, synced = 0;
  size_t current = 0;
  Progress progress = nullptr;
  void *progressContext = nullptr;
};

/// Unlinks the temporary files of the process's open writers (none where the file system builds unnamed files). May be
/// called from a signal handler that ends the process.
void removePartialArtifacts();

} // namespace mlc
