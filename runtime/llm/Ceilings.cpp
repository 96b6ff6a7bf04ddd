//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

// The machine's ceilings that a bench result is held against: reading memory, int8 products in registers.
//
#include "runtime/llm/Bench.h"
#include "runtime/llm/Generate.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mlc {

// Well beyond the last-level caches of today's machines.
static constexpr size_t kStreamBytes = size_t(256) << 20;
static constexpr size_t kStreamChunk = size_t(1) << 20;

static uint64_t readPortable(const uint64_t *data, size_t words) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < words; i += 8)
    for (size_t j = 0; j < 8; ++j)
      sums[j] += data[i + j];
  uint64_t total = 0;
  for (uint64_t sum : sums)
    total += sum;
  return total;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t readAvx2(const uint64_t *data, size_t words) {
  __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  for (size_t i = 0; i < words; i += 16)
    for (size_t j = 0; j < 4; ++j)
      sums[j] = _mm256_add_epi64(sums[j], _mm256_load_si256(reinterpret_cast<const __m256i *>(data + i) + j));
  __m256i sum = _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  return uint64_t(_mm256_extract_epi64(sum, 0)) + uint64_t(_mm256_extract_epi64(sum, 1)) +
         uint64_t(_mm256_extract_epi64(sum, 2)) + uint64_t(_mm256_extract_epi64(sum, 3));
}
#endif

Result<double> measureReadBandwidth(WorkerPool &pool) {
  MLC_ASSIGN(auto buffer, OwnedArray<uint8_t>::create(systemAllocator(), kStreamBytes, "bandwidth measurement"));
  // Untouched pages would all be one page of zeros.
  pool.parallelFor(kStreamBytes / kStreamChunk, 1, [&](int64_t begin, int64_t end, unsigned) {
    memset(buffer.data() + size_t(begin) * kStreamChunk, 1, size_t(end - begin) * kStreamChunk);
  });
  auto *read = readPortable;
#if defined(__x86_64__)
  if (machineIsa() >= Isa::avx2)
    read = readAvx2;
#endif
  double best = 0;
  std::atomic<uint64_t> sink{0};
  for (unsigned pass = 0; pass < 5; ++pass) {
    double start = monotonicMs();
    pool.parallelFor(kStreamBytes / kStreamChunk, 1, [&](int64_t begin, int64_t end, unsigned) {
      auto *at = reinterpret_cast<const uint64_t *>(buffer.data() + size_t(begin) * kStreamChunk);
      sink.fetch_add(read(at, size_t(end - begin) * kStreamChunk / 8), std::memory_order_relaxed);
    });
    best = std::max(best, double(kStreamBytes) / (monotonicMs() - start) * 1e-6);
  }
  return best;
}

// Each returns its multiplies and adds; 24 accumulators hide the latency. The empty asm keeps the operands opaque, so
// no product can be computed once and reused.
static constexpr int64_t kRounds = 400000;
static constexpr unsigned kAccumulators = 24;

static double peakPortable(int64_t &sink) {
  int32_t sums[64] = {};
  int8_t a[64], b[64];
  memset(a, 3, sizeof a);
  memset(b, 5, sizeof b);
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : : "r"(a), "r"(b) : "memory");
    for (unsigned j = 0; j < 64; ++j)
      sums[j] += int32_t(a[j]) * int32_t(b[j]);
  }
  for (int32_t sum : sums)
    sink += sum;
  return double(kRounds) * 64 * 2;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static double peakAvx2(int64_t &sink) {
  constexpr unsigned count = 8;
  __m256i sums[count], a = _mm256_set1_epi8(3), b = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
  for (__m256i &sum : sums)
    sum = _mm256_setzero_si256();
  for (int64_t i = 0; i < kRounds; ++i)
    for (unsigned j = 0; j < count; ++j) {
      asm volatile("" : "+x"(a));
      sums[j] = _mm256_add_epi32(sums[j], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), ones));
    }
  for (__m256i &sum : sums)
    sink += _mm256_extract_epi32(sum, 0);
  return double(kRounds) * count * 32 * 2;
}

__attribute__((target("avx512f,avx512vnni"))) static double peakVnni(int64_t &sink) {
  __m512i sums[kAccumulators], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
  for (__m512i &sum : sums)
    sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < kRounds; ++i) {
    asm volatile("" : "+v"(a));
    for (unsigned j = 0; j < kAccumulators; ++j)
      sums[j] = _mm512_dpbusd_epi32(sums[j], a, b);
  }
  for (__m512i &sum : sums) {
    int32_t lanes[16];
    _mm512_storeu_si512(lanes, sum);
    sink += lanes[0];
  }
  return double(kRounds) * kAccumulators * 64 * 2;
}
#endif

double measureInt8Peak(WorkerPool &pool) {
  auto *peak = peakPortable;
#if defined(__x86_64__)
  if (machineIsa() >= Isa::avx512vnni)
    peak = peakVnni;
  else if (machineIsa() >= Isa::avx2)
    peak = peakAvx2;
#endif
  double best = 0;
  for (unsigned pass = 0; pass < 5; ++pass) {
    std::atomic<int64_t> total{0};
    std::atomic<double> operations{0};
    double start = monotonicMs();
    // One item a worker, in equal parts.
    pool.parallelFor(pool.size(), 1, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t i = begin; i < end; ++i) {
        int64_t sink = 0;
        double done = peak(sink);
        total.fetch_add(sink, std::memory_order_relaxed);
        operations.store(done, std::memory_order_relaxed);
      }
    });
    double all = operations.load(std::memory_order_relaxed) * pool.size();
    best = std::max(best, all / (monotonicMs() - start) * 1e-6);
  }
  return best;
}

} // namespace mlc
