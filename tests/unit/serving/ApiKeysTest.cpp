//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/ApiKeys.h"

#include <gtest/gtest.h>

using namespace mlc::server;

namespace {

TEST(ApiKeys, OneALine) {
  auto keys = ApiKeys::parse("first\n\n  second-key \r\n\tthird");
  ASSERT_TRUE(keys);
  EXPECT_TRUE(keys->required());
  for (const char *good : {"Bearer first", "Bearer second-key", "bearer third", "BEARER first"})
    EXPECT_TRUE(keys->accepts(good)) << good;
  for (const char *bad : {"", "Bearer", "Bearer ", "Bearer firs", "Bearer first ", "Bearer firstt", "Basic first",
                          "first", "Bearer first\n", "Bearer  first"})
    EXPECT_FALSE(keys->accepts(bad)) << bad;
  EXPECT_FALSE(keys->accepts("Bearer " + std::string(257, 'x')));
  // A key is compared with its end: what pads it is no part of it.
  EXPECT_FALSE(keys->accepts(std::string_view("Bearer first\0", 13)));
  EXPECT_FALSE(keys->accepts("Bearer first\1"));
}

TEST(ApiKeys, WhatIsNoKeyIsRefused) {
  EXPECT_STREQ(ApiKeys::parse(" \n\n").error().message(), "no API key; give one a line");
  EXPECT_STREQ(ApiKeys::parse("good\nwith space\n").error().message(),
               "line 2: a key is printable ASCII without spaces");
  EXPECT_STREQ(ApiKeys::parse(std::string(257, 'x')).error().message(), "line 1: a key has at most 256 characters");
  EXPECT_TRUE(ApiKeys::parse(std::string(256, 'x')));
  EXPECT_FALSE(ApiKeys::read("/nonexistent"));
  EXPECT_FALSE(ApiKeys().required());
}

} // namespace
