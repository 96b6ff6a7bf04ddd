//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Headers of .npy files: what is read, what is refused by name, and that what was written is read back.
//
#include "runtime/run/Npy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string>
#include <unistd.h>

using namespace mlc::cli;
using testing::HasSubstr;

/// A file of version `major` around the dictionary.
static std::string file(const std::string &dictionary, size_t values, int major = 1) {
  std::string result = std::string("\x93NUMPY", 6) + char(major) + '\0';
  for (size_t i = 0; i < (major == 1 ? 2u : 4u); ++i)
    result += char(dictionary.size() >> 8 * i);
  return result + dictionary + std::string(values, '\1');
}

TEST(Npy, HeadersAreRead) {
  NpyHeader header;
  std::string plain = file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", 24);
  ASSERT_TRUE(bool(parseNpy(plain, header)));
  EXPECT_STREQ(npyTypeName(header.kind, header.size), "float32");
  EXPECT_EQ(header.axes, 2u);
  EXPECT_EQ(header.shape[1], 3u);
  EXPECT_EQ(header.elements, 6u);
  EXPECT_EQ(header.offset, plain.size() - 24);
  // Other orders of keys, quotes, versions; a scalar, a vector, an empty tensor.
  EXPECT_TRUE(bool(parseNpy(file("{\"shape\":(),\"fortran_order\":True,\"descr\":\"|b1\"}", 1, 2), header)));
  EXPECT_EQ(header.axes, 0u);
  EXPECT_TRUE(bool(parseNpy(file("{'descr': '<i8', 'fortran_order': True, 'shape': (3L,)}", 24, 3), header)));
  EXPECT_TRUE(bool(parseNpy(file("{'descr': '<u2', 'fortran_order': False, 'shape': (4, 0, 7)}", 0), header)));
  EXPECT_EQ(header.elements, 0u);
}

TEST(Npy, MistakesAreNamed) {
  std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}";
  std::pair<std::string, const char *> cases[] = {
      {"", "is no .npy file"},
      {"NUMPY\x93 123456", "is no .npy file"},
      {file(good, 8, 4), "is no .npy file"},
      {file(good, 8).substr(0, 30), "is no .npy file"},
      {file(good, 7), "holds 7 bytes of values"},
      {file(good, 9), "holds 9 bytes of values"},
      {file("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8), "values of type '<c8'"},
      {file("{'descr': '>i4', 'fortran_order': False, 'shape': (1,)}", 4), "big-endian"},
      {file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4), "holds records"},
      {file("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1)}", 4), "Fortran order"},
      {file("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,)}", 4), "is no .npy file"},
      {file("{'descr': '<f4', 'fortran_order': False}", 4), "is no .npy file"},
      {file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4), "is no .npy file"},
      {file("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4)}", 0), "is no .npy file"},
      {file("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904,)}", 0), "not what its shape says"},
      {file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}", 4),
       "more than 16"},
      {file("{'descr': '<f4', 'more': 1, 'fortran_order': False, 'shape': (1,)}", 4), "is no .npy file"},
  };
  for (const auto &[text, expected] : cases) {
    NpyHeader header;
    mlc::Status parsed = parseNpy(text, header);
    ASSERT_FALSE(bool(parsed)) << expected;
    EXPECT_THAT(parsed.error().message(), HasSubstr(expected));
  }
}

TEST(Npy, WhatIsWrittenIsReadBack) {
  char path[] = "/tmp/npy-XXXXXX";
  int descriptor = mkstemp(path);
  ASSERT_GE(descriptor, 0);
  close(descriptor);
  NpyHeader header;
  header.kind = 'u';
  header.size = 1;
  for (unsigned axes : {0u, 1u, kNpyMostAxes}) {
    header.axes = axes;
    for (uint64_t &extent : header.shape)
      extent = 1;
    ASSERT_TRUE(bool(writeNpy(path, header, {"x", 1})));
    std::string text(1024, '\0');
    FILE *stream = fopen(path, "rb");
    text.resize(fread(text.data(), 1, text.size(), stream));
    fclose(stream);
    NpyHeader read;
    mlc::Status parsed = parseNpy(text, read);
    ASSERT_TRUE(bool(parsed)) << parsed.error().message();
    EXPECT_EQ(read.axes, axes);
    EXPECT_EQ(read.offset % 64, 0u);
    EXPECT_EQ(text.substr(read.offset), "x");
  }
  unlink(path);
}
