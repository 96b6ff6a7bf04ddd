//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The steps of tokenizer.json: normalizer, pre_tokenizer and decoder.
//
#include "compiler/Tokenizer/Pattern.h"
#include "compiler/Tokenizer/SourceParts.h"
#include "compiler/Tokenizer/TableParts.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/Base64.h"

using nlohmann::json;

namespace mlc {
namespace {

constexpr unsigned maxDepth = 8;

/// `pattern` of Split and Replace: {"String": ..} or {"Regex": ..}, as a regular expression.
llvm::Expected<std::string> patternOf(llvm::StringRef file, llvm::StringRef where, const json *pattern, bool &literal) {
  if (pattern) {
    if (const json *text = memberOf(*pattern, "String"); text && text->is_string()) {
      literal = true;
      return stringOf(text);
    }
    if (const json *regex = memberOf(*pattern, "Regex"); regex && regex->is_string()) {
      literal = false;
      return stringOf(regex);
    }
  }
  return sourceError(file, where + ": pattern is neither a String nor a Regex");
}

TransformStep prependStep(llvm::StringRef text, bool unlessPresent, bool firstOnly) {
  TransformStep step;
  step.op = fb::TransformOp::prepend;
  step.text = text.str();
  step.unlessPresent = unlessPresent;
  step.firstOnly = firstOnly;
  return step;
}

TransformStep replaceStep(llvm::StringRef find, llvm::StringRef by) {
  TransformStep step;
  step.op = fb::TransformOp::replace;
  step.find = find.str();
  step.text = by.str();
  return step;
}

llvm::Error normalizerStep(llvm::StringRef file, const json &step, std::vector<TransformStep> &steps, unsigned depth) {
  std::string type = stringOf(memberOf(step, "type"));
  std::string where = "normalizer " + type;
  auto members = [&](std::initializer_list<llvm::StringRef> names) { return checkMembers(file, where, step, names); };
  TransformStep made;
  if (type == "Sequence") {
    const json *list = memberOf(step, "normalizers");
    if (!list || !list->is_array() || depth > maxDepth)
      return sourceError(file, where + ": no list of normalizers, or nested too deep");
    for (const json &inner : *list)
      if (auto error = normalizerStep(file, inner, steps, depth + 1))
        return error;
    return members({"type", "normalizers"});
  }
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    if (auto error = members({"type"}))
      return error;
    made.op = fb::TransformOp::unicode_form;
    made.form = type;
  } else if (type == "Prepend") {
    if (auto error = members({"type", "prepend"}))
      return error;
    made = prependStep(stringOf(memberOf(step, "prepend")), false, false);
  } else if (type == "Strip") {
    if (auto error = members({"type", "strip_left", "strip_right"}))
      return error;
    made.op = fb::TransformOp::strip;
    made.left = boolOf(memberOf(step, "strip_left"), true);
    made.right = boolOf(memberOf(step, "strip_right"), true);
  } else if (type == "Lowercase") {
    if (auto error = members({"type"}))
      return error;
    made.op = fb::TransformOp::string_map;
    made.replacements = lowercaseMap();
  } else if (type == "StripAccents") {
    if (auto error = members({"type"}))
      return error;
    made.op = fb::TransformOp::replace_pattern;
    made.pattern = R"(\p{M})";
  } else if (type == "Replace") {
    if (auto error = members({"type", "pattern", "content"}))
      return error;
    bool literal;
    auto pattern = patternOf(file, where, memberOf(step, "pattern"), literal);
    if (!pattern)
      return pattern.takeError();
    made = replaceStep(*pattern, stringOf(memberOf(step, "content")));
    if (pattern->empty())
      return sourceError(file, where + ": an empty pattern");
    if (!literal) {
      made.op = fb::TransformOp::replace_pattern;
      made.pattern = std::exchange(made.find, "");
    }
  } else if (type == "Precompiled") {
    if (auto error = members({"type", "precompiled_charsmap"}))
      return error;
    std::vector<char> blob;
    if (auto error = llvm::decodeBase64(stringOf(memberOf(step, "precompiled_charsmap")), blob))
      return sourceError(file, where + ": precompiled_charsmap: " + llvm::toString(std::move(error)));
    if (blob.empty())
      return llvm::Error::success();
    auto map = readCharsMap(file, {blob.data(), blob.size()});
    if (!map)
      return map.takeError();
    made = std::move(*map);
  } else {
    return sourceError(file, "normalizer \"" + type + "\" is not supported");
  }
  steps.push_back(std::move(made));
  return llvm::Error::success();
}

llvm::Error preTokenizerStep(llvm::StringRef file, const json &step, std::vector<StageStep> &stages, bool &byteLevel,
                             unsigned depth) {
  std::string type = stringOf(memberOf(step, "type"));
  std::string where = "pre_tokenizer " + type;
  auto members = [&](std::initializer_list<llvm::StringRef> names) { return checkMembers(file, where, step, names); };
  auto addSplit = [&](std::string pattern, fb::SplitBehavior behavior, bool invert = false, bool rustWords = false) {
    stages.push_back({std::nullopt, SplitStep{std::move(pattern), behavior, invert, byteLevel, rustWords}});
    return llvm::Error::success();
  };
  auto behaviorOf = [&](fb::SplitBehavior fallback, std::optional<fb::SplitBehavior> &behavior) -> llvm::Error {
    const json *value = memberOf(step, "behavior");
    std::string name = value ? stringOf(value, "?") : "";
    if (!value)
      behavior = fallback;
    else
      behavior = llvm::StringSwitch<std::optional<fb::SplitBehavior>>(name)
                     .Case("Isolated", fb::SplitBehavior::isolated)
                     .Case("Removed", fb::SplitBehavior::removed)
                     .Case("MergedWithPrevious", fb::SplitBehavior::merged_with_previous)
                     .Case("MergedWithNext", fb::SplitBehavior::merged_with_next)
                     .Case("Contiguous", fb::SplitBehavior::contiguous)
                     .Default(std::nullopt);
    if (!behavior)
      return sourceError(file, where + ": behavior \"" + name + "\" is not supported");
    return llvm::Error::success();
  };
  if (type == "Sequence") {
    const json *list = memberOf(step, "pretokenizers");
    if (!list || !list->is_array() || depth > maxDepth)
      return sourceError(file, where + ": no list of pretokenizers, or nested too deep");
    for (const json &inner : *list)
      if (auto error = preTokenizerStep(file, inner, stages, byteLevel, depth + 1))
        return error;
    return members({"type", "pretokenizers"});
  }
  if (type == "ByteLevel") {
    if (auto error = members({"type", "add_prefix_space", "trim_offsets", "use_regex"}))
      return error;
    if (byteLevel)
      return sourceError(file, "pre_tokenizer: ByteLevel twice is not supported");
    if (boolOf(memberOf(step, "add_prefix_space"), true))
      stages.push_back({prependStep(" ", true, false), std::nullopt});
    if (boolOf(memberOf(step, "use_regex"), true))
      llvm::cantFail(addSplit(patterns::gpt2, fb::SplitBehavior::isolated));
    byteLevel = true;
    return llvm::Error::success();
  }
  if (type == "Split") {
    if (auto error = members({"type", "pattern", "behavior", "invert"}))
      return error;
    bool literal;
    auto pattern = patternOf(file, where, memberOf(step, "pattern"), literal);
    if (!pattern)
      return pattern.takeError();
    std::optional<fb::SplitBehavior> behavior;
    if (!memberOf(step, "behavior"))
      return sourceError(file, where + ": no behavior");
    if (auto error = behaviorOf(fb::SplitBehavior::isolated, behavior))
      return error;
    return addSplit(literal ? escapePattern(*pattern) : *pattern, *behavior, boolOf(memberOf(step, "invert"), false));
  }
  if (type == "Digits") {
    if (auto error = members({"type", "individual_digits"}))
      return error;
    bool single = boolOf(memberOf(step, "individual_digits"), false);
    return addSplit(R"(\p{N})", single ? fb::SplitBehavior::isolated : fb::SplitBehavior::contiguous);
  }
  if (type == "Punctuation") {
    std::optional<fb::SplitBehavior> behavior;
    if (auto error = members({"type", "behavior"}))
      return error;
    if (auto error = behaviorOf(fb::SplitBehavior::isolated, behavior))
      return error;
    return addSplit(patterns::asciiPunctuation, *behavior);
  }
  if (type == "Whitespace") {
    if (auto error = members({"type"}))
      return error;
    return addSplit(R"(\w+|[^\w\s]+)", fb::SplitBehavior::removed, true, true);
  }
  if (type == "WhitespaceSplit") {
    if (auto error = members({"type"}))
      return error;
    return addSplit(R"(\s+)", fb::SplitBehavior::removed);
  }
  if (type == "CharDelimiterSplit") {
    if (auto error = members({"type", "delimiter"}))
      return error;
    return addSplit(escapePattern(stringOf(memberOf(step, "delimiter"))), fb::SplitBehavior::removed);
  }
  if (type == "Metaspace") {
    if (auto error = members({"type", "replacement", "str_rep", "prepend_scheme", "add_prefix_space", "split"}))
      return error;
    if (byteLevel)
      return sourceError(file, "pre_tokenizer: Metaspace after ByteLevel is not supported");
    std::string mark = stringOf(memberOf(step, "replacement"), metaspace);
    std::string scheme = stringOf(memberOf(step, "prepend_scheme"),
                                  boolOf(memberOf(step, "add_prefix_space"), true) ? "always" : "never");
    if (scheme != "always" && scheme != "first" && scheme != "never")
      return sourceError(file, where + ": prepend_scheme \"" + scheme + "\" is not supported");
    if (mark.empty())
      return sourceError(file, where + ": an empty replacement");
    stages.push_back({replaceStep(" ", mark), std::nullopt});
    if (scheme != "never")
      stages.push_back({prependStep(mark, true, scheme == "first"), std::nullopt});
    if (boolOf(memberOf(step, "split"), true))
      return addSplit(escapePattern(mark), fb::SplitBehavior::merged_with_next);
    return llvm::Error::success();
  }
  return sourceError(file, "pre_tokenizer \"" + type + "\" is not supported");
}

} // namespace

