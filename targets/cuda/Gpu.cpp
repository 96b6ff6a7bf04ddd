//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/Gpu.h"

#include "targets/cuda/ImageContract.h"

#include "targets/cuda/Stream.h"
#include "targets/cuda/device/Args.h"

#include <time.h>

namespace mlc::cuda {

#define MLC_CUDA_NAME(NAME, ARGS) #NAME,
static constexpr const char *kNames[] = {MLC_CUDA_FUNCTIONS(MLC_CUDA_NAME)};
#undef MLC_CUDA_NAME
static_assert(sizeof kNames / sizeof *kNames == kFunctions);
const char *functionName(Function function) { return kNames[unsigned(function)]; }

static void *allocateOnDevice(void *gpu, size_t size, size_t) {
  auto &self = *static_cast<const Gpu *>(gpu);
  CuPointer memory = 0;
  if (!self.use() || self.driver().memAlloc(&memory, size) != CUDA_SUCCESS)
    return nullptr;
  // In the order of a null stream, which every other call of this thread comes behind.
  if (self.driver().memsetAsync(memory, 0, size, nullptr) == CUDA_SUCCESS &&
      self.driver().streamSynchronize(nullptr) == CUDA_SUCCESS)
    return reinterpret_cast<void *>(memory);
  (void)self.driver().memFree(memory);
  return nullptr;
}
static void releaseOnDevice(void *gpu, void *memory, size_t) {
  auto &self = *static_cast<const Gpu *>(gpu);
  if (self.use())
    (void)self.driver().memFree(reinterpret_cast<CuPointer>(memory));
}

static void *allocatePinned(void *gpu, size_t size, size_t) {
  auto &self = *static_cast<const Gpu *>(gpu);
  void *memory = nullptr;
  if (!self.use() || self.driver().memHostAlloc(&memory, size, 0) != CUDA_SUCCESS)
    return nullptr;
  memset(memory, 0, size);
  return memory;
}
static void releasePinned(void *gpu, void *memory, size_t) {
  auto &self = *static_cast<const Gpu *>(gpu);
  if (self.use())
    (void)self.driver().memFreeHost(memory);
}

/// The choice among images for a device.
struct Best {
  int capability, rank = 0;
  /// Whether one of `arch` suits the device better than all that came before.
  bool improvesBy(std::string_view arch) {
    const int its = archRank(parseArch(arch), capability);
    const bool better = its > rank;
    rank = better ? its : rank;
    return better;
  }
};

Result<Gpu *> Gpu::create(const DeviceOptions &options, const Allocator &allocator) {
  void *memory = allocator.allocate(allocator.context, sizeof(Gpu), alignof(Gpu));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for a device");
  auto *made = new (memory) Gpu;
  made->allocator = allocator;
  made->deviceMemory = {allocateOnDevice, releaseOnDevice, made};
  made->pinnedMemory = {allocatePinned, releasePinned, made};
  made->compareDigests = options.compareDigests;
  made->rank = options.rank;
  return made;
}

Result<Device *> Gpu::open(const Artifact &artifact, const DeviceOptions &options, const Allocator &allocator) {
  MLC_ASSIGN(Gpu * made, create(options, allocator));
  Owned<Device> gpu(made);
  MLC_TRY(made->start(options));
  MLC_TRY(made->loadImages(artifact));
  MLC_TRY(made->upload(artifact));
  return gpu.release();
}

Result<Device *> Gpu::open(std::span<const Image> images, const DeviceOptions &options, const Allocator &allocator) {
  MLC_ASSIGN(Gpu * made, create(options, allocator));
  Owned<Device> gpu(made);
  MLC_TRY(made->start(options));
  const Image *best = nullptr;
  Best choice{made->capability};
  for (const Image &image : images)
    if (choice.improvesBy(image.arch))
      best = &image;
  if (!best)
    return Error(ErrorCode::Unsupported, "no kernels for %s", made->name);
  MLC_TRY(made->loadKernels(best->arch, best->bytes.data()));
  return gpu.release();
}

Gpu::~Gpu() {
  if (!context)
    return;
  if (NcclComm left = communicator.exchange(nullptr); left && use())
    (void)nccl.commDestroy(left);
  if (use()) {
    for (uint8_t *segment : segments)
      if (segment)
        (void)calls.memFree(reinterpret_cast<CuPointer>(segment));
    for (CuModule each : {module, regionModule})
      if (each)
        (void)calls.moduleUnload(each);
  }
  (void)calls.primaryCtxRelease(device);
}

void Gpu::release() {
  Allocator from = allocator;
  this->~Gpu();
  from.release(from.context, this, sizeof(Gpu));
}

Status Gpu::use() const { return calls.check(calls.ctxSetCurrent(context), "the GPU's context"); }

Status Gpu::start(const DeviceOptions &options) {
  MLC_ASSIGN(calls, Driver::load());
  int count = 0;
  MLC_TRY(calls.check(calls.deviceGetCount(&count), "the number of GPUs"));
  if (options.ordinal >= unsigned(count))
    return Error(ErrorCode::NotFound, "GPU %u: this machine has %d", options.ordinal, count);
  MLC_TRY(calls.check(calls.deviceGet(&device, int(options.ordinal)), "the GPU"));
  int major = 0, minor = 0;
  char product[64] = "";
  MLC_TRY(calls.check(calls.deviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device),
                      "the GPU's architecture"));
  MLC_TRY(calls.check(calls.deviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device),
                      "the GPU's architecture"));
  MLC_TRY(calls.check(calls.deviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device),
                      "the GPU's processors"));
  MLC_TRY(calls.check(
      calls.deviceGetAttribute(&sharedMemory, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device),
      "the GPU's shared memory"));
  MLC_TRY(calls.check(calls.deviceGetName(product, int(sizeof product) - 1, device), "the GPU's name"));
  capability = 10 * major + minor;
  if (processors < 1)
    return Error(ErrorCode::Unsupported, "GPU %u: it says that it has %d processors", options.ordinal, processors);
  // What every device from 8.0 on has.
  if (constexpr int least = 99 << 10; sharedMemory < least)
    return Error(ErrorCode::Unsupported, "GPU %u: it says that a block has %d bytes of shared memory, less than %d",
                 options.ordinal, sharedMemory, least);
  snprintf(name, sizeof name, "%s (sm_%d)", product, capability);
  return calls.check(calls.primaryCtxRetain(&context, device), name);
}

