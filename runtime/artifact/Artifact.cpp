//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/artifact/Artifact.h"
#include "runtime/artifact/Checks.h"
#include "runtime/exec/Kernel.h"

#include <atomic>
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mlc {

// FlatBuffers' own recursion: an op nests by three tables, and Verifier.h allows 16 blocks.
static constexpr unsigned kMaxTableDepth = 80;
static constexpr unsigned kMaxTables = 8 << 20;
static constexpr unsigned kMaxSegments = 4096;

// Features of this version, by their names in required_features.
static constexpr const char *kFeatures[] = {"code", "cuda", "cuda_regions", "extent_rules", "tensor_parallel"};

static const char *errnoText() { return strerror(errno); }
using ull = unsigned long long;

Artifact::Artifact(Artifact &&other) noexcept { *this = std::move(other); }

Artifact &Artifact::operator=(Artifact &&other) noexcept {
  std::swap(file, other.file);
  std::swap(mapped, other.mapped);
  std::swap(root, other.root);
  std::swap(codeMaps, other.codeMaps);
  std::swap(displayName, other.displayName);
  return *this;
}

Artifact::~Artifact() {
  for (CodeMap &map : codeMaps)
    if (map.data)
      munmap(const_cast<uint8_t *>(map.data), map.size);
  if (mapped)
    munmap(const_cast<uint8_t *>(file.data()), file.size());
}

std::span<const uint8_t> Artifact::segment(unsigned index) const {
  for (const CodeMap &map : codeMaps)
    if (map.segment == index)
      return {map.data, map.size};
  const fb::Segment &segment = *root->segments()->Get(index);
  return file.subspan(size_t(segment.offset()), size_t(segment.size()));
}

Status Artifact::setName(const char *path, const Allocator &allocator) {
  Printable printable(path);
  size_t length = strlen(printable.c_str()) + 1;
  MLC_ASSIGN(displayName, OwnedArray<char>::create(allocator, length, "file name"));
  memcpy(displayName.data(), printable.c_str(), length);
  return {};
}

Status Artifact::checkHeader() {
  if (file.size() < sizeof(ArtifactHeader))
    return MLC_REFUSE(FileSize, ErrorCode::Corrupt, "%s: ends at byte %zu, inside the 64-byte header; copy it again",
                      name(), file.size());
  const ArtifactHeader &head = header();
  if (memcmp(head.magic, kArtifactMagic, sizeof head.magic))
    return MLC_REFUSE(Magic, ErrorCode::Corrupt,
                      "%s: byte 0: not an mlc artifact (no MLCA magic); make one with mlc compile", name());
  if (head.headerDigest != headerDigest(head))
    return MLC_REFUSE(HeaderDigest, ErrorCode::Corrupt,
                      "%s: bytes 0 to 63: the header is damaged (digest); copy it again", name());
  if (head.version != kArtifactVersion)
    return MLC_REFUSE(Version, ErrorCode::Unsupported,
                      "%s: byte 4: format version %u, this runtime reads %u; use the mlc release that wrote it", name(),
                      head.version, kArtifactVersion);
  if (head.reserved[0] || head.reserved[1])
    return MLC_REFUSE(Reserved, ErrorCode::Unsupported, "%s: byte 40: reserved header fields are set; use a newer mlc",
                      name());
  if (head.fileSize != file.size())
    return MLC_REFUSE(DeclaredSize, ErrorCode::Corrupt,
                      "%s: %s at byte %llu, the header says %llu bytes; copy it again", name(),
                      file.size() < head.fileSize ? "truncated" : "trailing bytes",
                      ull(file.size() < head.fileSize ? file.size() : head.fileSize), ull(head.fileSize));
  if (head.metadataOffset != kMetadataOffset || head.metadataSize > kMaxMetadataSize ||
      !extentInside(head.metadataOffset, head.metadataSize, file.size()))
    return MLC_REFUSE(MetadataExtent, ErrorCode::Corrupt, "%s: byte 16: metadata of %llu bytes at %llu is out of range",
                      name(), ull(head.metadataSize), ull(head.metadataOffset));
  return {};
}

// FlatBuffers checks the alignment of a vector's length field only.
template <typename T> static bool elementsAligned(const T *vector, size_t alignment) {
  return !vector || reinterpret_cast<uintptr_t>(vector->Data()) % alignment == 0;
}

Status Artifact::checkMetadata() {
  auto bytes = file.subspan(kMetadataOffset, size_t(header().metadataSize));
  if (digest64(bytes) != header().metadataDigest)
    return MLC_REFUSE(MetadataDigest, ErrorCode::Corrupt,
                      "%s: bytes 64 to %llu: the metadata is damaged (digest); copy it again", name(),
                      ull(kMetadataOffset + bytes.size() - 1));
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), kMaxTableDepth, kMaxTables);
  if (!fb::VerifyArtifactBuffer(verifier))
    return MLC_REFUSE(MetadataStructure, ErrorCode::Corrupt, "%s: byte 64: the metadata is not a valid FlatBuffer",
                      name());
  root = fb::GetArtifact(bytes.data());

  bool aligned = true;
  if (auto *segments = root->segments())
    for (const fb::Segment *segment : *segments)
      aligned = aligned && elementsAligned(segment->digests(), 8);
  if (auto *slots = root->slots())
    for (const fb::Slot *slot : *slots)
      aligned = aligned && elementsAligned(slot->dims(), 8) && elementsAligned(slot->strides(), 8);
  if (auto *states = root->states())
    for (const fb::State *state : *states)
      aligned = aligned && (!state->recurrent() || elementsAligned(state->recurrent()->dims(), 8));
  if (auto *tokenizer = root->tokenizer())
    aligned = aligned && elementsAligned(tokenizer->joins(), 8) && elementsAligned(tokenizer->scores(), 8);
  if (!aligned)
    return MLC_REFUSE(VectorAlignment, ErrorCode::Corrupt, "%s: byte 64: a vector of the metadata is misaligned",
                      name());

  if (auto *features = root->required_features())
    for (const flatbuffers::String *feature : *features) {
      bool known = false;
      for (const char *ours : kFeatures)
        known = known || feature->string_view() == ours;
      if (!known)
        return MLC_REFUSE(RequiredFeature, ErrorCode::Unsupported, "%s: needs the feature '%s'; use a newer mlc",
                          name(), Printable(feature->c_str()).c_str());
    }
  return {};
}

