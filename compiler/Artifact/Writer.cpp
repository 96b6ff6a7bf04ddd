//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Artifact/Writer.h"
#include "runtime/core/Checked.h"
#include "runtime/core/Memory.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mlc {

// Names that removePartialArtifacts() unlinks; a writer past the last place just has no entry.
static std::atomic<const char *> partialNames[8];

void removePartialArtifacts() {
  for (auto &place : partialNames)
    if (const char *name = place.load())
      unlink(name);
}

static void registerPartial(const char *name) {
  for (auto &place : partialNames) {
    const char *empty = nullptr;
    if (place.compare_exchange_strong(empty, name))
      return;
  }
}

static void forgetPartial(const char *name) {
  for (auto &place : partialNames) {
    const char *ours = name;
    place.compare_exchange_strong(ours, nullptr);
  }
}

static std::string temporaryName(const std::string &path) {
  static std::atomic<unsigned> serial{0};
  return path + ".partial-" + std::to_string(getpid()) + "-" + std::to_string(serial.fetch_add(1));
}

Error ArtifactWriter::failed(const char *what) const {
  int code = errno;
  const char *remedy = code == ENOSPC || code == EDQUOT || code == EFBIG ? "; free some space or write elsewhere" : "";
  return Error(ErrorCode::Io, "%.200s: %s: %s%s", path.c_str(), what, strerror(code), remedy);
}

Result<ArtifactWriter> ArtifactWriter::create(const std::string &path, bool durable) {
  ArtifactWriter writer;
  writer.path = path;
  writer.durable = durable;
  struct stat info;
  if (!stat(path.c_str(), &info) && !S_ISREG(info.st_mode))
    return Error(ErrorCode::InvalidArgument, "%.200s: is not a regular file; name another output", path.c_str());
  size_t slash = path.rfind('/');
  std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  writer.descriptor = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (writer.descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    // A file system without unnamed files: a name beside the target, which a signal handler can unlink.
    writer.temporary = temporaryName(path);
    writer.descriptor = open(writer.temporary.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
    if (writer.descriptor >= 0)
      registerPartial(writer.temporary.c_str());
  }
  if (writer.descriptor < 0) {
    writer.temporary.clear();
    return writer.failed("cannot create the file");
  }
  writer.chunk.reserve(kDigestChunk);
  writer.page.reserve(kLargePage);
  return writer;
}

ArtifactWriter::ArtifactWriter(ArtifactWriter &&other) noexcept
    : path(std::move(other.path)), descriptor(std::exchange(other.descriptor, -1)), durable(other.durable),
      metadata(std::move(other.metadata)), chunk(std::move(other.chunk)), page(std::move(other.page)),
      pageOffset(other.pageOffset), written(other.written), total(other.total), metadataSize(other.metadataSize),
      synced(other.synced), current(other.current), progress(other.progress), progressContext(other.progressContext) {
  // A short string moves its bytes: the registry must follow.
  if (!other.temporary.empty()) {
    forgetPartial(other.temporary.c_str());
    temporary = std::move(other.temporary);
    other.temporary.clear();
    registerPartial(temporary.c_str());
  }
}

ArtifactWriter::~ArtifactWriter() {
  if (descriptor >= 0)
    close(descriptor);
  if (!temporary.empty()) {
    unlink(temporary.c_str());
    forgetPartial(temporary.c_str());
  }
}

static void pack(const fb::ArtifactT &metadata, flatbuffers::FlatBufferBuilder &builder) {
  fb::FinishArtifactBuffer(builder, fb::Artifact::Pack(builder, &metadata));
}

Status ArtifactWriter::begin(fb::ArtifactT contents) {
  metadata = std::move(contents);
  // Any offset but 0 (a default, which FlatBuffers leaves out) and zero digests give the final size.
  for (size_t i = 0; i < metadata.segments.size(); ++i) {
    auto &segment = metadata.segments[i];
    if (!segment->size)
      return Error(ErrorCode::Internal, "%.200s: segment %zu is empty", path.c_str(), i);
    segment->offset = kMetadataOffset;
    segment->digests.assign(ceilDiv(segment->size, kDigestChunk), 0);
  }
  flatbuffers::FlatBufferBuilder builder(1 << 20);
  pack(metadata, builder);
  metadataSize = builder.GetSize();
  if (metadataSize > kMaxMetadataSize)
    return Error(ErrorCode::Unsupported, "%.200s: %llu bytes of metadata, at most %llu", path.c_str(),
                 static_cast<unsigned long long>(metadataSize), static_cast<unsigned long long>(kMaxMetadataSize));
  total = kMetadataOffset + metadataSize;
  for (auto &segment : metadata.segments) {
    segment->offset = alignUp(total, segment->kind == fb::SegmentKind::code ? kCodeAlignment : kWeightsAlignment);
    total = segment->offset + segment->size;
    if (total > uint64_t(INT64_MAX) || total < segment->size)
      return Error(ErrorCode::Unsupported, "%.200s: the segments' sizes overflow a file", path.c_str());
  }
  // Not every file system can reserve; then the write that does not fit says so.
  if (fallocate(descriptor, 0, 0, off_t(total)) && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
    return failed("cannot reserve the file");
  if (ftruncate(descriptor, off_t(total)))
    return failed("cannot size the file");
  return {};
}

Status ArtifactWriter::writeAt(uint64_t offset, const uint8_t *bytes, size_t size) {
  while (size) {
    ssize_t done = pwrite(descriptor, bytes, size, off_t(offset));
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0) {
      if (!done)
        errno = ENOSPC;
      return failed("cannot write");
    }
    bytes += done;
    offset += uint64_t(done);
    size -= size_t(done);
  }
  return {};
}

Status ArtifactWriter::flush() {
  MLC_TRY(writeAt(pageOffset, page.data(), page.size()));
  pageOffset += page.size();
  page.clear();
  // Write-back starts while the next chunks are made, so the sync at the end is short.
  constexpr uint64_t kSyncEvery = 8 << 20;
  if (durable && pageOffset >= synced + kSyncEvery) {
    sync_file_range(descriptor, off_t(synced), off_t(pageOffset - synced), SYNC_FILE_RANGE_WRITE);
    synced = pageOffset;
  }
  return {};
}

// `offset` is never before what was appended last.
Status ArtifactWriter::append(uint64_t offset, const uint8_t *bytes, size_t size) {
  if (offset != pageOffset + page.size()) {
    MLC_TRY(flush());
    pageOffset = offset;
  }
  while (size) {
    uint64_t rest = kLargePage - (pageOffset + page.size()) % kLargePage;
    size_t take = size_t(size < rest ? size : rest);
    page.insert(page.end(), bytes, bytes + take);
    bytes += take;
    size -= take;
    if (take == rest)
      MLC_TRY(flush());
  }
  return {};
}

// A complete digest chunk of the current segment, or the segment's last.
Status ArtifactWriter::closeChunk(const uint8_t *bytes, size_t size) {
  fb::SegmentT &segment = *metadata.segments[current];
  segment.digests[written / kDigestChunk] = digest64({bytes, size});
  MLC_TRY(append(segment.offset + written, bytes, size));
  written += size;
  uint64_t position = segment.offset + written;
  if (written == segment.size) {
    ++current;
    written = 0;
  }
  if (progress)
    progress(progressContext, position, total);
  return {};
}

Status ArtifactWriter::write(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (current == metadata.segments.size())
      return Error(ErrorCode::Internal, "%.200s: %zu bytes too many for the segments", path.c_str(), bytes.size());
    uint64_t rest = metadata.segments[current]->size - written;
    size_t target = size_t(rest < kDigestChunk ? rest : kDigestChunk);
    if (chunk.empty() && bytes.size() >= target) {
      MLC_TRY(closeChunk(bytes.data(), target));
      bytes = bytes.subspan(target);
      continue;
    }
    size_t take = target - chunk.size() < bytes.size() ? target - chunk.size() : bytes.size();
    chunk.insert(chunk.end(), bytes.begin(), bytes.begin() + ptrdiff_t(take));
    bytes = bytes.subspan(take);
    if (chunk.size() == target) {
      MLC_TRY(closeChunk(chunk.data(), target));
      chunk.clear();
    }
  }
  return {};
}

