//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

// The server with the runtime alone: `mlc-serve MODEL.mlca...`.
//
#include "runtime/server/serve/Serve.h"

int main(int argc, char **argv) {
  static char name[] = "mlc-serve";
  if (argc > 0)
    argv[0] = name;
  return mlc::server::serveCommand(argc, argv);
}