Status Artifact::checkSegments() {
  uint64_t end = kMetadataOffset + header().metadataSize;
  unsigned count = segmentCount();
  if (count > kMaxSegments)
    return MLC_REFUSE(SegmentSize, ErrorCode::Corrupt, "%s: %u segments, at most %u", name(), count, kMaxSegments);
  for (unsigned i = 0; i < count; ++i) {
    const fb::Segment &segment = *root->segments()->Get(i);
    if (segment.kind() > fb::SegmentKind::MAX)
      return MLC_REFUSE(SegmentKind, ErrorCode::Unsupported, "%s: segment %u has the unknown kind %u; use a newer mlc",
                        name(), i, unsigned(segment.kind()));
    if (!segment.size())
      return MLC_REFUSE(SegmentSize, ErrorCode::Corrupt, "%s: segment %u is empty", name(), i);
    // end <= file size here, so rounding up cannot overflow.
    uint64_t start = alignUp(end, segment.kind() == fb::SegmentKind::code ? kCodeAlignment : kWeightsAlignment);
    if (segment.offset() != start)
      return MLC_REFUSE(SegmentOffset, ErrorCode::Corrupt, "%s: segment %u is at byte %llu, not at %llu", name(), i,
                        ull(segment.offset()), ull(start));
    if (!extentInside(start, segment.size(), file.size()))
      return MLC_REFUSE(SegmentEnd, ErrorCode::Corrupt, "%s: segment %u of %llu bytes at byte %llu leaves the file",
                        name(), i, ull(segment.size()), ull(start));
    for (uint64_t byte = end; byte < start; ++byte)
      if (file[size_t(byte)])
        return MLC_REFUSE(Padding, ErrorCode::Corrupt, "%s: byte %llu: padding is not zero; copy it again", name(),
                          ull(byte));
    auto *digests = segment.digests();
    if ((digests ? digests->size() : 0) != ceilDiv(segment.size(), kDigestChunk))
      return MLC_REFUSE(DigestCount, ErrorCode::Corrupt, "%s: segment %u of %llu bytes has %u digests", name(), i,
                        ull(segment.size()), digests ? digests->size() : 0);
    end = start + segment.size();
  }
  if (end != file.size())
    return MLC_REFUSE(FileEnd, ErrorCode::Corrupt, "%s: trailing bytes at byte %llu of %zu; copy it again", name(),
                      ull(end), file.size());
  return {};
}

