//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The interface between the plan interpreter and the kernels of a target. A kernel is one function over typed tensor
// views, a POD attribute struct of the schema and the worker pool. check() sees the bounds at load and must accept only
// calls whose every memory access run() can then make; run() trusts it.
//
#pragma once

#include "runtime/core/WorkerPool.h"
#include "schema_generated.h"

#include <span>

namespace mlc {

using fb::DType;
class Artifact;
class Device;
class DeviceStream;

constexpr unsigned kMaxRank = 8;
/// Devices that run a plan together.
constexpr unsigned kMaxRanks = 8;
constexpr int64_t kPagePositions = 64;
/// Positions of a page of recurrent states, which begin at its multiples.
constexpr int64_t kRecurrentPage = 16;

/// Bytes of one element.
constexpr size_t dtypeSize(DType type) {
  switch (type) {
  case DType::f64:
  case DType::i64:
  case DType::u64:
    return 8;
  case DType::f32:
  case DType::i32:
  case DType::u32:
    return 4;
  case DType::f16:
  case DType::bf16:
  case DType::i16:
  case DType::u16:
    return 2;
  default:
    return 1;
  }
}

/// A typed, strided view of memory; dims and strides in elements.
struct TensorView {
  void *data = nullptr;
  DType dtype = DType::f32;
  uint8_t rank = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};

  template <typename T> T *as() const { return static_cast<T *>(data); }
  /// Start of row `i` of the leading axis.
  template <typename T> T *row(int64_t i) const { return static_cast<T *>(data) + i * strides[0]; }
};

/// One sequence's share of a step: tokens [firstRow, firstRow + length) stand at positions firstPosition, ... .
struct BatchSegment {
  uint32_t sequence;     // The session's id of the sequence.
  int32_t firstRow;      // Row of its first token in the step.
  int32_t length;        // Tokens of this step; >= 1.
  int64_t firstPosition; // Position of its first token in the sequence.
  int64_t formLength;    // Length of the complete prompt, which fixes a RoPE form that depends on length.
};

/// The ragged batch of a step. Segments lie in row order without gaps.
struct BatchView {
  std::span<const BatchSegment> segments;
  int64_t tokens = 0;
};

/// A paged KV state as a kernel sees it in one step. Pages of segment s: pages[s][position / kPagePositions]; the pages
/// that hold the segment's positions, this step's included, are allocated and writable where this step writes. With a
/// window, pages wholly before the window may be kNoPage. What lies in a page is the target's (KvLayout).
struct KvStateView {
  static constexpr uint32_t kNoPage = ~0u;
  uint8_t *pool = nullptr;
  size_t pageBytes = 0;
  const uint32_t *const *pages = nullptr;
  uint32_t state = 0; // Its index in the artifact.
  fb::KvSpec spec;

  uint8_t *page(size_t segment, int64_t index) const { return pool + size_t(pages[segment][index]) * pageBytes; }
};

/// How a target lays out a KV page, and its canonical form: [kv_head][position][head_dim] of K, then of V, in the KV
/// type; int8 has its f32 scales [kv_head][position] after each.
struct KvLayout {
  size_t (*pageBytes)(const fb::KvSpec &spec);
  /// Copies positions [begin, end) (within the page) between a page and canonical rows, where `canonical` holds
  /// end - begin positions.
  void (*toCanonical)(const fb::KvSpec &spec, const uint8_t *page, unsigned begin, unsigned end, uint8_t *canonical);
  void (*fromCanonical)(const fb::KvSpec &spec, uint8_t *page, unsigned begin, unsigned end, const uint8_t *canonical);
};
/// Bytes of `positions` positions in canonical form.
size_t kvCanonicalBytes(const fb::KvSpec &spec, size_t positions);

/// What a step leaves of one page of a segment's recurrent states.
struct RecurrentPage {
  uint32_t log;  // The block that takes the log entries of this step's tokens; kNoBlock: they are not kept.
  uint32_t base; // The block that takes the state behind the page, which this step fills; kNoBlock: it is not kept.
};

