//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Requests.h"
#include <nlohmann/json.hpp>

namespace mlc::server {

CompletionRequest readCompletion(const Json &body, bool lenient) {
  Fields fields(body, "", lenient);
  CompletionRequest request;
  readGeneration(fields, request);
  request.prompts = readPrompts(fields.require("prompt"), "prompt");
  request.maxTokens = uint64_t(fields.integer("max_tokens", 0, INT32_MAX, 16));
  request.logprobs = int32_t(fields.integer("logprobs", 0, 5, -1));
  request.echo = fields.flag("echo", false);
  // OpenAI's schema begins at 0, which says as much as nothing.
  request.bestOf = uint32_t(fields.integer("best_of", 0, 20, 0));
  if (request.bestOf && request.bestOf < request.n)
    wrongValue("best_of", "at least n");
  if (request.stream && request.bestOf > request.n)
    wrongValue("best_of", "the best of several answers cannot be streamed");
  fields.unsupported("suffix", "");
  fields.finish();
  return request;
}

EmbeddingRequest readEmbedding(const Json &body, bool lenient) {
  Fields fields(body, "", lenient);
  EmbeddingRequest request;
  request.model = fields.text("model");
  request.user = fields.text("user");
  request.inputs = readPrompts(fields.require("input"), "input");
  request.base64 = fields.choice("encoding_format", {"float", "base64"}) == "base64";
  request.dimensions = fields.integer("dimensions", 1, INT32_MAX, 0);
  request.last = fields.choice("pooling", {"mean", "last"}) == "last";
  fields.finish();
  return request;
}

TokenizeRequest readTokenize(const Json &body, bool lenient) {
  Fields fields(body, "", lenient);
  TokenizeRequest request;
  request.model = fields.text("model");
  // llama.cpp's name and vLLM's.
  const char *name = fields.find("prompt") ? "prompt" : "content";
  if (fields.find("prompt") && fields.find("content"))
    wrongValue("prompt", "give this or content");
  fields.require(name);
  request.text = fields.text(name);
  request.addSpecial = fields.flag("add_special", fields.flag("add_special_tokens", true));
  request.parseSpecial = fields.flag("parse_special", true);
  request.pieces = fields.flag("with_pieces", false);
  fields.finish();
  return request;
}

DetokenizeRequest readDetokenize(const Json &body, bool lenient) {
  Fields fields(body, "", lenient);
  DetokenizeRequest request;
  request.model = fields.text("model");
  request.tokens = readTokens(fields.require("tokens"), "tokens");
  request.skipSpecial = fields.flag("skip_special_tokens", false);
  fields.finish();
  return request;
}

} // namespace mlc::server
