//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/GGUF/Keys.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace mlc::gguf {

Keys::Keys(const Metadata &metadata, StringRef architecture) : metadata(metadata), prefix((architecture + ".").str()) {}

std::string Keys::full(StringRef name) {
  std::string key = prefix + name.str();
  known.insert(key);
  return key;
}

void Keys::adopt(Error error) {
  std::string text = toString(std::move(error));
  if (!failed())
    problem = std::move(text);
}

void Keys::refuse(const Twine &what) {
  if (!failed())
    problem = (metadata.file() + ": " + what).str();
}

void Keys::refuseKey(StringRef name, const Twine &what) {
  refuse(Twine("metadata key \"") + prefix + name + "\" " + what);
}

int64_t Keys::requiredInteger(StringRef name) {
  std::optional<int64_t> value = integer(name);
  if (!value)
    refuseKey(name, "is missing");
  return value.value_or(0);
}

int64_t Keys::uniform(StringRef name, int64_t layers, std::optional<int64_t> absent) {
  const Value *value = metadata.find(full(name));
  if (!value && absent)
    return *absent;
  if (!value || value->type != ValueType::array)
    return requiredInteger(name);
  std::optional<std::vector<int64_t>> list = take(metadata.integers(full(name)));
  if (!list)
    return 0;
  if (list->empty() || int64_t(list->size()) != layers || !all_equal(*list)) {
    refuseKey(name, "differs between layers, which is not supported");
    return 0;
  }
  return list->front();
}

void Keys::ignore(std::initializer_list<const char *> names) {
  for (const char *name : names)
    full(name);
}

void Keys::refuseUnlessOff(std::initializer_list<const char *> names) {
  for (const char *name : names) {
    const Value *value = metadata.find(full(name));
    bool off = !value || (value->type == ValueType::boolean ? value->payload[0] == 0 : number(name).value_or(0) == 0);
    if (!off)
      refuseKey(name, "is set, which is not supported");
  }
}

Error Keys::finish() {
  std::vector<StringRef> unknown;
  for (const auto &entry : metadata.all())
    if (entry.getKey().starts_with(prefix) && !known.contains(entry.getKey()))
      unknown.push_back(entry.getKey());
  sort(unknown); // The map's order is no promise.
  if (!unknown.empty())
    refuse("metadata key \"" + printable(unknown.front()) + "\" is not known and may change the result");
  return failed() ? createStringError(inconvertibleErrorCode(), problem) : Error::success();
}

bool firstLayerHas(const Checkpoint &checkpoint, const char *name) {
  return checkpoint.find((Twine("blk.0.") + name).str()) != nullptr;
}

} // namespace mlc::gguf