/// Pages of recurrent states that a segment touches.
constexpr int64_t recurrentPages(const BatchSegment &segment) {
  return (segment.firstPosition % kRecurrentPage + segment.length + kRecurrentPage - 1) / kRecurrentPage;
}
/// And those of a step at most.
constexpr int64_t mostRecurrentPages(int64_t tokens, int64_t segments) {
  return tokens / kRecurrentPage + 2 * segments;
}

/// The recurrent states of one segment in one step. Its first token stands in page firstPosition / kRecurrentPage at
/// entry firstPosition % kRecurrentPage.
struct RecurrentSegment {
  uint32_t base;              // The state before that page; kNoBlock: zeros, the page begins at position 0.
  uint32_t log;               // Entries [0, firstPosition % kRecurrentPage) of that page; kNoBlock when there are none.
  const RecurrentPage *pages; // Pages that the segment touches, in order; the first may write into `log` itself.
};

/// A recurrent state as a kernel sees it in one step: blocks of bases and of log pages, of which segment s reads and
/// writes what segments[s] says. A base is never written while it is read; log entries are only appended. What lies in
/// a base is the target's (RecurrentLayout); a log page is [kRecurrentPage][logStride] f32, as the schema says.
struct RecurrentStateView {
  static constexpr uint32_t kNoBlock = ~0u;
  uint8_t *bases = nullptr; // Of this state, in block 0.
  size_t baseStride = 0;    // Bytes from block to block.
  uint8_t *logs = nullptr;
  size_t logBlockStride = 0; // Bytes from block to block.
  size_t logStride = 0;      // Values from entry to entry.
  const RecurrentSegment *segments = nullptr;
  const fb::State *state = nullptr;

  uint8_t *base(uint32_t block) const { return bases + size_t(block) * baseStride; }
  float *log(uint32_t block, int64_t entry) const {
    return reinterpret_cast<float *>(logs + size_t(block) * logBlockStride) + size_t(entry) * logStride;
  }
};

/// How a target lays out the base of a recurrent state. Canonical: conv [kernel - 1][channels] f32, the oldest column
/// first; ssm [heads][head_dim][state] in the base's type.
struct RecurrentLayout {
  size_t (*baseBytes)(const fb::State &state);
  void (*toCanonical)(const fb::State &state, const uint8_t *base, uint8_t *canonical);
  void (*fromCanonical)(const fb::State &state, uint8_t *base, const uint8_t *canonical);
};
/// Bytes of a base in canonical form.
uint64_t recurrentCanonicalBytes(const fb::State &state);
inline bool isRecurrent(const fb::State &state) {
  return state.kind() == fb::StateKind::conv || state.kind() == fb::StateKind::ssm;
}

/// What check() and scratch() know at load: views hold the largest extents, no data; segments' views lie inside their
/// segment, arena views inside the arena.
struct KernelCallInfo {
  std::span<const TensorView> inputs, outputs;
  /// Axis 0 follows the extent `tokens` (then it equals BatchView::tokens at run time).
  std::span<const bool> inputFollowsTokens, outputFollowsTokens;
  /// It lies in a segment, where nothing changes.
  std::span<const bool> inputConstant;
  std::span<const fb::State *const> states;
  fb::KernelAttrs attrsType = fb::KernelAttrs::NONE;
  const void *attrs = nullptr;
  int64_t maxTokens = 0, maxRows = 0, maxSequences = 0, maxPositions = 0;
  unsigned workers = 1, ranks = 1; // ranks: devices that run the plan together.

  /// The attribute struct if it is a T (T's union tag is `tag`), else null.
  template <typename T> const T *attrsAs() const {
    return attrsType == fb::KernelAttrsTraits<T>::enum_value ? static_cast<const T *>(attrs) : nullptr;
  }
};

/// Bytes; 64 bits everywhere, so that a need beyond the address space is seen.
struct ScratchNeed {
  uint64_t shared = 0, perWorker = 0;
};

