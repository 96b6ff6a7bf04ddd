//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Requests.h"
#include "runtime/server/http/Log.h"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sys/random.h>

namespace mlc::server {

static constexpr size_t kStopTexts = 4, kStopTextBytes = 1024;

std::vector<int32_t> readTokens(const Json &value, const std::string &param) {
  std::vector<int32_t> tokens;
  if (!value.is_array())
    wrongType(param, "a list of token ids", value);
  tokens.reserve(value.size());
  for (const Json &token : value) {
    std::string at = param + "[" + std::to_string(tokens.size()) + "]";
    if (!token.is_number_integer())
      throw ApiError(400, "invalid_type", at + ": expected a token id, got " + token.type_name(), param);
    if (!token.is_number_unsigned() || token.get<uint64_t>() > INT32_MAX)
      throw ApiError(400, "invalid_value", at + ": no token id of the model", param);
    tokens.push_back(int32_t(token.get<uint64_t>()));
  }
  return tokens;
}

std::vector<Prompt> readPrompts(const Json &value, const std::string &param) {
  std::vector<Prompt> prompts;
  if (value.is_string()) {
    prompts.emplace_back(value.get<std::string>());
    return prompts;
  }
  if (!value.is_array())
    wrongType(param, "a string, a list of strings, a list of token ids or a list of those", value);
  if (value.empty())
    wrongValue(param, "an empty list");
  if (value[0].is_number()) {
    prompts.emplace_back(readTokens(value, param));
    return prompts;
  }
  if (value.size() > kMaxPrompts)
    wrongValue(param, "at most " + std::to_string(kMaxPrompts) + " in one request");
  for (const Json &item : value) {
    // All of one kind, as OpenAI has it.
    if (item.type() != value[0].type() || !(item.is_string() || item.is_array()))
      wrongType(param, "strings alone or lists of token ids alone", item);
    if (item.is_string())
      prompts.emplace_back(item.get<std::string>());
    else
      prompts.emplace_back(readTokens(item, param));
  }
  return prompts;
}

static std::vector<LogitBias> readBias(const Json &value, const std::string &param) {
  if (!value.is_object())
    wrongType(param, "an object from token ids to numbers", value);
  std::vector<LogitBias> bias;
  for (const auto &[key, amount] : value.items()) {
    char *end;
    errno = 0;
    long long token = strtoll(key.c_str(), &end, 10);
    if (key.empty() || key[0] < '0' || key[0] > '9' || *end || errno || token > INT32_MAX)
      wrongValue(param, jsonText(key) + " is no token id");
    if (!amount.is_number())
      wrongType(param + "." + key, "a number", amount);
    double number = amount.get<double>();
    if (!(number >= -100 && number <= 100))
      throw ApiError(400, "invalid_value", param + "." + key + ": choose -100 to 100", param);
    bias.push_back({int32_t(token), float(number)});
  }
  return bias;
}

static std::vector<std::string> readStops(const Json &value, const std::string &param) {
  std::vector<std::string> stops;
  auto take = [&](const Json &item) {
    if (!item.is_string())
      wrongType(param, "a string or a list of strings", item);
    stops.push_back(item.get<std::string>());
    if (stops.back().empty() || stops.back().size() > kStopTextBytes)
      wrongValue(param, "a stop text has 1 to " + std::to_string(kStopTextBytes) + " bytes");
  };
  if (value.is_array()) {
    if (value.size() > kStopTexts)
      wrongValue(param, "at most " + std::to_string(kStopTexts) + " stop texts");
    for (const Json &item : value)
      take(item);
  } else {
    take(value);
  }
  return stops;
}

static void readGrammar(Fields &fields, GrammarFields &out) {
  if (const Json *grammar = fields.find("grammar")) {
    if (!grammar->is_string())
      wrongType("grammar", "a string of GBNF", *grammar);
    out = {GrammarFields::Kind::gbnf, grammar->get<std::string>(), "grammar"};
  }
  const Json *format = fields.find("response_format");
  if (!format)
    return;
  Fields inner(*format, "response_format", fields.isLenient());
  inner.require("type");
  std::string type = inner.choice("type", {"text", "json_object", "json_schema"});
  if (type != "text" && out.kind != GrammarFields::Kind::none)
    wrongValue("response_format", "give this or grammar");
  if (type == "json_object")
    out = {GrammarFields::Kind::jsonObject, {}, "response_format"};
  if (type == "json_schema") {
    Fields schema(inner.require("json_schema"), "response_format.json_schema", fields.isLenient());
    schema.require("name");
    schema.text("name");
    schema.text("description");
    schema.flag("strict", true);
    const Json &text = schema.require("schema");
    if (!text.is_object() && !text.is_boolean())
      wrongType("response_format.json_schema.schema", "a JSON schema", text);
    out = {GrammarFields::Kind::jsonSchema, text.dump(), "response_format"};
    schema.finish();
  }
  inner.finish();
}

static uint64_t randomSeed() {
  uint64_t seed = 0;
  while (getrandom(&seed, sizeof seed, 0) != ssize_t(sizeof seed)) {
  }
  return seed;
}

void readGeneration(Fields &fields, GenerationFields &out) {
  out.model = fields.text("model");
  SamplingOptions &sampling = out.sampling;
  sampling.temperature = float(fields.real("temperature", 0, 2, 1));
  sampling.topP = float(fields.real("top_p", 0, 1, 1));
  // The fewest tokens that reach 0 is one.
  if (sampling.topP <= 0)
    sampling.topP = 1e-6f;
  sampling.topK = uint32_t(fields.integer("top_k", 0, INT32_MAX, 0));
  sampling.minP = float(fields.real("min_p", 0, 1, 0));
  sampling.repetitionPenalty = float(fields.real("repetition_penalty", 0.01, 10, 1));
  sampling.presencePenalty = float(fields.real("presence_penalty", -2, 2, 0));
  sampling.frequencyPenalty = float(fields.real("frequency_penalty", -2, 2, 0));
  sampling.seed = fields.find("seed") ? uint64_t(fields.integer("seed", INT64_MIN, INT64_MAX, 0)) : randomSeed();
  out.n = uint32_t(fields.integer("n", 1, 128, 1));
  if (const Json *bias = fields.find("logit_bias"))
    out.bias = readBias(*bias, "logit_bias");
  if (const Json *stop = fields.find("stop"))
    out.stops = readStops(*stop, "stop");
  out.stream = fields.flag("stream", false);
  if (const Json *options = fields.find("stream_options")) {
    Fields inner(*options, "stream_options", fields.isLenient());
    out.includeUsage = inner.flag("include_usage", false);
    // Padding against observers of encrypted streams.
    inner.unsupported("include_obfuscation", false);
    inner.finish();
    if (!out.stream)
      wrongValue("stream_options", "only with stream: true");
  }
  out.ignoreEnd = fields.flag("ignore_eos", false);
  out.deadlineMs = fields.real("deadline_ms", 0, 86'400'000, 0);
  out.user = fields.text("user");
  readGrammar(fields, out.grammar);
}

} // namespace mlc::server
