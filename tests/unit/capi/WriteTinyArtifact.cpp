//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Writes the tiny artifacts that the C tests open: a language model and a network.
//
#include "tests/unit/support/TinyNetwork.h"

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  mlc::test::writeModel(mlc::test::makeTinyModel(), argv[1]);
  mlc::test::writeModel(mlc::test::tinyNetwork().model, argv[2]);
  return 0;
}