/// One call at run time.
struct KernelContext {
  std::span<const TensorView> inputs, outputs;
  // By the call's states; one of another kind is empty.
  std::span<const KvStateView> kvStates;
  std::span<const RecurrentStateView> recurrentStates;
  const BatchView *batch = nullptr;
  const void *attrs = nullptr;
  WorkerPool *pool = nullptr;
  DeviceStream *stream = nullptr; // Of a device: views are its memory, and run() enqueues.
  uint8_t *sharedScratch = nullptr;
  uint8_t *workerScratch = nullptr; // workerScratch + worker * workerStride
  size_t workerStride = 0;
  std::span<const uint8_t> arena; // In which views lie, unless a caller moved them.
  void *prepared = nullptr;       // What KernelDef::prepare made of this call.
  bool *failed = nullptr;         // A kernel that could not run sets it; the step then fails.

  template <typename T> const T &attrsAs() const { return *static_cast<const T *>(attrs); }
  uint8_t *scratchOf(unsigned worker) const { return workerScratch + worker * workerStride; }
};

/// ISA forms, by rising preference inside a family; each includes the ones before it.
enum class Isa : uint8_t {
  portable = 0,
  // x86-64: AVX2 with FMA and F16C; byte products of 256 bits; AVX-512 F, BW, VL, DQ with VNNI; bf16 products; AMX
  // tiles of bytes.
  avx2 = 1,
  avxvnni = 2,
  avx512vnni = 3,
  avx512bf16 = 4,
  amx = 5,
  // aarch64: sdot; usdot of unsigned and signed bytes; bfdot.
  dotprod = 16,
  i8mm = 17,
  bf16 = 18,
};

struct KernelDef {
  const char *name;
  uint32_t version;
  Isa isa;
  /// Names the first thing that does not hold; run() may then rely on all of it.
  Status (*check)(const KernelCallInfo &);
  ScratchNeed (*scratch)(const KernelCallInfo &); // null: none
  void (*run)(const KernelContext &);
  /// Of a kernel in a library of its own: loads that, or says what is missing and the remedy.
  Status (*available)() = nullptr;
  /// Of a kernel that packs and sets up when an executor is made: constants have data, and `workers` are the pool's.
  Result<void *> (*prepare)(const KernelCallInfo &) = nullptr;
  void (*release)(void *prepared) = nullptr;
};

/// Which device, and whether it compares the digests of the weights that it uploads.
struct DeviceOptions {
  unsigned ordinal = 0;
  unsigned rank = 0; // Among those that run the plan together: whose weights it has.
  bool compareDigests = true;
};

/// The kernels of a target and its layouts of states.
struct TargetRegistry {
  std::span<const KernelDef *const> kernels;
  KvLayout kvLayout;
  RecurrentLayout recurrentLayout;
  // Of a device: Target.isa_family of its artifacts, and how it is opened (Device.h). Null: the host's CPU.
  const char *family = nullptr;
  Result<Device *> (*open)(const Artifact &artifact, const DeviceOptions &options,
                           const Allocator &allocator) = nullptr;
  // Lets devices that run one plan together, by rank, give each other values.
  Status (*join)(std::span<Device *const> devices) = nullptr;
};

/// The CPU target. Defined in targets/cpu/Registry.cpp.
const TargetRegistry &cpuTarget();
/// Target.isa_family of artifacts for NVIDIA's GPUs.
constexpr const char *kCudaFamily = "cuda";
/// The module of a GPU's images that hold compiled regions; all others hold kernels.
constexpr const char *kRegionModule = "regions";
inline bool isRegions(const fb::Image &image) { return image.module_()->string_view() == kRegionModule; }
/// The CUDA target. Defined in targets/cuda/Registry.cpp; not part of builds without dlopen or of 32 bits.
const TargetRegistry &cudaTarget();
/// The target that an artifact is made for; Unsupported when this build has none of that name. targets/Targets.cpp.
Result<const TargetRegistry *> findTarget(const fb::Artifact &metadata);
/// The best form this machine runs; limitedIsa (targets/cpu/Isa.h) lowers it.
Isa machineIsa();
/// The form of `name` at `version` for `isa` or the nearest below; null when there is none.
const KernelDef *findKernel(const TargetRegistry &target, const char *name, uint32_t version, Isa isa);

} // namespace mlc