// Plain faults here: they map what lies around in one go, and measured twice as fast as populating ahead.
Status Artifact::checkDigests(WorkerPool *pool, bool deferWeights) const {
  for (unsigned i = 0; i < segmentCount(); ++i) {
    const fb::Segment &table = *root->segments()->Get(i);
    if (deferWeights && table.kind() == fb::SegmentKind::weights)
      continue;
    std::span<const uint8_t> bytes = segment(i);
    const flatbuffers::Vector<uint64_t> &digests = *table.digests();
    std::atomic<int64_t> damaged{INT64_MAX};
    auto check = [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        auto part = bytes.subspan(size_t(chunk) * kDigestChunk);
        part = part.first(part.size() < kDigestChunk ? part.size() : kDigestChunk);
        if (digest64(part) == digests.Get(unsigned(chunk)))
          continue;
        int64_t seen = damaged.load(std::memory_order_relaxed);
        while (chunk < seen && !damaged.compare_exchange_weak(seen, chunk, std::memory_order_relaxed)) {
        }
      }
    };
    if (pool)
      pool->parallelFor(digests.size(), 4, check);
    else
      check(0, digests.size(), 0);
    int64_t chunk = damaged.load(std::memory_order_relaxed);
    if (chunk == INT64_MAX)
      continue;
    return damagedPiece(i, uint64_t(chunk));
  }
  return {};
}

Error Artifact::damagedPiece(unsigned index, uint64_t chunk) const {
  const fb::Segment &table = *root->segments()->Get(index);
  uint64_t first = chunk * kDigestChunk, last = first + kDigestChunk;
  last = last < table.size() ? last : table.size();
  return MLC_REFUSE(SegmentDigest, ErrorCode::Corrupt,
                    "%s: bytes %llu to %llu: segment %u is damaged (digest); copy it again", name(),
                    ull(table.offset() + first), ull(table.offset() + last - 1), index);
}

Status Artifact::checkPiece(unsigned index, uint64_t offset, std::span<const uint8_t> bytes) const {
  const flatbuffers::Vector<uint64_t> &digests = *root->segments()->Get(index)->digests();
  for (uint64_t chunk = offset / kDigestChunk; !bytes.empty(); ++chunk) {
    size_t part = bytes.size() < kDigestChunk ? bytes.size() : kDigestChunk;
    if (digest64(bytes.first(part)) != digests.Get(unsigned(chunk)))
      return damagedPiece(index, chunk);
    bytes = bytes.subspan(part);
  }
  return {};
}

bool Artifact::isFor(const char *family) const {
  const fb::Target *target = root->target();
  return target && target->isa_family() && target->isa_family()->string_view() == family;
}

Status Artifact::mapCode(int descriptor, const Allocator &allocator) {
  unsigned count = 0;
  for (unsigned i = 0; i < segmentCount(); ++i)
    count += root->segments()->Get(i)->kind() == fb::SegmentKind::code;
  if (!count)
    return {};
  if (descriptor < 0)
    return MLC_REFUSE(CodeAllowed, ErrorCode::Unsupported, "%s: code objects run from a file only; open it by its path",
                      name());
  MLC_ASSIGN(codeMaps, OwnedArray<CodeMap>::create(allocator, count, "code segments"));
  CodeMap *map = codeMaps.data();
  for (unsigned i = 0; i < segmentCount(); ++i) {
    const fb::Segment &segment = *root->segments()->Get(i);
    if (segment.kind() != fb::SegmentKind::code)
      continue;
    void *memory =
        mmap(nullptr, size_t(segment.size()), PROT_READ | PROT_EXEC, MAP_PRIVATE, descriptor, off_t(segment.offset()));
    if (memory == MAP_FAILED)
      return Error(ErrorCode::Io, "%s: the system refused to map code segment %u: %s; compile with --code none", name(),
                   i, errnoText());
    *map++ = {i, static_cast<const uint8_t *>(memory), size_t(segment.size())};
  }
  return {};
}

