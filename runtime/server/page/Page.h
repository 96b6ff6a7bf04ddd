//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The files of the page at /, embedded at build.
//
#pragma once

#include <string_view>

namespace mlc::server {

struct PageFile {
  std::string_view path;
  const char *type;
  std::string_view text;
};

/// The file that a path names, or null.
const PageFile *pageFile(std::string_view path);

} // namespace mlc::server
