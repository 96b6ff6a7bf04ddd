//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Calls one CPU kernel without a plan: what the benchmarks of kernels share.
//
#pragma once

#include "targets/cpu/Isa.h"
#include "targets/cpu/pack/Pack.h"

#include <random>
#include <vector>

namespace mlc::cpu {

/// The machine's best form, or the one that MLC_ISA names.
inline Isa benchIsa() {
  const char *name = getenv("MLC_ISA");
  if (!name)
    return machineIsa();
  Result<Isa> isa = parseIsa(name);
  return isa ? limitedIsa(*isa) : machineIsa();
}

inline TensorView matrix(void *data, DType dtype, int64_t rows, int64_t columns) {
  TensorView view;
  view.data = data;
  view.dtype = dtype;
  view.rank = 2;
  view.dims[0] = rows;
  view.dims[1] = view.strides[0] = columns;
  view.strides[1] = 1;
  return view;
}

/// Memory as the runtime has it: at multiples of 64 bytes, and what is large on large pages.
template <typename T> struct RuntimeMemory {
  using value_type = T;
  RuntimeMemory() = default;
  template <typename U> RuntimeMemory(const RuntimeMemory<U> &) {}
  T *allocate(size_t count) {
    return static_cast<T *>(systemAllocator().allocate(systemAllocator().context, count * sizeof(T), 64));
  }
  void deallocate(T *memory, size_t count) {
    systemAllocator().release(systemAllocator().context, memory, count * sizeof(T));
  }
  bool operator==(const RuntimeMemory &) const { return true; }
};
template <typename T> using Buffer = std::vector<T, RuntimeMemory<T>>;

inline Buffer<float> normals(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Buffer<float> values(count);
  for (float &value : values)
    value = normal(random);
  return values;
}

/// One kernel with fixed operands, in the form of benchIsa().
struct KernelRunner {
  const KernelDef *kernel;
  KernelCallInfo info;
  std::vector<TensorView> inputs, outputs;
  bool follows[8] = {true, false, false, true}, outFollows[8] = {true, true};
  const void *attrs;
  WorkerPool &pool;
  Buffer<uint8_t> shared, workers;
  KernelContext context;

  template <typename T>
  KernelRunner(const char *name, const T &attributes, std::vector<TensorView> in, std::vector<TensorView> out,
               WorkerPool &pool)
      : kernel(findKernel(cpuTarget(), name, 1, benchIsa())), inputs(std::move(in)), outputs(std::move(out)),
        attrs(&attributes), pool(pool) {
    info.attrsType = fb::KernelAttrsTraits<T>::enum_value;
    info.attrs = attrs;
  }
  /// What the kernel refuses about the call. Views are read again by every run.
  Status prepare() {
    info.inputs = inputs;
    info.outputs = outputs;
    info.inputFollowsTokens = {follows, inputs.size()};
    info.outputFollowsTokens = {outFollows, outputs.size()};
    info.maxTokens = 512;
    info.maxPositions = 16384;
    info.workers = pool.size();
    MLC_TRY(kernel->check(info));
    ScratchNeed need = kernel->scratch ? kernel->scratch(info) : ScratchNeed{};
    shared.resize(need.shared);
    context.workerStride = alignUp<size_t>(need.perWorker, 64);
    workers.resize(context.workerStride * pool.size());
    context.inputs = inputs;
    context.outputs = outputs;
    context.attrs = attrs;
    context.pool = &pool;
    context.sharedScratch = shared.data();
    context.workerScratch = workers.data();
    return {};
  }
  void run() { kernel->run(context); }
};

} // namespace mlc::cpu
