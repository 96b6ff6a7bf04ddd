//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A running network: named inputs and outputs with shapes chosen within their bounds, memory of its own or the
// caller's, and the states that one run hands to the next. Made with everything it will ever use; a run allocates
// nothing and takes no lock beside the turn on its pool. Not thread-safe: one thread at a time.
//
#pragma once

#include "runtime/exec/Executor.h"

namespace mlc {

struct NetworkOptions {
  const char *function = "main";
  /// Of a pool of its own; 1: the caller's thread runs everything.
  unsigned threads = 1;
  /// To share with other sessions; `threads` is then the pool's.
  WorkerPool *pool = nullptr;
  SessionClass sessionClass = SessionClass::batch;
  /// Most bytes of the file, arena and scratch; 0: no limit.
  uint64_t maxMemory = 0;
  const Allocator *allocator = nullptr; // null: systemAllocator()
};

/// Bytes that a network takes; the file's are shared.
struct NetworkMemory {
  uint64_t weights = 0, arena = 0, scratch = 0;
  uint64_t total() const { return weights + arena + scratch; }
};

class Network {
public:
  /// An axis holds `factor` times an extent elements; without a name, exactly `factor`.
  struct Axis {
    const char *name; // Of the extent; null: the axis is fixed.
    int64_t factor, bound;
    int64_t most() const { return factor * bound; }
  };
  /// An input or output. A carried state's two ends are none.
  struct Port {
    const char *name;
    DType dtype;
    std::span<const Axis> axes;
  };

  /// `plan` is of a network and outlives this.
  static Result<Network *> create(const Plan &plan, const NetworkOptions &options = {});
  static void destroy(Network *network);
  static Result<NetworkMemory> memory(const Plan &plan, unsigned threads);

  std::span<const Port> inputs() const { return inputPorts.span(); }
  std::span<const Port> outputs() const { return outputPorts.span(); }
  std::span<const Port> states() const { return statePorts.span(); }

  /// The extents that follow from the input's shape hold until they are changed. Errors: an axis that is fixed, out of
  /// its bounds, or another input of the same run has said otherwise. Every extent begins at its bound.
  Status setShape(size_t input, std::span<const int64_t> dims);
  /// Memory and shape at the extents set, row-major. What an input's memory holds after a run is not said (bound memory
  /// is as it was); an output's stays until the next run.
  TensorView input(size_t index) const { return executor->slot(inputSlots[index]); }
  TensorView output(size_t index) const { return executor->slot(outputSlots[index]); }

  /// The next runs read the input from, or write the output to, the caller's `bytes` at `data`, aligned for the port's
  /// elements; no two of them overlap. Null: memory of the network's own again. Errors: a port that shares its range of
  /// the arena; too few bytes for what ops can touch (also from run(), after a shape has grown).
  Status bindInput(size_t index, const void *data, uint64_t bytes);
  Status bindOutput(size_t index, void *data, uint64_t bytes);

  /// Errors: cancelled, or a code object's; the states are then as they were.
  Status run();
  /// Ends the run in progress, or the next one, also while it waits for its turn on a pool; any thread, also a signal
  /// handler. Holds until it is cleared.
  void requestCancel();
  void clearCancel() { cancel.store(false, std::memory_order_relaxed); }
  /// Every state becomes zero, as it is at first.
  void reset();
  /// What the next run reads; a stream that was saved so goes on bitwise in another network of the same artifact.
  std::span<const uint8_t> state(size_t index) const;
  Status setState(size_t index, std::span<const uint8_t> bytes);

  /// Adds up the time of every op, see Executor::timeOps.
  void timeOps(std::span<OpTime> times) { executor->timeOps(times); }
  const Plan &plan() const { return executor->executedPlan(); }
  unsigned threads() const { return pool->size(); }

private:
  Network() = default;
  ~Network() = default;
  /// A port whose memory is the caller's.
  struct Binding {
    int32_t range; // -1: it cannot be moved.
    uint64_t bytes;
    bool bound;
  };
  struct Carried {
    uint32_t input, output; // Ranges.
    uint64_t bytes;
  };
  Status build(const Plan &plan, const NetworkOptions &options);
  Status listPorts(const fb::Function &entry);
  Status listStates(const fb::Function &entry);
  Port describe(const char *name, uint32_t slot);
  Status bind(const char *what, const Port &port, Binding &binding, const void *data, uint64_t bytes);
  Status checkBindings() const;

  Allocator allocator{};
  Owned<WorkerPool> ownPool;
  WorkerPool *pool = nullptr;
  Owned<Executor> executor;
  uint32_t function = 0;
  OwnedArray<Axis> axes; // Of all ports.
  size_t usedAxes = 0;
  OwnedArray<Port> inputPorts, outputPorts, statePorts;
  OwnedArray<uint32_t> inputSlots, outputSlots;
  OwnedArray<Binding> inputBindings, outputBindings;
  OwnedArray<Carried> carried;
  struct Said {
    uint64_t run;   // In which an input has said the extent.
    uint32_t input; // Which one.
  };
  OwnedArray<Said> said; // Of each extent.
  uint64_t runs = 1;
  std::atomic<bool> cancel{false};
  bool unchecked = false; // A shape or a binding has changed since the bindings were compared with the shapes.
};

} // namespace mlc
