//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Small networks made by hand, of kernels alone.
//
#pragma once

#include "tests/unit/support/TinyArtifact.h"

namespace mlc::test {

/// Assembles a network's plan. Slots lie one behind the other in the arena, so every one has a range of its own.
struct NetworkBuilder {
  TinyModel model;
  fb::BlockT *block; // Of `main`; where ops go.

  NetworkBuilder();
  fb::ArtifactT &meta() { return model.metadata; }
  fb::FunctionT &main() { return *model.metadata.functions[0]; }

  int32_t extent(const std::string &name, uint64_t bound);
  uint32_t slot(const std::string &name, fb::DType dtype, std::vector<fb::Dim> dims);
  /// Part of `of`: `offset` bytes behind its start.
  uint32_t view(uint32_t of, uint64_t offset, std::vector<fb::Dim> dims, std::vector<int64_t> strides);
  uint32_t input(const std::string &name, fb::DType dtype, std::vector<fb::Dim> dims);
  uint32_t output(const std::string &name, fb::DType dtype, std::vector<fb::Dim> dims);
  /// f32, both a port of `main`; gives input and output.
  std::pair<uint32_t, uint32_t> carry(const std::string &name, std::vector<fb::Dim> dims);

  void binary(fb::Binary op, uint32_t a, uint32_t b, uint32_t out);
  void unary(fb::Activation activation, uint32_t x, uint32_t out);
  void copy(uint32_t from, uint32_t to);

private:
  uint32_t kernel(const char *name);
  void call(const char *name, fb::KernelAttrsUnion attrs, std::vector<uint32_t> inputs, uint32_t output);
};

/// x f32[batch <= 4, 8], y f32[batch, 8], step f32[4], ids i64[3] ->
///   sum f32[batch, 8] = relu(x + y), half f32[batch, 4] = the last columns of x, total f32[4] = the steps so far plus
///   this one, over all runs (the state `steps`), same i64[3] = ids.
NetworkBuilder tinyNetwork();

} // namespace mlc::test
