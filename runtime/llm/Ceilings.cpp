//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Ceilings.h"
#include "runtime/llm/Generate.h"
#include "targets/cpu/Isa.h"

#include <algorithm>
#include <array>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace mlc {

// ---- Reading memory ----

static constexpr size_t kStreamChunk = size_t(1) << 20;
static constexpr unsigned kPrefetchAhead = 4096; // Bytes; hides the latency that the hardware's prefetch leaves.

// How memory is read, in turns. One stream whose lines are fetched ahead: the first of a block into the first cache is
// enough to keep the hardware's prefetch going and costs few load slots; all into the second go past the first one's
// few buffers for lines under way. Or eight streams, which the hardware fetches ahead.
enum class Way : uint8_t { first, all, streams };
/// What is read of the `i`-th bytes by the `j`-th of eight loads of `size`.
template <Way way>
[[gnu::always_inline]] static inline const uint8_t *place(const uint8_t *data, size_t bytes, size_t i, size_t j,
                                                          size_t size) {
  return way == Way::streams ? data + bytes / 8 * j + i / 8 : data + i + size * j;
}
template <Way way> [[gnu::always_inline]] static inline void fetchAhead(const uint8_t *data, size_t bytes) {
  if constexpr (way == Way::first)
    __builtin_prefetch(data + kPrefetchAhead);
  for (size_t i = 0; way == Way::all && i < bytes; i += 64)
    __builtin_prefetch(data + kPrefetchAhead + i, 0, 2);
}

template <Way way> static uint64_t readPortable(const uint8_t *data, size_t bytes) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < bytes; i += sizeof sums) {
    fetchAhead<way>(data + i, sizeof sums);
    for (size_t j = 0; j < 8; ++j)
      sums[j] ^= *reinterpret_cast<const uint64_t *>(place<way>(data, bytes, i, j, sizeof(uint64_t)));
  }
  uint64_t total = 0;
  for (uint64_t sum : sums)
    total ^= sum;
  return total;
}

#if defined(__x86_64__)
template <Way way> __attribute__((target("avx2"))) static uint64_t readAvx2(const uint8_t *data, size_t bytes) {
  __m256i sums[8];
  for (__m256i &sum : sums)
    sum = _mm256_setzero_si256();
  for (size_t i = 0; i < bytes; i += sizeof sums) {
    fetchAhead<way>(data + i, sizeof sums);
    for (size_t j = 0; j < 8; ++j)
      sums[j] = _mm256_xor_si256(sums[j], _mm256_load_si256(reinterpret_cast<const __m256i *>(
                                              place<way>(data, bytes, i, j, sizeof(__m256i)))));
  }
  for (size_t j = 1; j < 8; ++j)
    sums[0] = _mm256_xor_si256(sums[0], sums[j]);
  return uint64_t(_mm256_extract_epi64(sums[0], 0));
}

template <Way way> __attribute__((target("avx512f"))) static uint64_t readAvx512(const uint8_t *data, size_t bytes) {
  __m512i sums[8];
  for (__m512i &sum : sums)
    sum = _mm512_setzero_si512();
  for (size_t i = 0; i < bytes; i += sizeof sums) {
    fetchAhead<way>(data + i, sizeof sums);
    for (size_t j = 0; j < 8; ++j)
      sums[j] = _mm512_xor_si512(sums[j], _mm512_load_si512(place<way>(data, bytes, i, j, sizeof(__m512i))));
  }
  for (size_t j = 1; j < 8; ++j)
    sums[0] = _mm512_xor_si512(sums[0], sums[j]);
  uint64_t lanes[8];
  _mm512_storeu_si512(lanes, sums[0]);
  return lanes[0];
}
#endif

/// Eight times the last-level cache, where the system knows it.
static size_t streamBytes() {
  long cache = -1;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
  size_t bytes = cache > 0 ? size_t(cache) * 8 : 0;
  return std::clamp(bytes, size_t(64) << 20, size_t(1) << 30) / kStreamChunk * kStreamChunk;
}

