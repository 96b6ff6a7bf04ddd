//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A device that has memory of its own: kernels work there, the host enqueues them and moves what goes in and out. The
// CPU is none: its kernels work where the host's memory is.
//
#pragma once

#include "runtime/exec/Draw.h"
#include "runtime/exec/Kernel.h"

namespace mlc {

/// What goes to the device before a step's kernels, or from it behind them.
struct DeviceTransfer {
  uint8_t *host, *device;
  size_t bytes;
};

/// Tokens that are drawn behind a step's kernels, one for each row of logits on the device; draws of negative rows draw
/// none.
struct DeviceDraws {
  uint8_t *logits; // [rows][vocabulary] f32; changed.
  int64_t vocabulary;
  std::span<const RowDraw> rows;
  std::span<const TokenAdjustment> adjustments;
  std::span<int32_t> tokens; // [rows], written when end() returns; -1: there is no logit to draw from.
};

/// One step as its kernels see it. Two steps of equal tokens, segments, `shape` and `watched` may be one captured
/// graph.
struct DeviceStep {
  const BatchView *batch;
  int64_t shape;                         // Stands for the extents.
  std::span<const KvStateView> kvStates; // By state of the artifact; of another kind: empty.
  const RecurrentSegment *recurrent;     // Of each segment; null: the model has no recurrent states.
  uint32_t watched;                      // Stands for the calls whose operands are fetched; 0: none.
  std::span<const DeviceTransfer> inputs;
  // Behind its graph, of this step alone.
  std::span<const DeviceTransfer> outputs;
  const DeviceDraws *draws; // Null: none.
};

/// An order of work on a device; of one session, used by one thread at a time. An error of what was enqueued shows at
/// the next call that waits.
class DeviceStream {
public:
  /// Between memory of the device, in order.
  virtual Status copy(uint8_t *to, const uint8_t *from, size_t bytes) = 0;
  /// From and to the device, in order; done when it returns.
  virtual Status read(void *to, const uint8_t *from, size_t bytes) = 0;
  virtual Status write(uint8_t *to, const void *from, size_t bytes) = 0;

  /// Enqueues the inputs. True: an earlier step's graph does the whole step, no kernel is to be enqueued.
  virtual Result<bool> begin(const DeviceStep &step) = 0;
  /// Enqueues code object `code` of the artifact: dims[0] columns of `rows` rows, as exec.call_code has it.
  virtual void call(uint32_t code, std::span<void *const> buffers, std::span<const int64_t> dims, int64_t rows) = 0;
  /// Among a step's kernels: a copy that is there when end() returns, of every step of the graph.
  virtual void fetch(void *to, const uint8_t *from, size_t bytes) = 0;
  /// Drops a step of which not all kernels were enqueued.
  virtual void abandon() = 0;
  /// Enqueues draws and outputs, and waits until they are there.
  virtual Status end() = 0;

  static void destroy(DeviceStream *stream) { stream->release(); }

protected:
  virtual void release() = 0;
  ~DeviceStream() = default;
};

/// The largest step of a stream.
struct StreamBounds {
  int64_t tokens = 0, rows = 0, segments = 0, states = 0, pagesPerSlot = 0;
  bool recurrent = false; // The model has recurrent states.
};

/// A model's device: weights and kernels. Immutable once opened, shared by sessions of any threads.
class Device {
public:
  /// Zeroed memory of the device; the host must not touch it.
  virtual const Allocator &memory() const = 0;
  /// Memory of the host that transfers are fast from and to.
  virtual const Allocator &hostMemory() const = 0;
  /// Where a segment of the artifact lies on the device; null: it does not.
  virtual uint8_t *segment(uint32_t index) const = 0;
  /// Bytes that are free now, of all that the device has.
  struct Room {
    uint64_t free, total;
  };
  virtual Result<Room> room() const = 0;
  /// 10^9 bytes a second that a copy between buffers far beyond the caches reads and writes together.
  virtual Result<double> measureBandwidth() const = 0;
  /// 10^9 multiplies and adds of bf16 a second, with sums of f32, by its product instructions and nothing else.
  virtual Result<double> measurePeak() const = 0;
  /// Ends the work of all devices that it was joined with, which would wait for this one forever; any thread may. What
  /// they run together fails from then on.
  virtual void leave() = 0;
  /// Its name and architecture, for messages.
  virtual const char *description() const = 0;
  /// For sessions of at most so many tokens and segments a step, and pages a sequence.
  virtual Result<DeviceStream *> createStream(const StreamBounds &bounds, const Allocator &allocator) = 0;

  static void destroy(Device *device) { device->release(); }

protected:
  virtual void release() = 0;
  ~Device() = default;
};

} // namespace mlc
