//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Source.h"
#include "runtime/run/Commands.h"

int mlc::cli::tokenizeSourceCommand(int argc, char **argv) {
  std::vector<uint8_t> tables;
  TokenizerSource source{&tables, [](void *context, const char *file) -> Result<const fb::Tokenizer *> {
                           auto read = readTokenizer(file);
                           if (!read)
                             return Error(ErrorCode::Corrupt, "%s", llvm::toString(read.takeError()).c_str());
                           auto &tables = *static_cast<std::vector<uint8_t> *>(context);
                           tables = std::move(*read);
                           return tables.empty() ? nullptr : flatbuffers::GetRoot<fb::Tokenizer>(tables.data());
                         }};
  return tokenizeCommand(argc, argv, &source);
}
