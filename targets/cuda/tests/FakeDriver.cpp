//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/tests/FakeDriver.h"

#include "targets/cuda/Functions.h"
#include "targets/cuda/device/Args.h"
#include "targets/cuda/tests/Blocks.h"
#include "targets/cuda/tests/Guarded.h"
#include "targets/cuda/tests/PtxInterpreter.h"
#include "targets/cuda/tests/emulator/Emulator.h"

#include <condition_variable>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <set>

using namespace mlc::cuda;

// The kernels of Kernels.cu, compiled as C++ (EmulatedKernels.cpp).
#define MLC_CUDA_DECLARE(NAME, ARGS) extern "C" void NAME(const ARGS &args);
MLC_CUDA_FUNCTIONS(MLC_CUDA_DECLARE)
#undef MLC_CUDA_DECLARE

namespace mlc::cuda::fake {

namespace {

struct KernelEntry {
  const char *name;
  size_t bytes; // Of its argument.
  void (*body)(const void *);
  unsigned sharedBytes = 48 << 10; // Dynamic shared memory that a launch may ask for.
};
/// Most shared memory of a block.
int sharedMemory(int capability) { return capability >= 90 ? 232448 : capability == 80 ? 166912 : 101376; }
#define MLC_CUDA_ENTRY(NAME, ARGS)                                                                                     \
  {#NAME, sizeof(ARGS), [](const void *args) { NAME(*static_cast<const ARGS *>(args)); }},
KernelEntry kKernels[] = {MLC_CUDA_FUNCTIONS(MLC_CUDA_ENTRY)};
#undef MLC_CUDA_ENTRY

struct Stream {
  int device = 0;
  bool capturing = false;
  std::vector<std::function<void()>> captured;
};
using Work = std::vector<std::function<void()>>;
/// Of compiled regions, which are interpreted; empty of others, which have every kernel.
using Module = ptx::Module;

/// As many as MLC_FAKE_GPUS says.
Settings firstSettings() {
  Settings settings;
  if (const char *count = getenv("MLC_FAKE_GPUS"))
    settings.devices = atoi(count);
  return settings;
}

struct World {
  std::mutex lock;
  std::condition_variable changed;
  Settings settings = firstSettings();
  Record record;
  std::vector<std::string> mistakes;
  std::map<std::string, unsigned> calls;
  Blocks device, pinned;
  std::set<Stream *> streams;
  std::set<Work *> graphs;
  std::set<Module *> modules;
  std::set<const ptx::Entry *> entries;
  unsigned contexts = 0;
  bool broken = false; // A region went wrong: so does all that comes behind it.
};
World &world() {
  static World theWorld;
  return theWorld;
}
/// The device of the thread's context; a context is the address of its number.
int deviceNumbers[64];
thread_local int current = -1;

/// Records a call; the injected failure, or success.
CuResult called(const char *name, const std::string &more = "") {
  World &w = world();
  w.record.push_back(more.empty() ? name : name + (" " + more));
  unsigned before = w.calls[name]++;
  return w.settings.failing == name && before >= w.settings.failingAfter ? w.settings.failure : CUDA_SUCCESS;
}

/// Of device memory.
constexpr size_t kAlignment = 256;

void checkDevice(const char *call, CuPointer at, size_t bytes) {
  if (!inside(world().device, uintptr_t(at), bytes, current))
    mistake(std::string(call) + ": " + std::to_string(bytes) + " bytes outside of the device's memory");
}

} // namespace

void mistake(std::string text) { world().mistakes.push_back(std::move(text)); }

CuResult call(const char *name, const std::string &more) {
  std::lock_guard guard(world().lock);
  return called(name, more);
}

void locked(const std::function<void()> &work) {
  std::lock_guard guard(world().lock);
  work();
}

void enqueue(CuStream stream, std::function<void()> work) {
  auto *s = reinterpret_cast<Stream *>(stream);
  if (s && !world().streams.count(s))
    return mistake("a stream that does not exist");
  if (s && s->device != current)
    mistake("work for a stream of another device than the context's");
  if (s && s->capturing)
    s->captured.push_back(std::move(work));
  else
    work();
}

bool await(const std::function<bool()> &ready) {
  // Work is done under the lock.
  std::unique_lock held(world().lock, std::adopt_lock);
  const bool came = world().changed.wait_for(held, std::chrono::seconds(20), ready);
  held.release();
  return came;
}

void changed(bool broken) {
  world().broken |= broken;
  world().changed.notify_all();
}

Settings &settings() { return world().settings; }
Record &record() { return world().record; }
std::vector<std::string> &mistakes() { return world().mistakes; }
void reset() {
  World &w = world();
  w.settings = firstSettings();
  w.record.clear();
  w.mistakes.clear();
  w.calls.clear();
  w.broken = false;
}
uint64_t liveBytes() {
  uint64_t bytes = 0;
  for (auto *blocks : {&world().device, &world().pinned})
    for (auto &[at, memory] : *blocks)
      bytes += memory.bytes;
  return bytes;
}
unsigned liveHandles() {
  World &w = world();
  return unsigned(w.streams.size() + w.graphs.size() + w.modules.size()) + w.contexts;
}

} // namespace mlc::cuda::fake

using namespace mlc::cuda::fake;

#define MLC_EXPORT extern "C" __attribute__((visibility("default"))) CuResult
#define MLC_CALLED(...)                                                                                                \
  std::lock_guard guard(world().lock);                                                                                 \
  if (CuResult injected = called(__func__ __VA_OPT__(, ) __VA_ARGS__); injected != CUDA_SUCCESS)                       \
  return injected

MLC_EXPORT cuInit(unsigned) {
  MLC_CALLED();
  return world().settings.devices ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}
MLC_EXPORT cuDriverGetVersion(int *version) {
  MLC_CALLED();
  *version = world().settings.version;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuGetErrorName(CuResult result, const char **name) {
  *name = result == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_INJECTED";
  return CUDA_SUCCESS;
}
MLC_EXPORT cuDeviceGetCount(int *count) {
  MLC_CALLED();
  *count = world().settings.devices;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuDeviceGet(CuDevice *device, int ordinal) {
  MLC_CALLED(std::to_string(ordinal));
  *device = ordinal;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuDeviceGetName(char *name, int size, CuDevice) {
  MLC_CALLED();
  snprintf(name, size_t(size), "Emulated GPU");
  return CUDA_SUCCESS;
}
MLC_EXPORT cuDeviceGetAttribute(int *value, CuAttribute which, CuDevice) {
  MLC_CALLED();
  int capability = world().settings.capability;
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR            ? capability / 10
           : which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR          ? capability % 10
           : which == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN ? fake::sharedMemory(capability)
                                                                            : 132;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuDevicePrimaryCtxRetain(CuContext *context, CuDevice device) {
  MLC_CALLED();
  ++world().contexts;
  fake::deviceNumbers[device] = device;
  *context = reinterpret_cast<CuContext>(&fake::deviceNumbers[device]);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuDevicePrimaryCtxRelease_v2(CuDevice) {
  MLC_CALLED();
  --world().contexts;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuCtxSetCurrent(CuContext context) {
  std::lock_guard guard(world().lock);
  if (!context)
    mistake("cuCtxSetCurrent of no context");
  else
    fake::current = *reinterpret_cast<int *>(context);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuModuleLoadDataEx(CuModule *module, const void *image, unsigned count, CuJitOption *options,
                              void **values) {
  char *log = nullptr;
  size_t room = 0;
  for (unsigned i = 0; i < count; ++i)
    if (options[i] == CU_JIT_ERROR_LOG_BUFFER)
      log = static_cast<char *>(values[i]);
    else if (options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES)
      room = reinterpret_cast<uintptr_t>(values[i]);
  auto say = [&](const std::string &text) {
    if (log && room)
      snprintf(log, room, "%s\nand more", text.c_str());
  };
  if (world().settings.failing == __func__)
    say("ptxas application ptx input, line 9; an injected error");
  MLC_CALLED(memcmp(image, "\177ELF", 4) ? "ptx" : "cubin");
  auto made = std::make_unique<Module>();
  // What nvcc made is here as C++.
  auto *text = static_cast<const char *>(image);
  if (constexpr char llvm[] = "//\n// Generated by LLVM NVPTX"; !strncmp(text, llvm, sizeof llvm - 1)) {
    std::string error;
    made = ptx::parse(text, error);
    if (!made) {
      say(error);
      return CuResult(218); // CUDA_ERROR_INVALID_PTX
    }
  }
  for (auto &[name, entry] : *made)
    world().entries.insert(&entry);
  *module = reinterpret_cast<CuModule>(*world().modules.insert(made.release()).first);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuModuleUnload(CuModule module) {
  MLC_CALLED();
  auto *made = reinterpret_cast<Module *>(module);
  if (!world().modules.erase(made)) {
    mistake("cuModuleUnload of what is not loaded");
    return CUDA_SUCCESS;
  }
  for (auto &[name, entry] : *made)
    world().entries.erase(&entry);
  delete made;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuModuleGetFunction(CuFunction *function, CuModule module, const char *name) {
  MLC_CALLED();
  auto &made = *reinterpret_cast<Module *>(module);
  if (auto found = made.find(name); found != made.end()) {
    *function = reinterpret_cast<CuFunction>(&found->second);
    return CUDA_SUCCESS;
  }
  for (KernelEntry &kernel : kKernels)
    if (made.empty() && !strcmp(kernel.name, name)) {
      *function = reinterpret_cast<CuFunction>(&kernel);
      return CUDA_SUCCESS;
    }
  return CuResult(500); // CUDA_ERROR_NOT_FOUND
}
MLC_EXPORT cuFuncSetAttribute(CuFunction function, CuFunctionAttribute which, int value) {
  auto &kernel = *reinterpret_cast<KernelEntry *>(function);
  MLC_CALLED(std::string(kernel.name) + " " + std::to_string(value));
  if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
      value > fake::sharedMemory(world().settings.capability))
    return CuResult(1); // CUDA_ERROR_INVALID_VALUE
  kernel.sharedBytes = unsigned(value);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemGetInfo_v2(size_t *free, size_t *total) {
  MLC_CALLED();
  *total = size_t(world().settings.memory);
  const uint64_t used = bytesOf(world().device, fake::current);
  *free = used < *total ? *total - size_t(used) : 0;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemAlloc_v2(CuPointer *memory, size_t bytes) {
  MLC_CALLED(std::to_string(bytes));
  const uint64_t used = bytesOf(world().device, fake::current);
  void *block = bytes && used + bytes <= world().settings.memory ? allocateGuarded(bytes, fake::kAlignment) : nullptr;
  if (!block)
    return CUDA_ERROR_OUT_OF_MEMORY;
  // A device's memory holds anything at first.
  memset(block, 0xff, bytes);
  world().device[uintptr_t(block)] = {bytes, fake::current};
  *memory = CuPointer(uintptr_t(block));
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemFree_v2(CuPointer memory) {
  MLC_CALLED();
  auto found = world().device.find(uintptr_t(memory));
  if (found == world().device.end()) {
    mistake("cuMemFree of what is not allocated");
    return CUDA_SUCCESS;
  }
  if (found->second.device != fake::current)
    mistake("cuMemFree of another device's memory");
  releaseGuarded(reinterpret_cast<uint8_t *>(uintptr_t(memory)), found->second.bytes, fake::kAlignment);
  world().device.erase(found);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
  MLC_CALLED(std::to_string(bytes));
  *memory = calloc(1, bytes);
  world().pinned[uintptr_t(*memory)] = {bytes, fake::current};
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemFreeHost(void *memory) {
  MLC_CALLED();
  if (!world().pinned.erase(uintptr_t(memory)))
    mistake("cuMemFreeHost of what is not allocated");
  else
    free(memory);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemsetD8Async(CuPointer to, unsigned char value, size_t bytes, CuStream stream) {
  MLC_CALLED(std::to_string(bytes));
  checkDevice(__func__, to, bytes);
  enqueue(stream, [=] { memset(reinterpret_cast<void *>(uintptr_t(to)), value, bytes); });
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemcpyHtoDAsync_v2(CuPointer to, const void *from, size_t bytes, CuStream stream) {
  MLC_CALLED(std::to_string(bytes));
  checkDevice(__func__, to, bytes);
  enqueue(stream, [=] { memcpy(reinterpret_cast<void *>(uintptr_t(to)), from, bytes); });
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemcpyDtoHAsync_v2(void *to, CuPointer from, size_t bytes, CuStream stream) {
  MLC_CALLED(std::to_string(bytes));
  checkDevice(__func__, from, bytes);
  enqueue(stream, [=] { memcpy(to, reinterpret_cast<void *>(uintptr_t(from)), bytes); });
  return CUDA_SUCCESS;
}
MLC_EXPORT cuMemcpyDtoDAsync_v2(CuPointer to, CuPointer from, size_t bytes, CuStream stream) {
  MLC_CALLED(std::to_string(bytes));
  checkDevice(__func__, to, bytes);
  checkDevice(__func__, from, bytes);
  enqueue(stream,
          [=] { memcpy(reinterpret_cast<void *>(uintptr_t(to)), reinterpret_cast<void *>(uintptr_t(from)), bytes); });
  return CUDA_SUCCESS;
}
MLC_EXPORT cuStreamCreate(CuStream *stream, unsigned) {
  MLC_CALLED();
  auto *made = new fake::Stream{fake::current, false, {}};
  world().streams.insert(made);
  *stream = reinterpret_cast<CuStream>(made);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuStreamDestroy_v2(CuStream stream) {
  MLC_CALLED();
  auto *s = reinterpret_cast<fake::Stream *>(stream);
  if (!world().streams.erase(s))
    mistake("cuStreamDestroy of what is no stream");
  else
    delete s;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuStreamSynchronize(CuStream stream) {
  MLC_CALLED();
  if (auto *s = reinterpret_cast<fake::Stream *>(stream); s && s->capturing)
    mistake("cuStreamSynchronize while the stream is captured");
  return world().broken ? CuResult(700) : CUDA_SUCCESS; // CUDA_ERROR_ILLEGAL_ADDRESS
}
MLC_EXPORT cuStreamBeginCapture_v2(CuStream stream, int) {
  MLC_CALLED();
  reinterpret_cast<fake::Stream *>(stream)->capturing = true;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuStreamEndCapture(CuStream stream, CuGraph *graph) {
  auto *s = reinterpret_cast<fake::Stream *>(stream);
  bool capturing = s->capturing;
  // It is over in any case.
  s->capturing = false;
  MLC_CALLED();
  if (!capturing)
    mistake("cuStreamEndCapture without a capture");
  auto *made = new Work(std::move(s->captured));
  s->captured.clear();
  world().graphs.insert(made);
  *graph = reinterpret_cast<CuGraph>(made);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuGraphInstantiateWithFlags(CuGraphExec *exec, CuGraph graph, unsigned long long) {
  MLC_CALLED();
  auto *made = new Work(*reinterpret_cast<Work *>(graph));
  world().graphs.insert(made);
  *exec = reinterpret_cast<CuGraphExec>(made);
  return CUDA_SUCCESS;
}
MLC_EXPORT cuGraphLaunch(CuGraphExec exec, CuStream) {
  MLC_CALLED();
  for (auto &work : *reinterpret_cast<Work *>(exec))
    work();
  return CUDA_SUCCESS;
}
static CuResult destroyGraph(Work *work) {
  if (!world().graphs.erase(work))
    mistake("a graph that does not exist is destroyed");
  else
    delete work;
  return CUDA_SUCCESS;
}
MLC_EXPORT cuGraphExecDestroy(CuGraphExec exec) {
  MLC_CALLED();
  return destroyGraph(reinterpret_cast<Work *>(exec));
}
MLC_EXPORT cuGraphDestroy(CuGraph graph) {
  MLC_CALLED();
  return destroyGraph(reinterpret_cast<Work *>(graph));
}
static CuResult launchRegion(const CuLaunch &launch, const ptx::Entry &entry, void **parameters) {
  ptx::Dim grid{launch.gridX, launch.gridY, launch.gridZ}, block{launch.blockX, launch.blockY, launch.blockZ};
  std::lock_guard guard(world().lock);
  if (CuResult injected =
          called("cuLaunchKernelEx", entry.name + " " + std::to_string(grid.x) + "," + std::to_string(grid.y) + " " +
                                         std::to_string(block.x) + "x" + std::to_string(block.y));
      injected != CUDA_SUCCESS)
    return injected;
  if (!grid.x || !grid.y || grid.y > 65535 || grid.z != 1 || block.x * block.y == 0 || block.x * block.y > 1024 ||
      block.z != 1)
    return CuResult(1); // CUDA_ERROR_INVALID_VALUE
  if (launch.attributeCount)
    mistake("a region does not wait by itself");
  std::vector<uint64_t> values(entry.parameters);
  for (unsigned i = 0; i < entry.parameters; ++i)
    memcpy(&values[i], parameters[i], sizeof values[i]);
  if (world().settings.run)
    enqueue(launch.stream, [=, &entry] {
      auto mayAccess = [](uint64_t at, size_t bytes) {
        return inside(world().device, uintptr_t(at), bytes, fake::current);
      };
      if (std::string error = entry.run(grid, block, values, mayAccess); !error.empty()) {
        mistake(error);
        world().broken = true;
      }
    });
  return CUDA_SUCCESS;
}
MLC_EXPORT cuLaunchKernelEx(const CuLaunch *launch, CuFunction function, void **parameters, void **) {
  if (auto *entry = reinterpret_cast<const ptx::Entry *>(function); world().entries.count(entry))
    return launchRegion(*launch, *entry, parameters);
  auto &kernel = *reinterpret_cast<const KernelEntry *>(function);
  unsigned x = launch->gridX, y = launch->gridY, z = launch->gridZ, threads = launch->blockX;
  MLC_CALLED(std::string(kernel.name) + " " + std::to_string(x) + "," + std::to_string(y) + "," + std::to_string(z) +
             " " + std::to_string(threads));
  if (!x || !y || !z || y > 65535 || z > 65535 || !threads || threads > 1024 || launch->blockY != 1 ||
      launch->blockZ != 1 || launch->sharedBytes > kernel.sharedBytes)
    return CuResult(1); // CUDA_ERROR_INVALID_VALUE
  for (unsigned i = 0; i < launch->attributeCount; ++i)
    if (launch->attributes[i].id != CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION ||
        world().settings.capability < 90)
      mistake("a launch with an attribute that the GPU does not have");
  if (!world().settings.run)
    return CUDA_SUCCESS;
  auto *from = static_cast<const uint8_t *>(parameters[0]);
  std::vector<uint8_t> args(from, from + kernel.bytes);
  const unsigned shared = launch->sharedBytes;
  enqueue(launch->stream,
          [=, &kernel] { emulator::launch({x, y, z}, threads, [&] { kernel.body(args.data()); }, shared); });
  return CUDA_SUCCESS;
}
