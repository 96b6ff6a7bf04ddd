//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/HuggingFace/RopeFields.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <cmath>

using namespace llvm;
using nlohmann::json;

namespace mlc::hf {
namespace {

double positive(Fields &fields, const char *name, double fallback) {
  std::optional<double> value = fields.number(name);
  if (value && *value <= 0)
    fields.refuse(name, "a positive number is expected");
  return value && *value > 0 ? *value : fallback;
}

/// A factor that transformers divides by the original context when the file has none.
double factorOrRatio(Fields &fields, const ModelConfig &config, int64_t original) {
  return positive(fields, "factor", double(config.maxPositions) / double(std::max<int64_t>(original, 1)));
}

void parseYarn(Fields &fields, const ModelConfig &config, RopeConfig &rope) {
  rope.factor = fields.present("factor") && !fields.has("factor") ? factorOrRatio(fields, config, rope.originalContext)
                                                                  : positive(fields, "factor", 0);
  if (rope.factor == 0)
    fields.refuse("factor", "the field is needed");
  rope.betaFast = positive(fields, "beta_fast", 32);
  rope.betaSlow = positive(fields, "beta_slow", 1);
  rope.truncate = fields.boolean("truncate").value_or(true);
  double mscale = fields.number("mscale").value_or(0), mscaleAll = fields.number("mscale_all_dim").value_or(0);
  if (std::optional<double> given = fields.number("attention_factor"))
    rope.attentionFactor = *given;
  else if (mscale != 0 && mscaleAll != 0)
    rope.attentionFactor = yarnAttentionFactor(rope.factor, mscale) / yarnAttentionFactor(rope.factor, mscaleAll);
  else
    rope.attentionFactor = yarnAttentionFactor(rope.factor);
}

void parseLongrope(Fields &fields, const ModelConfig &config, RopeConfig &rope) {
  rope.shortFactors = fields.numbers("short_factor");
  rope.longFactors = fields.numbers("long_factor");
  for (const char *name : {"short_factor", "long_factor"})
    if (!fields.has(name))
      fields.refuse(name, "the field is needed");
  double factor = factorOrRatio(fields, config, rope.originalContext);
  if (std::optional<double> given = fields.number("attention_factor"))
    rope.attentionFactor = *given;
  else
    rope.attentionFactor = longropeAttentionFactor(factor, rope.originalContext);
}

void parseLlama3(Fields &fields, RopeConfig &rope) {
  for (const char *name : {"factor", "low_freq_factor", "high_freq_factor"})
    if (!fields.has(name))
      fields.refuse(name, "the field is needed");
  rope.factor = positive(fields, "factor", 1);
  rope.lowFrequencyFactor = positive(fields, "low_freq_factor", 1);
  rope.highFrequencyFactor = positive(fields, "high_freq_factor", 4);
}

} // namespace

void parseRope(Fields &fields, double defaultTheta, ModelConfig &config) {
  RopeConfig &rope = config.rope;
  const bool phi3 = config.architecture == "phi3";
  const json *parameters = fields.object("rope_parameters"), *scaling = fields.object("rope_scaling");
  double theta = positive(fields, "rope_theta", defaultTheta);
  double partial = fields.number("partial_rotary_factor").value_or(rope.partial);
  if (parameters && scaling && *parameters != *scaling)
    return fields.refuse("rope_scaling", "rope_parameters says otherwise");
  static const json none = json::object();
  const json &object = parameters ? *parameters : scaling ? *scaling : none;
  Fields inner(fields.fileName(), object, parameters ? "rope_parameters." : "rope_scaling.");

  std::optional<std::string> type = inner.string("rope_type"), oldType = inner.string("type");
  if (type && oldType && *type != *oldType)
    inner.refuse("type", "rope_type says otherwise");
  std::string name = type ? *type : oldType.value_or("default");
  // Early phi3 files call longrope by these names.
  if (phi3 && (name == "su" || name == "yarn"))
    name = "longrope";
  rope.theta = positive(inner, "rope_theta", theta);
  partial = inner.number("partial_rotary_factor").value_or(partial);
  if (!(partial > 0 && partial <= 1))
    fields.refuse("partial_rotary_factor", "a number above 0 and up to 1 is expected");
  else
    rope.rotaryDim = int64_t(double(config.headDim) * partial);

  std::optional<fb::RopeScaling> known = StringSwitch<std::optional<fb::RopeScaling>>(name)
                                             .Case("default", fb::RopeScaling::default_)
                                             .Case("linear", fb::RopeScaling::linear)
                                             .Case("dynamic", fb::RopeScaling::dynamic)
                                             .Case("yarn", fb::RopeScaling::yarn)
                                             .Case("longrope", fb::RopeScaling::longrope)
                                             .Case("llama3", fb::RopeScaling::llama3)
                                             .Default(std::nullopt);
  if (!known)
    inner.refuse("rope_type", "\"" + printable(name) +
                                  "\" is not supported; default, linear, dynamic, yarn, longrope and "
                                  "llama3 are");
  rope.type = known.value_or(fb::RopeScaling::default_);
  if (phi3 && rope.type != fb::RopeScaling::default_ && rope.type != fb::RopeScaling::longrope)
    inner.refuse("rope_type", "phi3 takes default and longrope");

  // phi3 states it outside of the RoPE object, where it takes precedence.
  int64_t outer = rope.originalContext;
  rope.originalContext = config.maxPositions;
  if (rope.type == fb::RopeScaling::yarn || rope.type == fb::RopeScaling::longrope ||
      rope.type == fb::RopeScaling::llama3) {
    std::optional<int64_t> own = inner.integer("original_max_position_embeddings");
    rope.originalContext = outer > 0 ? outer : own.value_or(config.maxPositions);
    if (rope.originalContext < 1)
      inner.refuse("original_max_position_embeddings", "a positive number is expected");
  }
  switch (rope.type) {
  case fb::RopeScaling::linear:
  case fb::RopeScaling::dynamic:
    if (!inner.has("factor"))
      inner.refuse("factor", "the field is needed");
    rope.factor = positive(inner, "factor", 1);
    break;
  case fb::RopeScaling::yarn:
    parseYarn(inner, config, rope);
    break;
  case fb::RopeScaling::longrope:
    parseLongrope(inner, config, rope);
    break;
  case fb::RopeScaling::llama3:
    parseLlama3(inner, rope);
    break;
  default:
    break;
  }
  if (Error error = inner.finish())
    fields.adopt(std::move(error));
}

} // namespace mlc::hf
