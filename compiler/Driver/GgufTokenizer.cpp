//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/GgufTokenizer.h"

using namespace mlc;

namespace {

/// Reads optional keys under tokenizer.; keeps the first error.
class Keys {
public:
  explicit Keys(const gguf::Metadata &metadata) : metadata(metadata) {}
  ~Keys() { llvm::consumeError(std::move(problem)); }

  template <typename Read, typename Set> void read(const char *key, Read method, Set set) {
    auto value = (metadata.*method)(std::string("tokenizer.") + key);
    if (!value)
      fail(value.takeError());
    else if (*value)
      set(**value);
  }
  void id(const char *key, std::optional<uint32_t> &out) {
    read(key, &gguf::Metadata::integer, [&](int64_t value) {
      // Converters write 2^32 - 1 for none.
      if (value >= 0 && value <= INT32_MAX)
        out = uint32_t(value);
      else if (value != UINT32_MAX)
        fail(llvm::createStringError("%s: tokenizer.%s is %lld, no token id", metadata.file().str().c_str(), key,
                                     (long long)value));
    });
  }
  void flag(const char *key, std::optional<bool> &out) {
    read(key, &gguf::Metadata::boolean, [&](bool value) { out = value; });
  }
  void text(const char *key, std::string &out) {
    read(key, &gguf::Metadata::string, [&](llvm::StringRef value) { out = value.str(); });
  }
  void texts(const char *key, std::vector<std::string_view> &out) {
    read(key, &gguf::Metadata::strings,
         [&](const std::vector<llvm::StringRef> &values) { out.assign(values.begin(), values.end()); });
  }
  llvm::Error take() { return std::move(problem); }

private:
  /// The first problem is the one line that is said.
  void fail(llvm::Error error) {
    if (problem)
      llvm::consumeError(std::move(error));
    else
      problem = std::move(error);
  }
  const gguf::Metadata &metadata;
  llvm::Error problem = llvm::Error::success();
};

} // namespace

llvm::Expected<std::optional<GgufTokenizerFields>> mlc::ggufTokenizerFields(const gguf::Metadata &metadata) {
  GgufTokenizerFields fields;
  Keys keys(metadata);
  keys.text("ggml.model", fields.model);
  keys.text("ggml.pre", fields.pre);
  keys.texts("ggml.tokens", fields.tokens);
  keys.texts("ggml.merges", fields.merges);
  keys.read("ggml.scores", &gguf::Metadata::floats, [&](const std::vector<float> &values) { fields.scores = values; });
  keys.read("ggml.token_type", &gguf::Metadata::integers,
            [&](const std::vector<int64_t> &values) { fields.types.assign(values.begin(), values.end()); });
  keys.id("ggml.bos_token_id", fields.bos);
  keys.id("ggml.eos_token_id", fields.eos);
  keys.id("ggml.eot_token_id", fields.eot);
  keys.id("ggml.eom_token_id", fields.eom);
  keys.id("ggml.unknown_token_id", fields.unknown);
  keys.id("ggml.padding_token_id", fields.padding);
  keys.flag("ggml.add_bos_token", fields.addBos);
  keys.flag("ggml.add_eos_token", fields.addEos);
  keys.flag("ggml.add_space_prefix", fields.addSpacePrefix);
  keys.text("chat_template", fields.chatTemplate);
  if (llvm::Error error = keys.take())
    return std::move(error);
  if (fields.model.empty() || fields.model == "no_vocab")
    return std::nullopt;
  return fields;
}