/// Of compiled regions, or of kernels.
Result<const fb::Image *> Gpu::bestImage(const Artifact &artifact, bool ofRegions) const {
  const fb::Image *best = nullptr;
  Best choice{capability};
  char list[128] = "";
  for (const fb::Image *image : *artifact.metadata().images()) {
    if (isRegions(*image) != ofRegions)
      continue;
    size_t at = strlen(list);
    snprintf(list + at, sizeof list - at, "%s%.16s", at ? ", " : "", image->arch()->c_str());
    if (choice.improvesBy(image->arch()->string_view()))
      best = image;
  }
  if (!best)
    return Error(ErrorCode::Unsupported, "has %s for %s, none that %s runs; compile it with --gpu sm_%d",
                 ofRegions ? "regions" : "kernels", list, name, capability);
  if (best->contract() != kImageContract)
    return Error(ErrorCode::Unsupported,
                 "its image for %s is of another mlc, whose kernels are launched otherwise; "
                 "compile it again",
                 best->arch()->c_str());
  return best;
}

Status Gpu::loadImages(const Artifact &artifact) {
  // The verifier has seen that an image lies in its segment and ends with a zero.
  auto bytes = [&](const fb::Image &image) { return artifact.segment(image.segment()).data() + image.offset(); };
  MLC_ASSIGN(const fb::Image *kernels, bestImage(artifact, false));
  MLC_TRY(loadKernels(kernels->arch()->c_str(), bytes(*kernels)));
  codes = artifact.metadata().codes();
  if (!codes || !codes->size())
    return {};
  MLC_ASSIGN(const fb::Image *image, bestImage(artifact, true));
  MLC_TRY(load(regionModule, "regions", image->arch()->c_str(), bytes(*image)));
  MLC_ASSIGN(regions, OwnedArray<CuFunction>::create(allocator, codes->size(), "regions"));
  for (uint32_t i = 0; i < codes->size(); ++i)
    MLC_TRY(find(regions[i], regionModule, regionName(i), image->arch()->c_str()));
  return {};
}

Status Gpu::load(CuModule &into, const char *what, const char *arch, const void *image) {
  MLC_TRY(use());
  char log[256] = "";
  CuJitOption options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log - 1)};
  CuResult loaded = calls.moduleLoad(&into, image, 2, options, values);
  if (loaded == CUDA_SUCCESS)
    return {};
  if (loaded == CUDA_ERROR_NO_BINARY_FOR_GPU || loaded == CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
    return Error(ErrorCode::Unsupported, "the NVIDIA driver does not take its %s for %s on %s; use a newer driver",
                 what, arch, name);
  // Of what the compiler in the driver says, the first line.
  log[strcspn(log, "\n")] = 0;
  Status failed = calls.check(loaded, "cannot be loaded");
  return Error(failed.error().code(), "its %s for %s: %s%s%s", what, arch, failed.error().message(), *log ? ": " : "",
               log);
}

