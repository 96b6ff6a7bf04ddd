//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// PTX on the host, for tests: what LLVM's backend writes for elementwise regions, one instruction a line, arithmetic as
// the PTX ISA has it (rounding to nearest, no flushing of subnormals). What it does not know, approximations and
// instructions that may be contracted among it, is an error when the text is read.
//
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mlc::cuda::ptx {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

struct Thread {
  std::vector<uint64_t> registers;
  const uint64_t *parameters = nullptr;
  /// Whether so many bytes at an address may be accessed.
  const std::function<bool(uint64_t, size_t)> *mayAccess = nullptr;
  Dim thread, block, blockSize, grid;
  size_t next = 0;
  std::string error;
};

/// A function that a grid runs.
struct Entry {
  std::string name;
  unsigned parameters = 0; // All of 8 bytes.
  std::vector<std::function<void(Thread &)>> code;
  unsigned registerCount = 0;

  /// Runs it for every thread, one after the other; what went wrong, or nothing.
  std::string run(Dim grid, Dim block, const std::vector<uint64_t> &parameters,
                  const std::function<bool(uint64_t, size_t)> &mayAccess) const;
};

/// A map, for its nodes stay where they are.
using Module = std::map<std::string, Entry>;
/// Null, with `error` naming the line, when it is not understood.
std::unique_ptr<Module> parse(std::string_view text, std::string &error);

} // namespace mlc::cuda::ptx
