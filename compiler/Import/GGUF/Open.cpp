//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From the path of a GGUF file to a checkpoint: one file, or all parts of a split.
//
#include "compiler/Import/GGUF/Reader.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"

#include <cstdio>

using namespace llvm;

namespace mlc::gguf {
namespace {

/// Splits PREFIX-00001-of-00003.gguf; false when `path` has another form.
bool splitPartName(StringRef path, StringRef &prefix, unsigned &number, unsigned &count) {
  if (!path.consume_back(".gguf") || path.size() < 15)
    return false;
  StringRef tail = path.take_back(15);
  prefix = path.drop_back(15);
  return tail[0] == '-' && tail.substr(6, 4) == "-of-" && all_of(tail.substr(1, 5), isDigit) &&
         all_of(tail.substr(10, 5), isDigit) && !tail.substr(1, 5).getAsInteger(10, number) &&
         !tail.substr(10, 5).getAsInteger(10, count);
}

Error fail(StringRef file, const Twine &what) {
  return createStringError(inconvertibleErrorCode(), file + ": " + what);
}

/// split.no and split.count; {0, 1} without them.
Expected<std::pair<int64_t, int64_t>> splitPosition(const Metadata &metadata) {
  auto number = metadata.integer("split.no");
  if (!number)
    return number.takeError();
  auto count = metadata.integer("split.count");
  if (!count)
    return count.takeError();
  return std::pair(number->value_or(0), std::max<int64_t>(count->value_or(1), 1));
}

} // namespace

Expected<Model> open(StringRef path) {
  std::vector<std::unique_ptr<MappedFile>> files;
  std::vector<TensorInfo> tensors;
  auto append = [&](StringRef partPath) -> Expected<Metadata> {
    auto file = MappedFile::open(partPath);
    if (!file)
      return file.takeError();
    for (const auto &other : files)
      if (other->sameFile(**file))
        return fail(partPath, "is the same file as " + other->path() + "; each part of a split is needed once");
    auto header = parseHeader((*file)->path(), (*file)->bytes());
    if (!header)
      return header.takeError();
    for (TensorInfo &tensor : header->tensors) {
      tensor.file = unsigned(files.size());
      tensors.push_back(std::move(tensor));
    }
    files.push_back(std::move(*file));
    return std::move(header->metadata);
  };

  auto metadata = append(path);
  if (!metadata)
    return metadata.takeError();
  auto position = splitPosition(*metadata);
  if (!position)
    return position.takeError();
  auto [number, count] = *position;
  if (number != 0)
    return fail(path, "is part " + Twine(uint64_t(number) + 1) + " of a split model; give the first part");
  if (count > 1) {
    StringRef prefix;
    unsigned nameNumber, nameCount;
    if (!splitPartName(path, prefix, nameNumber, nameCount) || nameNumber != 1 || int64_t(nameCount) != count)
      return fail(path, "is the first of " + Twine(count) +
                            " parts by its metadata (split.count); its name must then be PREFIX-00001-of-NNNNN.gguf");
    for (int64_t i = 1; i < count; ++i) {
      char suffix[32];
      snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", unsigned(i + 1), nameCount);
      std::string partPath = (prefix + suffix).str();
      auto part = append(partPath);
      if (!part)
        return part.takeError();
      auto partPosition = splitPosition(*part);
      if (!partPosition)
        return partPosition.takeError();
      if (*partPosition != std::pair(i, count))
        return fail(partPath, "says it is part " + Twine(uint64_t(partPosition->first) + 1) + " of " +
                                  Twine(partPosition->second) + ", expected is part " + Twine(i + 1) + " of " +
                                  Twine(count));
    }
  }
  auto total = metadata->integer("split.tensors.count");
  if (!total)
    return total.takeError();
  if (*total && uint64_t(**total) != tensors.size())
    return fail(path,
                "split.tensors.count is " + Twine(**total) + ", the parts hold " + Twine(tensors.size()) + " tensors");
  auto checkpoint = Checkpoint::create(Checkpoint::Kind::GGUF, path, std::move(tensors), std::move(files));
  if (!checkpoint)
    return checkpoint.takeError();
  return Model{std::move(*metadata), std::move(*checkpoint)};
}

} // namespace mlc::gguf
