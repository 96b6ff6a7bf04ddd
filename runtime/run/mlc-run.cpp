//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

// The runtime alone: `mlc-run OUT.mlca ...`.
//
#include "runtime/run/Commands.h"

int main(int argc, char **argv) { return mlc::cli::mlcRunMain(argc, argv); }