llvm::Error readNormalizer(llvm::StringRef file, const json &step, std::vector<TransformStep> &steps) {
  return normalizerStep(file, step, steps, 0);
}

llvm::Error readPreTokenizer(llvm::StringRef file, const json &step, std::vector<StageStep> &stages, bool &byteLevel) {
  return preTokenizerStep(file, step, stages, byteLevel, 0);
}

llvm::Error readDecoder(llvm::StringRef file, const json *decoder, TokenizerModel &model) {
  std::vector<const json *> steps;
  if (!decoder)
    return sourceError(file, "decoder: a tokenizer without a decoder is not supported");
  if (stringOf(memberOf(*decoder, "type")) == "Sequence") {
    const json *list = memberOf(*decoder, "decoders");
    if (!list || !list->is_array())
      return sourceError(file, "decoder Sequence: no list of decoders");
    for (const json &step : *list)
      steps.push_back(&step);
  } else {
    steps.push_back(decoder);
  }
  bool fused = false;
  for (TokenEntry &token : model.tokens)
    token.decoded = token.text;
  for (const json *step : steps) {
    std::string type = stringOf(memberOf(*step, "type"));
    if (type == "ByteLevel") {
      if (model.kind != fb::TokenizerKind::byte_bpe)
        return sourceError(file, "decoder ByteLevel without a ByteLevel pre_tokenizer is not supported");
      // Token texts are raw bytes already, except in added tokens.
      for (TokenEntry &token : model.tokens)
        if (token.added)
          token.decoded = bytesOfAlphabet(token.text).value_or(token.text);
      fused = true;
    } else if (type == "Metaspace") {
      std::string mark = stringOf(memberOf(*step, "replacement"), metaspace);
      if (mark != metaspace)
        return sourceError(file, "decoder Metaspace: a replacement other than U+2581 is not supported");
      for (TokenEntry &token : model.tokens)
        token.decoded = withSpaces(token.decoded);
      if (stringOf(memberOf(*step, "prepend_scheme"),
                   boolOf(memberOf(*step, "add_prefix_space"), true) ? "always" : "never") != "never")
        model.stripLeading = 1;
      fused = true;
    } else if (type == "Replace" && !fused) {
      bool literal;
      auto pattern = patternOf(file, "decoder Replace", memberOf(*step, "pattern"), literal);
      if (!pattern)
        return pattern.takeError();
      if (!literal || pattern->empty())
        return sourceError(file, "decoder Replace: a regular expression is not supported");
      std::string content = stringOf(memberOf(*step, "content"));
      for (TokenEntry &token : model.tokens)
        for (size_t at = token.decoded.find(*pattern); at != std::string::npos;
             at = token.decoded.find(*pattern, at + content.size()))
          token.decoded.replace(at, pattern->size(), content);
    } else if (type == "ByteFallback" && !fused) {
      for (TokenEntry &token : model.tokens)
        if (auto byte = byteOfToken(token.decoded)) {
          token.decoded = std::string(1, char(*byte));
          token.byte = true;
        }
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Strip" && fused) {
      const json *start = memberOf(*step, "start"), *stop = memberOf(*step, "stop");
      if (stringOf(memberOf(*step, "content")) != " " || !start || !start->is_number_unsigned() ||
          start->get<uint64_t>() > 64 || (stop && *stop != 0))
        return sourceError(file, "decoder Strip: only spaces at the start are supported");
      model.stripLeading = start->get<uint32_t>();
    } else {
      return sourceError(file, "decoder \"" + type + "\"" + (fused ? " after the tokens are joined" : "") +
                                   " is not supported");
    }
  }
  return llvm::Error::success();
}

} // namespace mlc