Result<BandwidthMeter> BandwidthMeter::create(WorkerPool &pool) {
  BandwidthMeter meter;
  meter.pool = &pool;
  meter.bytes = streamBytes();
  // The prefetch may look beyond the end.
  MLC_ASSIGN(meter.buffer,
             OwnedArray<uint8_t>::create(systemAllocator(), meter.bytes + 2 * kPrefetchAhead, "bandwidth measurement"));
  // Untouched pages would all be one page of zeros.
  pool.parallelFor(int64_t(meter.bytes / kStreamChunk), 1, [&](int64_t begin, int64_t end, unsigned) {
    memset(meter.buffer.data() + size_t(begin) * kStreamChunk, 1, size_t(end - begin) * kStreamChunk);
  });
  return meter;
}

double BandwidthMeter::measure(unsigned passes) {
  using Read = uint64_t(const uint8_t *, size_t);
  std::array<Read *, 3> reads = {readPortable<Way::first>, readPortable<Way::all>, readPortable<Way::streams>};
#if defined(__x86_64__)
  if (machineRuns(Isa::avx512vnni))
    reads = {readAvx512<Way::first>, readAvx512<Way::all>, readAvx512<Way::streams>};
  else if (machineRuns(Isa::avx2))
    reads = {readAvx2<Way::first>, readAvx2<Way::all>, readAvx2<Way::streams>};
#endif
  double best = 0;
  std::atomic<uint64_t> sink{0};
  for (unsigned pass = 0; pass < passes; ++pass) {
    double start = monotonicMs();
    Read *read = reads[pass % reads.size()];
    // A thread reads one long stretch: the hardware's prefetch starts again at every border.
    pool->parallelFor(pool->size(), 1, [&](int64_t begin, int64_t end, unsigned) {
      size_t chunks = bytes / kStreamChunk, workers = pool->size();
      for (int64_t i = begin; i < end; ++i) {
        size_t from = chunks * size_t(i) / workers, to = chunks * size_t(i + 1) / workers;
        sink.fetch_add(read(buffer.data() + from * kStreamChunk, (to - from) * kStreamChunk),
                       std::memory_order_relaxed);
      }
    });
    best = std::max(best, double(bytes) / (monotonicMs() - start) * 1e-6);
  }
  return best;
}

// ---- Products in registers ----

namespace {

/// A loop of products that depend on nothing but their accumulator; enough accumulators to hide the latency.
struct PeakLoop {
  void (*run)(int64_t rounds);
  double operations; // Multiplies and adds of a round.
};

constexpr double kPassMs = 15;
constexpr unsigned kPeakPasses = 6;

double measurePeak(WorkerPool &pool, const PeakLoop &loop) {
  double best = 0;
  int64_t rounds = 1024;
  for (unsigned pass = 0; pass < kPeakPasses;) {
    double start = monotonicMs();
    // One item a worker, in equal parts.
    pool.parallelFor(pool.size(), 1, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t i = begin; i < end; ++i)
        loop.run(rounds);
    });
    double elapsed = monotonicMs() - start;
    // Short passes would measure how the threads wake up.
    if (elapsed < kPassMs) {
      rounds *= 2;
      continue;
    }
    best = std::max(best, loop.operations * double(rounds) * pool.size() / elapsed * 1e-6);
    ++pass;
  }
  return best;
}

// The opaque operands keep the compiler from computing a product once.
void int8Portable(int64_t rounds) {
  int16_t a[32], b[32];
  int32_t sums[32] = {};
  std::fill_n(a, 32, int16_t(3));
  std::fill_n(b, 32, int16_t(5));
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : : "r"(a), "r"(b) : "memory");
    for (unsigned j = 0; j < 32; ++j)
      sums[j] += int32_t(a[j]) * int32_t(b[j]);
  }
  asm volatile("" : : "r"(sums) : "memory");
}

void f32Portable(int64_t rounds) {
  float a[32], b[32], sums[32] = {};
  std::fill_n(a, 32, 0.5f);
  std::fill_n(b, 32, 0.25f);
  for (int64_t i = 0; i < rounds; ++i) {
    asm volatile("" : : "r"(a), "r"(b) : "memory");
    for (unsigned j = 0; j < 32; ++j)
      sums[j] += a[j] * b[j];
  }
  asm volatile("" : : "r"(sums) : "memory");
}

// The loops below are assembly as a whole: no compiler moves, spills or merges anything, and no -m flag is needed.
// Register 31 (15 with AVX2) holds the operands: not zero, for zeros draw less power than products do.
[[maybe_unused]] constexpr uint32_t kInt8Pattern = 0x05030703, kF32Pattern = 0x3f000000, kBf16Pattern = 0x3f003f00;