Result<Artifact> Artifact::open(const char *path, const LoadOptions &options, const Allocator &allocator) {
  struct Descriptor {
    int value;
    ~Descriptor() {
      if (value >= 0)
        close(value);
    }
  };
  Artifact artifact;
  MLC_TRY(artifact.setName(path, allocator));
  Descriptor descriptor{::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (descriptor.value < 0)
    return Error(errno == ENOENT ? ErrorCode::NotFound : ErrorCode::Io, "%s: %s", artifact.name(), errnoText());
  struct stat info;
  if (fstat(descriptor.value, &info))
    return Error(ErrorCode::Io, "%s: %s", artifact.name(), errnoText());
  if (!S_ISREG(info.st_mode))
    return Error(ErrorCode::InvalidArgument, "%s: not a regular file; name an artifact made by mlc compile",
                 artifact.name());
  // From here on every extent inside the file fits size_t.
  if (uint64_t(info.st_size) > kMaxObjectBytes)
    return Error(ErrorCode::Unsupported,
                 "%s: %llu bytes, more than the %llu that a 32-bit program can map; use a 64-bit system, or compile it "
                 "smaller (--quant int4)",
                 artifact.name(), ull(info.st_size), ull(kMaxObjectBytes));
  if (uint64_t(info.st_size) >= sizeof(ArtifactHeader)) {
    // Only advice, for a file that is not in the page cache.
    posix_fadvise(descriptor.value, 0, 0, POSIX_FADV_SEQUENTIAL);
    void *memory = mmap(nullptr, size_t(info.st_size), PROT_READ, MAP_PRIVATE, descriptor.value, 0);
    if (memory == MAP_FAILED)
      return Error(ErrorCode::Io, "%s: cannot map %llu bytes: %s", artifact.name(), ull(info.st_size), errnoText());
    // What is read from the disk now comes in large pages where the file system has them.
    (void)madvise(memory, size_t(info.st_size), MADV_HUGEPAGE);
    artifact.mapped = true;
    artifact.file = {static_cast<const uint8_t *>(memory), size_t(info.st_size)};
  } else {
    artifact.file = {static_cast<const uint8_t *>(nullptr), size_t(info.st_size)};
  }
  MLC_TRY(artifact.check(descriptor.value, options, allocator));
  return artifact;
}

Result<Artifact> Artifact::fromMemory(std::span<const uint8_t> bytes, const LoadOptions &options,
                                      const Allocator &allocator, const char *name) {
  Artifact artifact;
  MLC_TRY(artifact.setName(name, allocator));
  if (reinterpret_cast<uintptr_t>(bytes.data()) % kWeightsAlignment)
    return Error(ErrorCode::InvalidArgument, "%s: the bytes must be aligned to %llu", artifact.name(),
                 ull(kWeightsAlignment));
  artifact.file = bytes;
  MLC_TRY(artifact.check(-1, options, allocator));
  return artifact;
}

Status Artifact::check(int descriptor, const LoadOptions &options, const Allocator &allocator) {
  MLC_TRY(checkHeader());
  MLC_TRY(checkMetadata());
  MLC_TRY(checkSegments());
  bool code = root->codes() && root->codes()->size();
  for (unsigned i = 0; i < segmentCount(); ++i)
    code = code || root->segments()->Get(i)->kind() != fb::SegmentKind::weights;
  if (code && !options.allowCode)
    return MLC_REFUSE(
        CodeAllowed, ErrorCode::Unsupported,
        "%s: carries code objects and they are not allowed here; compile it with --code none --target cpu", name());
  MLC_TRY(mapCode(descriptor, allocator));
  return options.verifyDigests ? checkDigests(options.pool, options.deferWeights && isFor(kCudaFamily)) : Status();
}

bool isOfOtherRank(const fb::Artifact &metadata, uint32_t segment) {
  if (metadata.ranks() > 1)
    for (const fb::Segment *each : *metadata.segments())
      for (uint32_t i = 0; each->of_ranks() && i < each->of_ranks()->size(); ++i)
        if (each->of_ranks()->Get(i) == segment)
          return true;
  return false;
}

uint64_t bytesOfOtherRanks(const fb::Artifact &metadata) {
  uint64_t bytes = 0;
  if (metadata.ranks() > 1)
    for (uint32_t i = 0; i < metadata.segments()->size(); ++i)
      bytes += isOfOtherRank(metadata, i) ? metadata.segments()->Get(i)->size() : 0;
  return bytes;
}

} // namespace mlc
