//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Requests.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace mlc::server;

namespace {

/// The error of a body, as "status code param", or "" when it is taken.
template <typename Read> std::string errorOf(Read read, const std::string &body, bool lenient = false) {
  try {
    read(parseBody(body), lenient);
    return {};
  } catch (const ApiError &error) {
    // The form that clients see.
    Json shown = Json::parse(error.body())["error"];
    EXPECT_TRUE(shown["message"].is_string() && !shown["message"].get<std::string>().empty());
    EXPECT_EQ(shown["type"], "invalid_request_error");
    EXPECT_EQ(shown["param"].is_null(), error.param.empty());
    return std::to_string(error.status) + " " + error.code + " " + error.param;
  }
}
std::string completion(const std::string &fields, bool lenient = false) {
  return errorOf(readCompletion, R"({"model":"m","prompt":"p")" + (fields.empty() ? "" : "," + fields) + "}", lenient);
}
std::string chat(const std::string &fields, bool lenient = false) {
  return errorOf(readChat,
                 R"({"model":"m","messages":[{"role":"user","content":"c"}])" + (fields.empty() ? "" : "," + fields) +
                     "}",
                 lenient);
}

TEST(Requests, DefaultsAreOpenAIs) {
  CompletionRequest request = readCompletion(parseBody(R"({"model":"m","prompt":"p"})"), false);
  EXPECT_EQ(request.maxTokens, 16u);
  EXPECT_EQ(request.sampling.temperature, 1);
  EXPECT_EQ(request.sampling.topP, 1);
  EXPECT_EQ(request.n, 1u);
  EXPECT_EQ(request.logprobs, -1);
  EXPECT_FALSE(request.echo || request.stream || request.includeUsage);
  ChatRequest chat = readChat(parseBody(R"({"model":"m","messages":[{"role":"user","content":"c"}]})"), false);
  EXPECT_GT(chat.maxTokens, 1u << 30);
  EXPECT_EQ(chat.messages, R"([{"role":"user","content":"c"}])");
}

TEST(Requests, Prompts) {
  auto prompts = [](const char *text) { return readPrompts(Json::parse(text), "prompt"); };
  EXPECT_EQ(std::get<std::string>(prompts("\"a\"")[0]), "a");
  EXPECT_EQ(prompts("[\"a\",\"b\"]").size(), 2u);
  EXPECT_EQ(std::get<std::vector<int32_t>>(prompts("[1,2,3]")[0]), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(std::get<std::vector<int32_t>>(prompts("[[1],[2,3]]")[1]), (std::vector<int32_t>{2, 3}));
  for (const char *bad : {"[]", "{}", "1", "[1,\"a\"]", "[\"a\",1]", "[[1],\"a\"]", "[[\"a\"]]", "[1.5]", "[-1]",
                          "[2147483648]", "[null]", "[true]", "[[1.0]]", "true"})
    EXPECT_THROW(prompts(bad), ApiError) << bad;
}

TEST(Requests, RangesOfCompletions) {
  for (const char *good :
       {"",
        R"("temperature":0)",
        R"("temperature":2)",
        R"("temperature":null)",
        R"("n":128)",
        R"("max_tokens":0)",
        R"("logprobs":0)",
        R"("logprobs":5)",
        R"("best_of":20)",
        R"("best_of":0)",
        R"("n":2,"best_of":2,"stream":true)",
        R"("stop":"x")",
        R"("stop":["a","b","c","d"])",
        R"("stop":[])",
        R"("seed":-5)",
        R"("suffix":null)",
        R"("suffix":"")",
        R"("stream":true,"stream_options":{"include_usage":true})",
        R"("stream_options":null)",
        R"("logit_bias":{"5":-100,"6":100})",
        R"("user":"u")",
        R"("echo":true)",
        R"("presence_penalty":-2)",
        R"("response_format":{"type":"text"})",
        R"("response_format":{"type":"json_object"})",
        R"("response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{},"strict":true}})",
        R"("grammar":"root ::= \"a\"")"})
    EXPECT_EQ(completion(good), "") << good;
  const std::pair<const char *, const char *> bad[] = {
      {R"("temperature":2.1)", "400 invalid_value temperature"},
      {R"("temperature":-0.1)", "400 invalid_value temperature"},
      {R"("temperature":"1")", "400 invalid_type temperature"},
      {R"("temperature":true)", "400 invalid_type temperature"},
      {R"("top_p":1.5)", "400 invalid_value top_p"},
      {R"("n":0)", "400 invalid_value n"},
      {R"("n":129)", "400 invalid_value n"},
      {R"("n":1.5)", "400 invalid_type n"},
      {R"("max_tokens":-1)", "400 invalid_value max_tokens"},
      {R"("max_tokens":99999999999999999999)", "400 invalid_type max_tokens"},
      {R"("logprobs":6)", "400 invalid_value logprobs"},
      {R"("logprobs":true)", "400 invalid_type logprobs"},
      {R"("best_of":21)", "400 invalid_value best_of"},
      {R"("n":3,"best_of":2)", "400 invalid_value best_of"},
      {R"("best_of":2,"stream":true)", "400 invalid_value best_of"},
      {R"("stop":["a","b","c","d","e"])", "400 invalid_value stop"},
      {R"("stop":"")", "400 invalid_value stop"},
      {R"("stop":[1])", "400 invalid_type stop"},
      {R"("seed":1.5)", "400 invalid_type seed"},
      {R"("suffix":"s")", "400 unsupported_parameter suffix"},
      {R"("stream_options":{})", "400 invalid_value stream_options"},
      {R"("stream":true,"stream_options":{"x":1})", "400 unknown_parameter stream_options.x"},
      {R"("stream":true,"stream_options":{"include_obfuscation":true})",
       "400 unsupported_parameter stream_options.include_obfuscation"},
      {R"("stream":1)", "400 invalid_type stream"},
      {R"("logit_bias":{"x":1})", "400 invalid_value logit_bias"},
      {R"("logit_bias":{"1":101})", "400 invalid_value logit_bias"},
      {R"("logit_bias":[1])", "400 invalid_type logit_bias"},
      {R"("frequency_penalty":2.5)", "400 invalid_value frequency_penalty"},
      {R"("presence_penalty":"a")", "400 invalid_type presence_penalty"},
      {R"("user":5)", "400 invalid_type user"},
      {R"("echo":"yes")", "400 invalid_type echo"},
      {R"("frobnicate":1)", "400 unknown_parameter frobnicate"},
      {R"("messages":[])", "400 unknown_parameter messages"},
      {R"("response_format":{"type":"xml"})", "400 invalid_value response_format.type"},
      {R"("response_format":{})", "400 missing_required_parameter response_format.type"},
      {R"("response_format":{"type":"json_schema"})", "400 missing_required_parameter response_format.json_schema"},
      {R"("response_format":{"type":"json_object"},"grammar":"x")", "400 invalid_value response_format"},
  };
  for (auto [fields, error] : bad)
    EXPECT_EQ(completion(fields), error) << fields;
  EXPECT_EQ(completion(R"("frobnicate":1)", true), "");
  EXPECT_EQ(completion(R"("temperature":3)", true), "400 invalid_value temperature");
  EXPECT_EQ(errorOf(readCompletion, R"({"model":"m"})"), "400 missing_required_parameter prompt");
}

