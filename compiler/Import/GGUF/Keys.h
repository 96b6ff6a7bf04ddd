//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reads the metadata keys of an architecture and remembers which were looked at: a key that nobody knows is refused by
// name.
//
#pragma once

#include "compiler/Import/GGUF/Reader.h"
#include "compiler/Import/ModelConfig.h"

#include "llvm/ADT/StringSet.h"

namespace mlc::gguf {

/// Names are below "ARCHITECTURE.". The first problem is kept and finish() returns it; after it the getters give
/// nothing.
class Keys {
public:
  Keys(const Metadata &metadata, llvm::StringRef architecture);

  std::optional<int64_t> integer(llvm::StringRef name) { return take(metadata.integer(full(name))); }
  std::optional<double> number(llvm::StringRef name) { return take(metadata.number(full(name))); }
  std::optional<bool> boolean(llvm::StringRef name) { return take(metadata.boolean(full(name))); }
  std::optional<llvm::StringRef> string(llvm::StringRef name) { return take(metadata.string(full(name))); }
  int64_t requiredInteger(llvm::StringRef name);
  /// One number, or an array that holds the same one for each of `layers`; 0 after a problem or when absent.
  int64_t uniform(llvm::StringRef name, int64_t layers, std::optional<int64_t> absent = std::nullopt);
  /// The same where some layers have none of it: a list with 0 for those, empty after a problem.
  std::vector<int64_t> perLayer(llvm::StringRef name, int64_t layers, std::optional<int64_t> absent = std::nullopt);
  /// Keys that never change what the model computes.
  void ignore(std::initializer_list<const char *> names);
  /// Keys that must be absent, 0 or false unless they were looked at: any other value is not supported.
  void refuseUnlessOff(std::initializer_list<const char *> names);
  /// Records a problem with a key, or of the file.
  void refuseKey(llvm::StringRef name, const llvm::Twine &what);
  void refuse(const llvm::Twine &what);
  template <typename T> std::optional<T> take(llvm::Expected<std::optional<T>> value) {
    if (value)
      return *value;
    adopt(value.takeError());
    return std::nullopt;
  }

  bool failed() const { return !problem.empty(); }
  /// The first problem; or the first key below "ARCHITECTURE." that was never looked at.
  llvm::Error finish();

private:
  std::string full(llvm::StringRef name);
  void adopt(llvm::Error error);
  const Metadata &metadata;
  std::string prefix, problem;
  llvm::StringSet<> known;
};

/// The sizes of Mamba-2 layers, below "ssm."; the tensors say whether there are biases.
void readMamba(Keys &keys, const Checkpoint &checkpoint, ModelConfig &config);

/// config.moe's sizes from expert_count, expert_used_count and, where it is, expert_feed_forward_length; else
/// feed_forward_length.
void readExperts(Keys &keys, ModelConfig &config);

/// Granite's multipliers: embedding_scale, residual_scale and the divisor logit_scale, 1 where absent or 0;
/// attention.scale is read with the sizes.
void readMultipliers(Keys &keys, ModelConfig &config);

/// Whether blk.0 has the tensor; every layer must then have it, which building the graph sees. anyLayerHas: whether
/// some layer does.
bool firstLayerHas(const Checkpoint &checkpoint, const char *name);
bool anyLayerHas(const Checkpoint &checkpoint, int64_t layers, const char *name);

} // namespace mlc::gguf