#define MLC_TIMES_12(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define MLC_TIMES_24(M) MLC_TIMES_12(M) M(12) M(13) M(14) M(15) M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23)

#if defined(__x86_64__)
#define MLC_YMM_LOOP(NAME, PATTERN, STEP)                                                                              \
  __attribute__((target("avx2,fma"))) void NAME(int64_t rounds) {                                                      \
    asm volatile("vmovd %1, %%xmm15\n vpbroadcastd %%xmm15, %%ymm15\n" MLC_TIMES_12(MLC_YMM_ZERO) "1:\n" MLC_TIMES_12( \
                     STEP) "dec %0\n jnz 1b\n vzeroupper\n"                                                            \
                 : "+r"(rounds)                                                                                        \
                 : "r"(PATTERN)                                                                                        \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",      \
                   "xmm11", "xmm12", "xmm15");                                                                         \
  }
#define MLC_YMM_ZERO(N) "vpxor %%ymm" #N ", %%ymm" #N ", %%ymm" #N "\n"
#define MLC_STEP(N)                                                                                                    \
  "vpmaddubsw %%ymm15, %%ymm15, %%ymm12\n vpmaddwd %%ymm15, %%ymm12, %%ymm12\n vpaddd %%ymm12, %%ymm" #N ", %%ymm" #N  \
  "\n"
MLC_YMM_LOOP(int8Avx2, kInt8Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "%{vex%} vpdpbusd %%ymm15, %%ymm15, %%ymm" #N "\n"
MLC_YMM_LOOP(int8AvxVnni, kInt8Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "vfmadd231ps %%ymm15, %%ymm15, %%ymm" #N "\n"
MLC_YMM_LOOP(f32Avx2, kF32Pattern, MLC_STEP)
#undef MLC_STEP

#define MLC_ZMM_LOOP(NAME, PATTERN, INSTRUCTION)                                                                       \
  __attribute__((target("avx512f"))) void NAME(int64_t rounds) {                                                       \
    asm volatile("vpbroadcastd %1, %%zmm31\n" MLC_TIMES_24(MLC_ZMM_ZERO) "1:\n" MLC_TIMES_24(                          \
                     INSTRUCTION) "dec %0\n jnz 1b\n vzeroupper\n"                                                     \
                 : "+r"(rounds)                                                                                        \
                 : "r"(PATTERN)                                                                                        \
                 : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",      \
                   "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21",  \
                   "xmm22", "xmm23", "xmm31");                                                                         \
  }
#define MLC_ZMM_ZERO(N) "vpxord %%zmm" #N ", %%zmm" #N ", %%zmm" #N "\n"
#define MLC_STEP(N) "vpdpbusd %%zmm31, %%zmm31, %%zmm" #N "\n"
MLC_ZMM_LOOP(int8Avx512, kInt8Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "vfmadd231ps %%zmm31, %%zmm31, %%zmm" #N "\n"
MLC_ZMM_LOOP(f32Avx512, kF32Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "vdpbf16ps %%zmm31, %%zmm31, %%zmm" #N "\n"
MLC_ZMM_LOOP(bf16Avx512, kBf16Pattern, MLC_STEP)
#undef MLC_STEP

/// Six tiles of sums, 16 by 16, of 64 products of bytes or 32 of bf16 each.
struct TileShapes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
#define MLC_TILE_ZERO(N) "tilezero %%tmm" #N "\n"
#define MLC_TIMES_6(M) M(0) M(1) M(2) M(3) M(4) M(5)
#define MLC_TILE_LOOP(NAME, PATTERN, STEP)                                                                             \
  void NAME(int64_t rounds) {                                                                                          \
    const TileShapes shapes;                                                                                           \
    uint32_t operands[256];                                                                                            \
    std::fill_n(operands, 256, PATTERN);                                                                               \
    asm volatile("ldtilecfg %1\n tileloadd (%2,%3,1), %%tmm6\n tileloadd (%2,%3,1), %%tmm7\n" MLC_TIMES_6(             \
                     MLC_TILE_ZERO) "1:\n" MLC_TIMES_6(STEP) "dec %0\n jnz 1b\n tilerelease\n"                         \
                 : "+r"(rounds)                                                                                        \
                 : "m"(shapes), "r"(operands), "r"(int64_t(64))                                                        \
                 : "cc", "memory");                                                                                    \
  }
#define MLC_STEP(N) "tdpbssd %%tmm7, %%tmm6, %%tmm" #N "\n"
MLC_TILE_LOOP(int8Amx, kInt8Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "tdpbf16ps %%tmm7, %%tmm6, %%tmm" #N "\n"
MLC_TILE_LOOP(bf16Amx, kBf16Pattern, MLC_STEP)
#undef MLC_STEP

#elif defined(__aarch64__)
#define MLC_NEON_LOOP(NAME, EXTENSION, PATTERN, INSTRUCTION)                                                           \
  void NAME(int64_t rounds) {                                                                                          \
    asm volatile(EXTENSION "dup v31.4s, %w1\n" MLC_TIMES_24(MLC_NEON_ZERO) "1:\n" MLC_TIMES_24(                        \
                     INSTRUCTION) "subs %0, %0, #1\n b.ne 1b\n"                                                        \
                 : "+r"(rounds)                                                                                        \
                 : "r"(PATTERN)                                                                                        \
                 : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",       \
                   "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v31");                       \
  }
#define MLC_NEON_ZERO(N) "movi v" #N ".4s, #0\n"
#define MLC_STEP(N) "fmla v" #N ".4s, v31.4s, v31.4s\n"
MLC_NEON_LOOP(f32Neon, "", kF32Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "sdot v" #N ".4s, v31.16b, v31.16b\n"
MLC_NEON_LOOP(int8Dot, ".arch_extension dotprod\n", kInt8Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "smmla v" #N ".4s, v31.16b, v31.16b\n"
MLC_NEON_LOOP(int8Matrix, ".arch_extension i8mm\n", kInt8Pattern, MLC_STEP)
#undef MLC_STEP
#define MLC_STEP(N) "bfmmla v" #N ".4s, v31.8h, v31.8h\n"
MLC_NEON_LOOP(bf16Matrix, ".arch_extension bf16\n", kBf16Pattern, MLC_STEP)
#undef MLC_STEP
#endif

} // namespace

double measureInt8Peak(WorkerPool &pool) {
#if defined(__x86_64__)
  if (machineRuns(Isa::amx))
    return measurePeak(pool, {int8Amx, 6 * 16 * 16 * 64 * 2});
  if (machineRuns(Isa::avx512vnni))
    return measurePeak(pool, {int8Avx512, 24 * 64 * 2});
  if (machineRuns(Isa::avxvnni))
    return measurePeak(pool, {int8AvxVnni, 12 * 32 * 2});
  if (machineRuns(Isa::avx2))
    return measurePeak(pool, {int8Avx2, 12 * 32 * 2});
#elif defined(__aarch64__)
  if (getauxval(AT_HWCAP2) & HWCAP2_I8MM)
    return measurePeak(pool, {int8Matrix, 24 * 32 * 2});
  if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
    return measurePeak(pool, {int8Dot, 24 * 16 * 2});
#endif
  return measurePeak(pool, {int8Portable, 32 * 2});
}

double measureF32Peak(WorkerPool &pool) {
#if defined(__x86_64__)
  if (machineRuns(Isa::avx512vnni))
    return measurePeak(pool, {f32Avx512, 24 * 16 * 2});
  if (machineRuns(Isa::avx2))
    return measurePeak(pool, {f32Avx2, 12 * 8 * 2});
#elif defined(__aarch64__)
  return measurePeak(pool, {f32Neon, 24 * 4 * 2});
#endif
  return measurePeak(pool, {f32Portable, 32 * 2});
}

double measureBf16Peak(WorkerPool &pool) {
#if defined(__x86_64__)
  if (machineRuns(Isa::amx))
    return measurePeak(pool, {bf16Amx, 6 * 16 * 16 * 32 * 2});
  if (machineRuns(Isa::avx512bf16))
    return measurePeak(pool, {bf16Avx512, 24 * 32 * 2});
#elif defined(__aarch64__)
  if (getauxval(AT_HWCAP2) & HWCAP2_BF16)
    return measurePeak(pool, {bf16Matrix, 24 * 16 * 2});
#endif
  return 0;
}

Ceilings measurePeaks(WorkerPool &pool) {
  Ceilings ceilings;
  ceilings.int8PeakGopS = measureInt8Peak(pool);
  ceilings.f32PeakGflopS = measureF32Peak(pool);
  ceilings.bf16PeakGflopS = measureBf16Peak(pool);
  return ceilings;
}

} // namespace mlc