TEST(Requests, Chat) {
  for (const char *good :
       {"", R"("max_tokens":5)", R"("max_completion_tokens":5,"max_tokens":5)", R"("logprobs":true,"top_logprobs":20)",
        R"("modalities":["text"])", R"("store":false)", R"("tools":[])", R"("service_tier":"auto")",
        R"("chat_template_kwargs":{"enable_thinking":false})"})
    EXPECT_EQ(chat(good), "") << good;
  const std::pair<const char *, const char *> bad[] = {
      {R"("max_completion_tokens":5,"max_tokens":6)", "400 invalid_value max_tokens"},
      {R"("max_tokens":0)", "400 invalid_value max_tokens"},
      {R"("top_logprobs":2)", "400 invalid_value top_logprobs"},
      {R"("logprobs":true,"top_logprobs":21)", "400 invalid_value top_logprobs"},
      {R"("logprobs":2)", "400 invalid_type logprobs"},
      {R"("modalities":["audio"])", "400 invalid_value modalities"},
      {R"("store":true)", "400 unsupported_parameter store"},
      {R"("tools":[{"type":"function"}])", "400 unsupported_parameter tools"},
      {R"("audio":{})", "400 unsupported_parameter audio"},
      {R"("reasoning_effort":"low")", "400 unsupported_parameter reasoning_effort"},
      {R"("prediction":{})", "400 unsupported_parameter prediction"},
      {R"("web_search_options":{})", "400 unsupported_parameter web_search_options"},
      {R"("echo":true)", "400 unknown_parameter echo"},
      {R"("best_of":2)", "400 unknown_parameter best_of"},
      {R"("chat_template_kwargs":1)", "400 invalid_type chat_template_kwargs"},
  };
  for (auto [fields, error] : bad)
    EXPECT_EQ(chat(fields), error) << fields;
  auto messages = [](const char *text) {
    return errorOf(readChat, std::string(R"({"model":"m","messages":)") + text + "}");
  };
  EXPECT_EQ(messages("[]"), "400 invalid_value messages");
  EXPECT_EQ(messages("{}"), "400 invalid_type messages");
  EXPECT_EQ(messages(R"([{"role":"user"}])"), "400 missing_required_parameter messages[0].content");
  EXPECT_EQ(messages(R"([{"content":"x"}])"), "400 missing_required_parameter messages[0].role");
  EXPECT_EQ(messages(R"([{"role":"robot","content":"x"}])"), "400 invalid_value messages[0].role");
  EXPECT_EQ(messages(R"([{"role":"user","content":5}])"), "400 invalid_type messages[0].content");
  EXPECT_EQ(messages(R"([{"role":"user","content":[{"type":"image_url","image_url":{}}]}])"),
            "400 unsupported_value messages[0].content[0].type");
  EXPECT_EQ(messages(R"([{"role":"user","content":"x","colour":1}])"), "400 unknown_parameter messages[0].colour");
  EXPECT_EQ(messages(R"([{"role":"assistant","content":"x","refusal":null,"tool_calls":null,"annotations":[]}])"), "");
  ChatRequest parts = readChat(parseBody(R"({"model":"m","messages":[{"role":"developer","content":[
    {"type":"text","text":"a"},{"type":"text","text":"b"}]}]})"),
                               false);
  EXPECT_EQ(parts.messages, R"([{"role":"system","content":"a\nb"}])");
}