Status ArtifactWriter::finish() {
  if (current != metadata.segments.size())
    return Error(ErrorCode::Internal, "%.200s: segment %zu of %zu is not full", path.c_str(), current,
                 metadata.segments.size());
  MLC_TRY(flush());
  flatbuffers::FlatBufferBuilder builder(metadataSize + 4096);
  pack(metadata, builder);
  if (builder.GetSize() != metadataSize)
    return Error(ErrorCode::Internal, "%.200s: the metadata changed its size", path.c_str());
  ArtifactHeader header{};
  memcpy(header.magic, kArtifactMagic, sizeof header.magic);
  header.version = kArtifactVersion;
  header.fileSize = total;
  header.metadataOffset = kMetadataOffset;
  header.metadataSize = metadataSize;
  header.metadataDigest = digest64({builder.GetBufferPointer(), builder.GetSize()});
  header.headerDigest = headerDigest(header);
  MLC_TRY(writeAt(0, reinterpret_cast<const uint8_t *>(&header), sizeof header));
  MLC_TRY(writeAt(kMetadataOffset, builder.GetBufferPointer(), metadataSize));
  return {};
}

std::string ArtifactWriter::readablePath() const {
  return temporary.empty() ? "/proc/self/fd/" + std::to_string(descriptor) : temporary;
}

Status ArtifactWriter::commit() {
  MLC_TRY(finish());
  if (durable && fsync(descriptor))
    return failed("cannot write");

  // No signal may end the process between the two names.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool linked = !temporary.empty();
  std::string name = linked ? temporary : temporaryName(path);
  if (!linked) {
    linked = !linkat(AT_FDCWD, readablePath().c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW);
  }
  bool renamed = linked && !rename(name.c_str(), path.c_str());
  int code = errno;
  if (linked && !renamed)
    unlink(name.c_str());
  if (renamed && !temporary.empty()) {
    forgetPartial(temporary.c_str());
    temporary.clear();
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = code;
  if (!renamed)
    return failed("cannot name the file");
  close(std::exchange(descriptor, -1));
  return {};
}

} // namespace mlc
