//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One GPU with a model's weights and kernels on it.
//
#pragma once

#include "runtime/artifact/Artifact.h"
#include "runtime/core/Owned.h"
#include "runtime/exec/Device.h"
#include "targets/cuda/Functions.h"
#include "targets/cuda/Images.h"
#include "targets/cuda/driver/Driver.h"
#include "targets/cuda/driver/Nccl.h"

#include <atomic>

namespace mlc::cuda {

class Gpu final : public Device {
public:
  /// Opens GPU number `options.ordinal`, loads the best image and uploads the weights, whose digests are compared on
  /// the way. Errors: no driver, no such GPU, no image for it, no room (with the figures).
  static Result<Device *> open(const Artifact &artifact, const DeviceOptions &options, const Allocator &allocator);
  /// The same with the best of `images` and without weights, for who calls single kernels.
  static Result<Device *> open(std::span<const Image> images, const DeviceOptions &options, const Allocator &allocator);

  /// Opens a communicator of NCCL for each, by rank.
  static Status join(std::span<Device *const> devices);

  const Allocator &memory() const override { return deviceMemory; }
  const Allocator &hostMemory() const override { return pinnedMemory; }
  uint8_t *segment(uint32_t index) const override { return segments[index]; }
  Result<Room> room() const override;
  Result<double> measureBandwidth() const override;
  Result<double> measurePeak() const override;
  void leave() override;
  const char *description() const override { return name; }
  Result<DeviceStream *> createStream(const StreamBounds &bounds, const Allocator &allocator) override;

  const Driver &driver() const { return calls; }
  /// Makes the device's context the calling thread's.
  Status use() const;
  /// Whether the image is Hopper's: its kernels may start beside the one before them, for which they wait, and copy
  /// in bulk.
  bool hopper() const { return hopperImage; }
  int multiprocessors() const { return processors; }
  /// Dynamic shared memory that a block of mlc_tile_* may have, in bytes.
  int tileMemory() const { return sharedMemory - kStaticShared; }
  CuFunction function(Function which) const { return functions[unsigned(which)]; }
  /// Of code object `code`, and its name.
  CuFunction region(uint32_t code) const { return regions[code]; }
  /// Whether those that it was joined with are still there.
  Status together() const;
  /// Enqueues: `count` floats of every rank, in their order, at `to`.
  Status gather(const float *from, float *to, uint64_t count, CuStream stream) const;
  const char *regionName(uint32_t code) const { return codes->Get(code)->name()->c_str(); }

private:
  static constexpr int kStaticShared = 1024; // More than mlc_tile_* have.

  Gpu() = default;
  ~Gpu();
  void release() override;
  Status start(const DeviceOptions &options);
  static Result<Gpu *> create(const DeviceOptions &options, const Allocator &allocator);
  Status loadImages(const Artifact &artifact);
  Result<const fb::Image *> bestImage(const Artifact &artifact, bool ofRegions) const;
  Status load(CuModule &into, const char *what, const char *arch, const void *image);
  Status find(CuFunction &function, CuModule from, const char *wanted, const char *arch);
  Status loadKernels(const char *arch, const void *image);
  Status upload(const Artifact &artifact);
  Status uploadSegment(const Artifact &artifact, uint32_t index, uint8_t *&place);

  Driver calls;
  // Of devices that run a plan together; the others are opened and released with this one.
  Nccl nccl;
  std::atomic<NcclComm> communicator{nullptr};
  std::span<Device *const> joined;
  unsigned rank = 0;
  Allocator allocator{}, deviceMemory{}, pinnedMemory{};
  char name[96] = "";
  int capability = 0; // 90: 9.0
  int processors = 0;
  int sharedMemory = 0; // Most of a block.
  bool compareDigests = true, hopperImage = false;
  CuDevice device = 0;
  CuContext context = nullptr;
  CuModule module = nullptr, regionModule = nullptr;
  CuFunction functions[kFunctions] = {};
  OwnedArray<CuFunction> regions;
  const flatbuffers::Vector<flatbuffers::Offset<fb::Code>> *codes = nullptr; // Of the artifact.
  OwnedArray<uint8_t *> segments;
};

} // namespace mlc::cuda