TEST(Requests, OtherEndpoints) {
  EXPECT_EQ(errorOf(readEmbedding, R"({"model":"m","input":["a"],"encoding_format":"base64"})"), "");
  EXPECT_EQ(errorOf(readEmbedding, R"({"model":"m","input":"a","encoding_format":"hex"})"),
            "400 invalid_value encoding_format");
  EXPECT_EQ(errorOf(readEmbedding, R"({"model":"m"})"), "400 missing_required_parameter input");
  EXPECT_EQ(errorOf(readTokenize, R"({"content":"a","add_special":false})"), "");
  EXPECT_EQ(errorOf(readTokenize, R"({"prompt":"a","content":"b"})"), "400 invalid_value prompt");
  EXPECT_EQ(errorOf(readTokenize, R"({})"), "400 missing_required_parameter content");
  EXPECT_EQ(errorOf(readDetokenize, R"({"tokens":[1,2]})"), "");
  EXPECT_EQ(errorOf(readDetokenize, R"({"tokens":"1"})"), "400 invalid_type tokens");
}

TEST(Requests, BodiesAreBounded) {
  auto none = [](const Json &, bool) {};
  for (const std::string &bad :
       {std::string(), std::string("[]"), std::string("{"), std::string("{} x"), std::string("{\"a\":\"\xff\"}"),
        std::string("{\"a\":1e999}"), std::string("nul"), "{\"a\":" + std::string(100000, '[') + "}",
        "{\"a\":[" + std::string(2 << 20, ',') + "]}"})
    EXPECT_EQ(errorOf(none, bad), "400 invalid_json ") << bad.substr(0, 40);
  // Brackets and commas in strings are text.
  EXPECT_EQ(errorOf(none, "{\"a\":\"" + std::string(100000, '[') + "\\\"" + std::string(2 << 20, ',') + "\"}"), "");
}

} // namespace
