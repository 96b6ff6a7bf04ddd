//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Writes the tiny artifact that the C test opens.
//
#include "tests/unit/support/TinyArtifact.h"

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  mlc::test::writeModel(mlc::test::makeTinyModel(), argv[1]);
  return 0;
}
