//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Writers of small checkpoint files, and what the import tests share.
//
#pragma once

#include "llvm/Support/Error.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace mlc::test {

using Bytes = std::vector<uint8_t>;

/// A little-endian byte string.
struct Writer {
  Bytes bytes;
  template <typename T> Writer &put(T value) {
    uint8_t raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes.insert(bytes.end(), raw, raw + sizeof(T));
    return *this;
  }
  Writer &text(const std::string &value) {
    put(uint64_t(value.size()));
    bytes.insert(bytes.end(), value.begin(), value.end());
    return *this;
  }
};

/// Builds a GGUF file: metadata, then tensors with zeros or given bytes.
class GgufWriter {
public:
  explicit GgufWriter(uint32_t version = 3) : version(version) {}
  GgufWriter &u32(const std::string &key, uint32_t value) {
    pairs.text(key).put(uint32_t(4)).put(value);
    ++pairCount;
    return *this;
  }
  GgufWriter &u16(const std::string &key, uint16_t value) {
    pairs.text(key).put(uint32_t(2)).put(value);
    ++pairCount;
    return *this;
  }
  GgufWriter &f32(const std::string &key, float value) {
    pairs.text(key).put(uint32_t(6)).put(value);
    ++pairCount;
    return *this;
  }
  GgufWriter &string(const std::string &key, const std::string &value) {
    pairs.text(key).put(uint32_t(8)).text(value);
    ++pairCount;
    return *this;
  }
  GgufWriter &strings(const std::string &key, const std::vector<std::string> &values) {
    pairs.text(key).put(uint32_t(9)).put(uint32_t(8)).put(uint64_t(values.size()));
    for (const std::string &value : values)
      pairs.text(value);
    ++pairCount;
    return *this;
  }
  /// A value whose bytes (type included) the caller wrote.
  GgufWriter &raw(const std::string &key, const Writer &value) {
    pairs.text(key);
    pairs.bytes.insert(pairs.bytes.end(), value.bytes.begin(), value.bytes.end());
    ++pairCount;
    return *this;
  }
  /// `extents` fastest first, as in the file.
  GgufWriter &tensor(const std::string &name, std::vector<uint64_t> extents, uint32_t type, Bytes content) {
    uint64_t offset = (data.size() + 31) / 32 * 32;
    data.resize(offset);
    infos.text(name).put(uint32_t(extents.size()));
    for (uint64_t extent : extents)
      infos.put(extent);
    infos.put(type).put(offset);
    data.insert(data.end(), content.begin(), content.end());
    ++tensorCount;
    return *this;
  }
  Bytes build() const {
    Writer file;
    file.bytes = {'G', 'G', 'U', 'F'};
    file.put(version).put(tensorCount).put(pairCount);
    file.bytes.insert(file.bytes.end(), pairs.bytes.begin(), pairs.bytes.end());
    file.bytes.insert(file.bytes.end(), infos.bytes.begin(), infos.bytes.end());
    file.bytes.resize((file.bytes.size() + 31) / 32 * 32);
    file.bytes.insert(file.bytes.end(), data.begin(), data.end());
    return file.bytes;
  }

private:
  uint32_t version;
  uint64_t tensorCount = 0, pairCount = 0;
  Writer pairs, infos;
  Bytes data;
};

/// A safetensors file of the given header text and data.
inline Bytes safeTensors(const std::string &header, size_t dataBytes) {
  Writer file;
  file.text(header);
  file.bytes.resize(file.bytes.size() + dataBytes, 1);
  return file.bytes;
}

/// A directory that goes away with the test.
class TemporaryDirectory {
public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "mlc-import-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string write(const std::string &name, const Bytes &bytes) const {
    std::string file = (path / name).string();
    std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char *>(bytes.data()), long(bytes.size()));
    return file;
  }
  std::string write(const std::string &name, const std::string &text) const {
    return write(name, Bytes(text.begin(), text.end()));
  }
  std::filesystem::path path;
};

/// The message of what must have failed, or "".
template <typename T> std::string messageOf(llvm::Expected<T> result) {
  return result ? "" : llvm::toString(result.takeError());
}
inline std::string messageOf(llvm::Error error) { return llvm::toString(std::move(error)); }

/// One line that starts with the file's name.
inline void expectOneLine(const std::string &message, const std::string &file) {
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  EXPECT_EQ(message.rfind(file, 0), 0u) << message;
  EXPECT_GT(message.size(), file.size() + 2) << message;
}

/// splitmix64.
struct Random {
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
};

} // namespace mlc::test
