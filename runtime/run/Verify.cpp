//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Commands.h"
#include "runtime/run/Common.h"

namespace mlc::cli {

static Status verify(const char *file, const SessionArguments &arguments, bool asJson) {
  // Opening makes every check of the loader, the plan's verifier and the tokenizer's, and compares every digest.
  MLC_ASSIGN(Owned<Model> model, openModel(file, arguments, /*networks=*/true, /*device=*/false));
  if (!asJson) {
    printf("%s: ok, %llu bytes, digest %016llx\n", file, (unsigned long long)model->fileBytes(),
           (unsigned long long)model->digest());
    return flushOutput();
  }
  char digest[17];
  snprintf(digest, sizeof digest, "%016llx", (unsigned long long)model->digest());
  JsonWriter json;
  json.open(nullptr, '{');
  json.boolean("ok", true);
  json.count("bytes", model->fileBytes());
  json.text("digest", digest);
  json.close('}');
  return json.finish();
}

int verifyCommand(int argc, char **argv) {
  SessionArguments arguments;
  bool json = false;
  const Option options[] = {
      MLC_THREADS_OPTION(arguments),
      MLC_NO_CODE_OPTION(arguments),
      {"json", nullptr, "one JSON object on stdout", OptionKind::flag, &json},
      {"trust", nullptr, nullptr, OptionKind::unavailable, nullptr},
  };
  Command command{argv[0], "OUT.mlca", "Makes every check of the loader and compares every digest.", options,
                  "model.mlca"};
  const char *file;
  if (Parsed parsed = parseOptions(command, argc, argv, file); parsed.leave)
    return parsed.status;
  if (Status done = verify(file, arguments, json); !done)
    return fail(done.error());
  return 0;
}

} // namespace mlc::cli
