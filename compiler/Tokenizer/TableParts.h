//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Parts that TokenizerTables puts together: tries and Unicode normalization forms.
//
#pragma once

#include "runtime/llm/tokenizer/Tables.h"

#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>
#include <vector>

namespace mlc {

/// A trie of the keys, breadth first; of equal keys the lowest value stays. Keys are not empty.
std::vector<fb::TrieNode> buildTrie(std::vector<std::pair<std::string, uint32_t>> keys);

/// The tables of NFC, NFD, NFKC or NFKD.
flatbuffers::Offset<fb::UnicodeForm> buildUnicodeForm(flatbuffers::FlatBufferBuilder &builder, llvm::StringRef name);

/// Every character that lower case changes, and what it becomes.
const std::vector<std::pair<std::string, std::string>> &lowercaseMap();

/// `code` as UTF-8.
std::string utf8Of(uint32_t code);
/// The code points of valid UTF-8.
std::vector<uint32_t> codesOf(llvm::StringRef text);
/// The raw bytes behind a string of the byte-level alphabet; nullopt when another character is in it.
std::optional<std::string> bytesOfAlphabet(llvm::StringRef text);

} // namespace mlc
