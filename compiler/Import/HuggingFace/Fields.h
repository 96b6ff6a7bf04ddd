//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reads the fields of a JSON object and remembers which were looked at: a field that nobody knows is refused by name.
//
#pragma once

#include "compiler/Support/Json.h"

#include <optional>
#include <set>
#include <vector>

namespace mlc::hf {

/// The first problem is kept and finish() returns it; after it the getters give their defaults. A field that is null
/// counts as absent.
class Fields {
public:
  /// `object` must outlive this. `prefix` ("rope_scaling.") stands before each name in messages.
  Fields(llvm::StringRef file, const nlohmann::json &object, std::string prefix = "");

  bool has(llvm::StringRef name) const;
  /// Whether the field stands in the file at all, null or not.
  bool present(llvm::StringRef name) const;

  std::optional<int64_t> integer(llvm::StringRef name);
  std::optional<double> number(llvm::StringRef name);
  std::optional<bool> boolean(llvm::StringRef name);
  std::optional<std::string> string(llvm::StringRef name);
  std::vector<int64_t> integers(llvm::StringRef name); // Empty when absent.
  std::vector<double> numbers(llvm::StringRef name);
  /// The same, each also {"__float__": "Infinity"}.
  std::vector<double> numbersWithInfinity(llvm::StringRef name);
  /// Whether the field is that text; then it counts as looked at.
  bool is(llvm::StringRef name, llvm::StringRef text);
  std::vector<std::string> strings(llvm::StringRef name);
  /// One integer or a list of them.
  std::vector<int64_t> integerOrList(llvm::StringRef name);
  /// The object of that name, or null.
  const nlohmann::json *object(llvm::StringRef name);
  /// A field that must be there.
  int64_t requiredInteger(llvm::StringRef name);

  /// Fields that never change what the model computes.
  void ignore(std::initializer_list<const char *> names);
  /// Fields that must be absent, null, false, 0 or empty unless they were looked at: any other value is not supported.
  void refuseUnlessOff(std::initializer_list<const char *> names);
  /// Records a problem with the field: its name and value go before `what`.
  void refuse(llvm::StringRef name, const llvm::Twine &what);
  /// Records a problem of the file as a whole.
  void refuse(const llvm::Twine &what);

  /// Records the problem of an inner object.
  void adopt(llvm::Error error);

  llvm::StringRef fileName() const { return file; }
  bool failed() const { return !problem.empty(); }
  /// The first problem; or the first field that was never looked at.
  llvm::Error finish();

private:
  const nlohmann::json *take(llvm::StringRef name);
  std::string file, prefix, problem;
  const nlohmann::json &fields;
  std::set<std::string> known;
};

} // namespace mlc::hf
