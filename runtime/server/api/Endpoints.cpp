//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What is done for each POST, on the preparing thread.
//
#include "runtime/server/api/EmbeddingJob.h"
#include "runtime/server/api/GenerationJob.h"
#include "runtime/server/api/Service.h"
#include <nlohmann/json.hpp>

namespace mlc::server {

// Choices of one request, over all of its prompts.
static constexpr size_t kMaxChoices = 2048;

/// Requests of different users, keys or hosts take turns in the queue.
static uint64_t fairnessKey(const RequestHead &head, const std::string &user) {
  std::string who = !user.empty() ? "user " + user : head.authorization;
  if (who.empty())
    who = head.peer.substr(0, head.peer.rfind(':'));
  return std::hash<std::string>()(who);
}

/// What is the same for every prompt of a request.
static Request requestOf(const GenerationFields &fields, uint64_t key) {
  Request request;
  request.maxTokens = fields.maxTokens;
  request.sampling = fields.sampling;
  request.bias = fields.bias;
  request.n = fields.n;
  request.bestOf = fields.bestOf;
  request.logprobs = fields.logprobs;
  request.stops = fields.stops;
  request.ignoreEnd = fields.ignoreEnd;
  request.deadlineMs = fields.deadlineMs;
  request.fairnessKey = key;
  return request;
}

void Service::prepare(Route route, std::shared_ptr<Exchange> exchange) {
  try {
    Json body = parseBody(exchange->body());
    std::string().swap(exchange->body());
    switch (route) {
    case Route::completions:
      return complete(exchange, body);
    case Route::chat:
      return chat(exchange, body);
    case Route::embeddings:
      return embed(exchange, body);
    case Route::tokenize:
      return tokenize(*exchange, body);
    default:
      return detokenize(*exchange, body);
    }
  } catch (const ApiError &error) {
    exchange->respond(error.response());
  } catch (const std::exception &error) {
    exchange->respond(ApiError(500, "internal_error", error.what()).response());
  }
}

void Service::complete(std::shared_ptr<Exchange> exchange, const Json &body) {
  CompletionRequest fields = readCompletion(body, options.lenient);
  std::shared_ptr<ServedModel> model = modelOf(fields.model, !options.lenient);
  if (fields.prompts.size() * std::max(fields.n, fields.bestOf) > kMaxChoices)
    wrongValue("n", "at most " + std::to_string(kMaxChoices) + " answers in one request, over all of its prompts");
  Request common = requestOf(fields, fairnessKey(exchange->head(), fields.user));
  common.constraint = model->constraint(fields.grammar);
  common.echo = fields.echo;
  common.promptLogprobs = fields.echo ? fields.logprobs : -1;
  std::vector<Request> requests;
  for (size_t i = 0; i < fields.prompts.size(); ++i) {
    std::string param = fields.prompts.size() > 1 ? "prompt[" + std::to_string(i) + "]" : "prompt";
    requests.push_back(common);
    requests.back().prompt = model->encode(fields.prompts[i], param);
  }
  auto job = std::make_shared<GenerationJob>(exchange, model, preparer, fields, false, requests.size());
  job->start(std::move(requests));
}

void Service::chat(std::shared_ptr<Exchange> exchange, const Json &body) {
  ChatRequest fields = readChat(body, options.lenient);
  std::shared_ptr<ServedModel> model = modelOf(fields.model, !options.lenient);
  std::vector<Request> requests(1, requestOf(fields, fairnessKey(exchange->head(), fields.user)));
  requests[0].constraint = model->constraint(fields.grammar);
  requests[0].prompt = model->encodeChat(fields);
  auto job = std::make_shared<GenerationJob>(exchange, model, preparer, fields, true, 1);
  job->start(std::move(requests));
}

void Service::embed(std::shared_ptr<Exchange> exchange, const Json &body) {
  EmbeddingRequest fields = readEmbedding(body, options.lenient);
  std::shared_ptr<ServedModel> model = modelOf(fields.model, !options.lenient);
  if (Status support = model->engine().embeddingSupport(); !support)
    throw ApiError(400, "unsupported_value", model->name() + ": " + support.error().message(), "model");
  size_t size = model->engine().embeddingSize();
  if (fields.dimensions && size_t(fields.dimensions) != size)
    wrongValue("dimensions", "the model has " + std::to_string(size) + ", and they cannot be cut");
  std::vector<Request> requests;
  for (size_t i = 0; i < fields.inputs.size(); ++i) {
    Request request;
    request.kind = RequestKind::embed;
    request.pooling = fields.last ? Pooling::last : Pooling::mean;
    request.fairnessKey = fairnessKey(exchange->head(), fields.user);
    request.prompt =
        model->encode(fields.inputs[i], fields.inputs.size() > 1 ? "input[" + std::to_string(i) + "]" : "input");
    requests.push_back(std::move(request));
  }
  auto job = std::make_shared<EmbeddingJob>(exchange, model, preparer, fields.base64, requests.size());
  job->start(std::move(requests));
}

void Service::tokenize(Exchange &exchange, const Json &body) {
  TokenizeRequest fields = readTokenize(body, options.lenient);
  std::shared_ptr<ServedModel> model = modelOf(fields.model, false);
  std::vector<int32_t> tokens = model->encodeText(
      fields.text, "content", {.addSpecial = fields.addSpecial, .parseSpecial = fields.parseSpecial, .plain = {}});
  JsonItems items;
  for (int32_t token : tokens)
    items.add(fields.pieces ? "{\"id\":" + std::to_string(token) + ",\"piece\":" + tokenJson(model->bytes(token)) + "}"
                            : std::to_string(token));
  exchange.respond({200,
                    "{\"tokens\":" + items.list() + ",\"count\":" + std::to_string(tokens.size()) +
                        ",\"max_model_len\":" + std::to_string(model->engine().context()) + "}",
                    "application/json",
                    {}});
}

void Service::detokenize(Exchange &exchange, const Json &body) {
  DetokenizeRequest fields = readDetokenize(body, options.lenient);
  std::string text = jsonText(modelOf(fields.model, false)->decode(fields.tokens, fields.skipSpecial));
  // llama.cpp's name and vLLM's.
  exchange.respond({200, "{\"content\":" + text + ",\"prompt\":" + text + "}", "application/json", {}});
}

} // namespace mlc::server
