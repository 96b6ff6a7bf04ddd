//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bodies of requests, of every endpoint: taken or refused with an error that is JSON.
//
#include "runtime/server/api/Requests.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

using namespace mlc::server;

template <typename Read> static void check(Read read, const Json &body, bool lenient) {
  try {
    read(body, lenient);
  } catch (const ApiError &error) {
    if (error.status != 400 || !Json::accept(error.body()))
      abort();
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size)
    return 0;
  // The first byte chooses the endpoint.
  uint8_t form = data[0];
  Json body;
  try {
    body = parseBody({reinterpret_cast<const char *>(data) + 1, size - 1});
  } catch (const ApiError &error) {
    if (!Json::accept(error.body()))
      abort();
    return 0;
  }
  bool lenient = form & 128;
  switch (form % 5) {
  case 0:
    check(readCompletion, body, lenient);
    break;
  case 1:
    check(readChat, body, lenient);
    break;
  case 2:
    check(readEmbedding, body, lenient);
    break;
  case 3:
    check(readTokenize, body, lenient);
    break;
  default:
    check(readDetokenize, body, lenient);
  }
  return 0;
}
