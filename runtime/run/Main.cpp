//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Commands.h"
#include "runtime/run/Options.h"

#include <string.h>

namespace mlc::cli {

int mlcRunMain(int argc, char **argv) {
  struct Mode {
    const char *option;
    int (*command)(int, char **);
    const char *name;
  };
  static constexpr Mode modes[] = {{"--bench", benchCommand, "mlc-run --bench"},
                                   {"--verify", verifyCommand, "mlc-run --verify"},
                                   {"--inspect", inspectCommand, "mlc-run --inspect"},
                                   {"--eval", evalCommand, "mlc-run --eval"}};
  const Mode *chosen = nullptr;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const Mode *mode = nullptr;
    for (const Mode &candidate : modes)
      if (!strcmp(argv[i], candidate.option))
        mode = &candidate;
    if (!mode) {
      argv[kept++] = argv[i];
      continue;
    }
    if (chosen && chosen != mode) {
      printError("%s and %s: give one of them", chosen->option, mode->option);
      return 2;
    }
    chosen = mode;
  }
  // The commands name themselves by argv[0].
  argv[0] = const_cast<char *>(chosen ? chosen->name : "mlc-run");
  return (chosen ? chosen->command : runCommand)(kept, argv);
}

} // namespace mlc::cli