Status Gpu::find(CuFunction &function, CuModule from, const char *wanted, const char *arch) {
  if (calls.moduleGetFunction(&function, from, wanted) != CUDA_SUCCESS)
    return Error(ErrorCode::Unsupported,
                 "its image for %s lacks %s; use the mlc release that compiled it, or compile it again", arch, wanted);
  return {};
}

Status Gpu::loadKernels(const char *arch, const void *image) {
  hopperImage = parseArch(arch).number >= 90;
  MLC_TRY(load(module, "kernels", arch, image));
  for (unsigned i = 0; i < kFunctions; ++i)
    MLC_TRY(find(functions[i], module, kNames[i], arch));
  auto share = [&](Function first, Function last, int bytes) -> Status {
    for (unsigned i = unsigned(first); i <= unsigned(last); ++i)
      MLC_TRY(calls.check(calls.funcSetAttribute(functions[i], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes),
                          "shared memory for kernels"));
    return {};
  };
  MLC_TRY(share(Function::mlc_tile_bf16_64, Function::mlc_tile_w4a8_96, tileMemory()));
  MLC_TRY(share(Function::mlc_ssd_tile_128, Function::mlc_ssd_pack_256, ssdTileBytes(256)));
  return share(Function::mlc_attention_row_64, Function::mlc_attention_rows_256, attentionTileBytes(256));
}

Status Gpu::join(std::span<Device *const> devices) {
  MLC_ASSIGN(Nccl library, Nccl::load());
  int ordinals[kMaxRanks];
  NcclComm communicators[kMaxRanks];
  for (size_t i = 0; i < devices.size(); ++i)
    ordinals[i] = static_cast<Gpu *>(devices[i])->device;
  MLC_TRY(library.check(library.commInitAll(communicators, int(devices.size()), ordinals), "joining the GPUs"));
  for (size_t i = 0; i < devices.size(); ++i) {
    auto &gpu = *static_cast<Gpu *>(devices[i]);
    gpu.nccl = library;
    gpu.communicator = communicators[i];
    gpu.joined = devices;
  }
  return {};
}

void Gpu::leave() {
  for (Device *each : joined) {
    auto &gpu = *static_cast<Gpu *>(each);
    // Taken out first: it is aborted once, whoever comes.
    if (NcclComm left = gpu.communicator.exchange(nullptr))
      (void)gpu.nccl.commAbort(left);
  }
}

Status Gpu::together() const {
  if (joined.empty() || communicator)
    return {};
  return Error(ErrorCode::Internal, "the GPUs of this model no longer work together; open it again");
}

Status Gpu::gather(const float *from, float *to, uint64_t count, CuStream stream) const {
  NcclComm mine = communicator;
  if (!mine)
    return Error(ErrorCode::Internal, "this GPU has none to add up with");
  return nccl.check(nccl.allGather(from, to, count, ncclFloat32, mine, stream), "adding up what the GPUs have");
}

Result<Device::Room> Gpu::room() const {
  MLC_TRY(use());
  size_t free = 0, total = 0;
  MLC_TRY(calls.check(calls.memGetInfo(&free, &total), "the GPU's memory"));
  return Room{free, total};
}

static double seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

Result<double> Gpu::measureBandwidth() const {
  MLC_ASSIGN(Room has, room());
  uint64_t bytes = uint64_t(512) << 20;
  while (2 * bytes > has.free && bytes > 1 << 20)
    bytes /= 2;
  MLC_ASSIGN(auto from, OwnedArray<uint8_t>::create(deviceMemory, bytes, "GPU memory to measure its bandwidth"));
  MLC_ASSIGN(auto to, OwnedArray<uint8_t>::create(deviceMemory, bytes, "GPU memory to measure its bandwidth"));
  // Other work can only slow it down: the best pass counts.
  constexpr int kPasses = 5, kCopies = 8;
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    double start = seconds();
    for (int i = 0; i < kCopies; ++i)
      MLC_TRY(calls.check(calls.copyOnDevice(reinterpret_cast<CuPointer>(to.data()),
                                             reinterpret_cast<CuPointer>(from.data()), bytes, nullptr),
                          "measuring the GPU's bandwidth"));
    MLC_TRY(calls.check(calls.streamSynchronize(nullptr), "measuring the GPU's bandwidth"));
    double rate = 2e-9 * double(bytes) * kCopies / (seconds() - start);
    best = rate > best ? rate : best;
  }
  return best;
}

