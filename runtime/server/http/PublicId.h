//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Request ids. Inside the server an id is this value and nothing else; text is read here once, when it comes in, and
// written here, when it goes out. The canonical text is 32 lower-case hexadecimal digits. A response's id has a prefix
// that names its kind ("cmpl-"), a choice's id also a suffix ("-3").
//
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mlc::server {

enum class IdKind : uint8_t { bare, completion, chat };

/// A request, as clients and logs know it.
struct PublicId {
  uint64_t high = 0, low = 0;

  auto operator<=>(const PublicId &) const = default;

  /// 122 random bits of the system's generator.
  static PublicId fresh();
  /// The 32 digits.
  std::string text() const;
};

/// An id as it stands in a text: of what kind, and of which choice.
struct ParsedId {
  PublicId id;
  IdKind kind = IdKind::bare;
  std::optional<uint32_t> choice;
};

/// Reads the canonical form, a UUID with its hyphens, digits of either case, each behind at most one prefix and before
/// at most one suffix of a choice (decimal, without leading zeros). Anything else is no id.
std::optional<ParsedId> parseId(std::string_view text);

/// The id with the prefix of its kind and, where a choice is given, its suffix.
std::string formatId(const PublicId &id, IdKind kind, std::optional<uint32_t> choice = std::nullopt);

} // namespace mlc::server
