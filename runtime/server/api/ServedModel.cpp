//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/ServedModel.h"

#include <ctime>

namespace mlc::server {

Result<std::shared_ptr<ServedModel>> ServedModel::load(const ModelSource &source, const EngineOptions &options,
                                                       const ModelOptions &modelOptions) {
  auto served = std::make_shared<ServedModel>();
  served->modelName = source.name;
  served->since = time(nullptr);
  MLC_ASSIGN(Model * model, Model::open(source.file.c_str(), modelOptions));
  served->theModel.reset(model);
  char digest[32];
  snprintf(digest, sizeof digest, "mlc-%016llx", (unsigned long long)model->digest());
  served->digest = digest;
  auto inFile = [&](const Error &error) { return Error(error.code(), "%s: %s", model->name(), error.message()); };
  if (const Tokenizer *tokenizer = model->tokenizer()) {
    auto encoder = Encoder::create(*tokenizer);
    if (!encoder)
      return inFile(encoder.error());
    served->encoder.emplace(std::move(*encoder));
    for (uint32_t end : tokenizer->endTokens())
      served->ends.push_back(end);
  }
  if (auto chat = ChatPrompt::create(model->tokenizer()))
    served->chat.reset(*chat);
  else
    served->noChat = chat.error().message();
  auto engine = Engine::create(*model, options);
  if (!engine)
    return inFile(engine.error());
  served->theEngine = std::move(*engine);
  return served;
}

const Tokenizer &ServedModel::needTokenizer() const {
  if (const Tokenizer *tokenizer = theModel->tokenizer())
    return *tokenizer;
  throw ApiError(400, "unsupported_value", modelName + ": compiled without a tokenizer; give token ids");
}

void ServedModel::checkTokens(std::span<const int32_t> tokens, const std::string &param) const {
  if (tokens.empty())
    throw ApiError(400, "invalid_value", param + ": holds no token", param);
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || uint64_t(tokens[i]) >= theModel->bounds().vocab)
      throw ApiError(400, "invalid_value",
                     param + "[" + std::to_string(i) + "]: " + std::to_string(tokens[i]) +
                         " is no token id of the model; they are below " + std::to_string(theModel->bounds().vocab),
                     param);
  if (tokens.size() > theEngine->context())
    throw ApiError(400, "context_length_exceeded",
                   param + ": " + std::to_string(tokens.size()) + " tokens; the context has " +
                       std::to_string(theEngine->context()),
                   param);
}

std::vector<int32_t> ServedModel::encodeText(std::string_view text, const std::string &param, EncodeOptions options) {
  needTokenizer();
  auto ids = encoder->encode(text, options);
  if (!ids)
    throw ApiError(400, "invalid_value", param + ": " + ids.error().message(), param);
  return {ids->begin(), ids->end()};
}

std::vector<int32_t> ServedModel::encode(const Prompt &prompt, const std::string &param) {
  std::vector<int32_t> tokens;
  if (const std::string *text = std::get_if<std::string>(&prompt))
    tokens = encodeText(*text, param, {});
  else
    tokens = std::get<std::vector<int32_t>>(prompt);
  checkTokens(tokens, param);
  return tokens;
}

std::vector<int32_t> ServedModel::encodeChat(const ChatRequest &request) {
  if (!chat)
    throw ApiError(400, "unsupported_value", modelName + ": " + noChat);
  ChatInput input;
  input.messages = request.messages;
  input.variables = request.variables;
  input.addGenerationPrompt = request.addGenerationPrompt;
  auto ids = chat->encode(input);
  if (!ids)
    throw ApiError(400, "invalid_value", std::string("messages: ") + ids.error().message(), "messages");
  std::vector<int32_t> tokens(ids->begin(), ids->end());
  checkTokens(tokens, "messages");
  return tokens;
}

std::string ServedModel::decode(std::span<const int32_t> tokens, bool skipSpecial) const {
  const Tokenizer &tokenizer = needTokenizer();
  Decoder decoder(tokenizer, {skipSpecial});
  std::string text;
  TextSink sink{[](void *context, std::string_view piece) { *static_cast<std::string *>(context) += piece; }, &text};
  for (int32_t token : tokens)
    if (Status fed = decoder.feed(uint32_t(token), sink); !fed)
      throw ApiError(400, "invalid_value", std::string("tokens: ") + fed.error().message(), "tokens");
  decoder.flush(sink);
  return text;
}

std::function<Result<std::shared_ptr<TokenConstraint>>()> ServedModel::constraint(const GrammarFields &fields) {
  using Kind = GrammarFields::Kind;
  if (fields.kind == Kind::none)
    return nullptr;
  const Tokenizer &tokenizer = needTokenizer();
  auto compiled = fields.kind == Kind::gbnf         ? Grammar::fromGbnf(fields.text)
                  : fields.kind == Kind::jsonSchema ? Grammar::fromJsonSchema(fields.text)
                                                    : Grammar::jsonObject();
  if (!compiled)
    throw ApiError(400, "invalid_grammar", std::string(fields.param) + ": " + compiled.error().message(), fields.param);
  std::shared_ptr<Grammar> grammar(*compiled, Grammar::destroy);
  if (!trie) {
    auto made = TokenTrie::create(tokenizer, theModel->bounds().vocab);
    if (!made)
      throw ApiError(500, "", made.error().message());
    trie.reset(*made, TokenTrie::destroy);
  }
  return [grammar, trie = trie, ends = ends]() -> Result<std::shared_ptr<TokenConstraint>> {
    MLC_ASSIGN(GrammarMatcher * matcher, GrammarMatcher::create(*grammar, *trie, ends));
    // Grammar and trie live as long as their matcher.
    auto destroy = [grammar, trie](GrammarMatcher *gone) { GrammarMatcher::destroy(gone); };
    return std::shared_ptr<TokenConstraint>(std::shared_ptr<GrammarMatcher>(matcher, destroy));
  };
}

std::string_view ServedModel::bytes(int32_t token) const {
  const Tokenizer *tokenizer = theModel->tokenizer();
  if (!tokenizer)
    return {};
  return tokenizer->isSpecial(uint32_t(token)) ? tokenizer->tokenText(uint32_t(token))
                                               : tokenizer->decodedText(uint32_t(token));
}

bool ServedModel::isSpecial(int32_t token) const {
  return theModel->tokenizer() && theModel->tokenizer()->isSpecial(uint32_t(token));
}

} // namespace mlc::server