Result<double> Gpu::measurePeak() const {
  MLC_TRY(use());
  const unsigned blocks = unsigned(2 * processors);
  MLC_ASSIGN(auto sums, OwnedArray<float>::create(deviceMemory, 256 * blocks, "GPU memory to measure its peak"));
  // Rounds that take long beside a launch; then the best pass counts.
  constexpr int kPasses = 5, kMostRounds = 1 << 16;
  constexpr double kLongEnough = 2e-3;
  double best = 0;
  PeakArgs args{sums.data(), 1};
  for (int pass = 0; pass < kPasses;) {
    void *parameters[] = {&args};
    const CuLaunch launch{blocks, 1, 1, 256, 1, 1, 0, nullptr, nullptr, 0};
    const double start = seconds();
    MLC_TRY(calls.check(calls.launchKernel(&launch, function(Function::mlc_peak), parameters, nullptr),
                        "measuring the GPU's peak"));
    MLC_TRY(calls.check(calls.streamSynchronize(nullptr), "measuring the GPU's peak"));
    const double took = seconds() - start;
    if (took < kLongEnough && args.rounds < kMostRounds) {
      args.rounds *= 2;
      continue;
    }
    const double rate = 1e-9 * double(kPeakRound) * blocks * args.rounds / took;
    best = rate > best ? rate : best;
    ++pass;
  }
  return best;
}

Status Gpu::upload(const Artifact &artifact) {
  const auto &tables = *artifact.metadata().segments();
  uint64_t needed = 0;
  for (uint32_t i = 0; i < tables.size(); ++i)
    needed += tables.Get(i)->kind() == fb::SegmentKind::weights ? tables.Get(i)->size() : 0;
  needed -= bytesOfOtherRanks(artifact.metadata());
  MLC_ASSIGN(Room has, room());
  if (needed > has.free)
    return Error(ErrorCode::OutOfMemory, "%s: the weights take %.1f MiB, %.1f of its %.1f MiB are free", name,
                 double(needed) / (1 << 20), double(has.free) / (1 << 20), double(has.total) / (1 << 20));
  MLC_ASSIGN(segments, OwnedArray<uint8_t *>::create(allocator, tables.size(), "segments"));
  for (uint32_t i = 0; i < tables.size(); ++i) {
    if (tables.Get(i)->kind() != fb::SegmentKind::weights || isOfOtherRank(artifact.metadata(), i))
      continue;
    // In the place of what rank 0 has alone: its own.
    const auto *ofRanks = tables.Get(i)->of_ranks();
    MLC_TRY(uploadSegment(artifact, rank && ofRanks && ofRanks->size() ? ofRanks->Get(rank - 1) : i, segments[i]));
  }
  return {};
}

// Two pieces in turn: while one travels the next is read, and compared, from the file.
Status Gpu::uploadSegment(const Artifact &artifact, uint32_t index, uint8_t *&place) {
  constexpr size_t kPiece = 8 << 20;
  static_assert(kPiece % kDigestChunk == 0);
  std::span<const uint8_t> bytes = artifact.segment(index);
  CuPointer memory = 0;
  MLC_TRY(calls.check(calls.memAlloc(&memory, bytes.size()), "memory for the weights"));
  place = reinterpret_cast<uint8_t *>(memory);
  struct Piece {
    const Driver *calls = nullptr;
    OwnedArray<uint8_t> buffer;
    CuStream stream = nullptr;
    ~Piece() {
      if (!stream)
        return;
      (void)calls->streamSynchronize(stream);
      (void)calls->streamDestroy(stream);
    }
  } pieces[2];
  for (Piece &piece : pieces) {
    piece.calls = &calls;
    MLC_ASSIGN(piece.buffer, OwnedArray<uint8_t>::create(pinnedMemory, bytes.size() < kPiece ? bytes.size() : kPiece,
                                                         "pinned memory"));
    MLC_TRY(calls.check(calls.streamCreate(&piece.stream, CU_STREAM_NON_BLOCKING), "a stream"));
  }
  for (size_t at = 0, turn = 0; at < bytes.size(); at += kPiece, ++turn) {
    Piece &piece = pieces[turn % 2];
    size_t count = bytes.size() - at < kPiece ? bytes.size() - at : kPiece;
    MLC_TRY(calls.check(calls.streamSynchronize(piece.stream), "uploading the weights"));
    memcpy(piece.buffer.data(), bytes.data() + at, count);
    // What was copied is what is compared.
    if (compareDigests)
      MLC_TRY(artifact.checkPiece(index, at, {piece.buffer.data(), count}));
    MLC_TRY(calls.check(calls.copyToDevice(memory + at, piece.buffer.data(), count, piece.stream),
                        "uploading the weights"));
  }
  for (Piece &piece : pieces)
    MLC_TRY(calls.check(calls.streamSynchronize(piece.stream), "uploading the weights"));
  return {};
}

Result<DeviceStream *> Gpu::createStream(const StreamBounds &bounds, const Allocator &from) {
  return Stream::create(*this, bounds, from);
}

} // namespace mlc::cuda
