//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiled regions, run in the test itself.
//
#pragma once

#include "compiler/Codegen/RegionCode.h"

#include <cstring>
#include <gtest/gtest.h>
#include <sys/mman.h>

namespace mlc {

inline constexpr const char *kTriple = "x86_64-linux-gnu";

/// A blob mapped as the runtime maps it: written before, read-execute then.
class Mapped {
public:
  explicit Mapped(const std::vector<uint8_t> &blob) : size(blob.size()) {
    memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(memory, blob.data(), size);
    mprotect(memory, size, PROT_READ | PROT_EXEC);
  }
  ~Mapped() { munmap(memory, size); }
  Mapped(const Mapped &) = delete;
  int32_t operator()(void *const *buffers, const int64_t *dims, int64_t begin, int64_t end) const {
    using Function = int32_t (*)(void *const *, const int64_t *, int64_t, int64_t);
    return reinterpret_cast<Function>(memory)(buffers, dims, begin, end);
  }

private:
  void *memory;
  size_t size;
};

/// A region of `inputs` tensors %a, %b, ...; `body` defines %r.
inline std::string source(const std::string &body, unsigned inputs = 1) {
  const std::string tensor = "tensor<?x?xf32>", map = "affine_map<(d0, d1) -> (d0, d1)>";
  std::string arguments, names, types, maps, scalars;
  for (unsigned i = 0; i < inputs; ++i) {
    std::string comma = i ? ", " : "", letter(1, char('a' + i));
    arguments += comma + "%t" + letter + ": " + tensor;
    names += comma + "%t" + letter;
    types += comma + tensor;
    maps += map + ", ";
    scalars += "%" + letter + ": f32, ";
  }
  return "func.func @region(" + arguments + ") -> " + tensor + " {\n  %0 = linalg.generic {indexing_maps = [" + maps +
         map + "], iterator_types = [\"parallel\", \"parallel\"]} ins(" + names + " : " + types +
         ") outs(%ta : " + tensor + ") {\n  ^bb0(" + scalars + "%out: f32):\n" + body +
         "\n    linalg.yield %r : f32\n  } -> " + tensor + "\n  return %0 : " + tensor + "\n}\n";
}

inline std::vector<const char *> runnableLevels() {
  std::vector<const char *> levels;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v2"))
    levels.push_back("x86-64-v2");
  if (__builtin_cpu_supports("x86-64-v3"))
    levels.push_back("x86-64-v3");
  if (__builtin_cpu_supports("x86-64-v4"))
    levels.push_back("x86-64-v4");
#endif
  return levels;
}

inline std::vector<uint8_t> compiled(const std::string &text, const char *isa, const char *triple = kTriple) {
  auto blob = compileRegion(text, triple, isa);
  if (!blob) {
    ADD_FAILURE() << llvm::toString(blob.takeError()) << "\n" << text;
    return {0xc3};
  }
  return *blob;
}

} // namespace mlc
