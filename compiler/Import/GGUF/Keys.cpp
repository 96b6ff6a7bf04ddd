//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/GGUF/Keys.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace mlc::gguf {

Keys::Keys(const Metadata &metadata, StringRef architecture) : metadata(metadata), prefix((architecture + ".").str()) {}

std::string Keys::full(StringRef name) {
  std::string key = prefix + name.str();
  known.insert(key);
  return key;
}

void Keys::adopt(Error error) {
  std::string text = toString(std::move(error));
  if (!failed())
    problem = std::move(text);
}

void Keys::refuse(const Twine &what) {
  if (!failed())
    problem = (metadata.file() + ": " + what).str();
}

void Keys::refuseKey(StringRef name, const Twine &what) {
  refuse(Twine("metadata key \"") + prefix + name + "\" " + what);
}

int64_t Keys::requiredInteger(StringRef name) {
  std::optional<int64_t> value = integer(name);
  if (!value)
    refuseKey(name, "is missing");
  return value.value_or(0);
}

std::vector<int64_t> Keys::perLayer(StringRef name, int64_t layers, std::optional<int64_t> absent) {
  const Value *value = metadata.find(full(name));
  if (!value || value->type != ValueType::array) {
    int64_t number = !value && absent ? *absent : requiredInteger(name);
    return failed() ? std::vector<int64_t>() : std::vector<int64_t>(size_t(layers), number);
  }
  std::optional<std::vector<int64_t>> list = take(metadata.integers(full(name)));
  if (list && int64_t(list->size()) == layers)
    return *list;
  if (list)
    refuseKey(name,
              "holds " + Twine(list->size()) + " values, one for each of " + Twine(layers) + " layers is expected");
  return {};
}

int64_t Keys::uniform(StringRef name, int64_t layers, std::optional<int64_t> absent) {
  std::vector<int64_t> list = perLayer(name, layers, absent);
  if (list.empty())
    return 0;
  if (!all_equal(list)) {
    refuseKey(name, "differs between layers, which is not supported");
    return 0;
  }
  return list.front();
}

void Keys::ignore(std::initializer_list<const char *> names) {
  for (const char *name : names)
    full(name);
}

void Keys::refuseUnlessOff(std::initializer_list<const char *> names) {
  for (const char *name : names) {
    if (known.contains(prefix + name))
      continue;
    const Value *value = metadata.find(full(name));
    bool off = !value || (value->type == ValueType::boolean ? value->payload[0] == 0 : number(name).value_or(0) == 0);
    if (!off)
      refuseKey(name, "is set, which is not supported");
  }
}

Error Keys::finish() {
  std::vector<StringRef> unknown;
  for (const auto &entry : metadata.all())
    if (entry.getKey().starts_with(prefix) && !known.contains(entry.getKey()))
      unknown.push_back(entry.getKey());
  sort(unknown); // The map's order is no promise.
  if (!unknown.empty())
    refuse("metadata key \"" + printable(unknown.front()) + "\" is not known and may change the result");
  return failed() ? createStringError(inconvertibleErrorCode(), problem) : Error::success();
}

void readExperts(Keys &keys, ModelConfig &config) {
  MoeConfig &moe = config.moe;
  moe.experts = keys.requiredInteger("expert_count");
  moe.chosen = keys.requiredInteger("expert_used_count");
  moe.intermediate = keys.integer("expert_feed_forward_length").value_or(config.intermediate);
  if (moe.experts < 1)
    keys.refuseKey("expert_count", "is " + Twine(moe.experts) + "; at least 1 is expected");
  moe.scale = keys.number("expert_weights_scale").value_or(1);
  if (moe.scale == 0)
    moe.scale = 1;
  int64_t gating = keys.integer("expert_gating_func").value_or(1);
  if (gating != 1)
    keys.refuseKey("expert_gating_func", "is " + Twine(gating) + "; only 1 (softmax) is supported here");
}

void readMultipliers(Keys &keys, ModelConfig &config) {
  auto multiplier = [&](const char *name) {
    double value = keys.number(name).value_or(1);
    if (value < 0)
      keys.refuseKey(name, "is negative");
    return value == 0 ? 1 : value;
  };
  config.embeddingScale = multiplier("embedding_scale");
  config.residualScale = multiplier("residual_scale");
  config.logitScale = 1 / multiplier("logit_scale");
}

void readMamba(Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  MambaConfig &mamba = config.mamba;
  mamba.ggufForms = true;
  mamba.kernel = keys.requiredInteger("ssm.conv_kernel");
  mamba.stateSize = keys.requiredInteger("ssm.state_size");
  mamba.heads = keys.requiredInteger("ssm.time_step_rank");
  mamba.groups = keys.requiredInteger("ssm.group_count");
  int64_t inner = keys.requiredInteger("ssm.inner_size");
  keys.refuseUnlessOff({"ssm.dt_b_c_rms"});
  if (keys.failed())
    return;
  if (mamba.heads < 1 || mamba.groups < 1 || inner < 1 || inner % mamba.heads || mamba.heads % mamba.groups)
    return keys.refuseKey("ssm.time_step_rank", "is " + Twine(mamba.heads) + ", the number of heads; it must divide " +
                                                    Twine(inner) + " columns and be a multiple of " +
                                                    Twine(mamba.groups) + " groups");
  mamba.headDim = inner / mamba.heads;
  mamba.convBias = anyLayerHas(checkpoint, config.layers, "ssm_conv1d.bias");
  mamba.inputBias = anyLayerHas(checkpoint, config.layers, "ssm_in.bias");
  mamba.outputBias = anyLayerHas(checkpoint, config.layers, "ssm_out.bias");
}

bool anyLayerHas(const Checkpoint &checkpoint, int64_t layers, const char *name) {
  for (int64_t i = 0; i < layers; ++i)
    if (checkpoint.find(("blk." + Twine(i) + "." + name).str()))
      return true;
  return false;
}

bool firstLayerHas(const Checkpoint &checkpoint, const char *name) {
  return checkpoint.find((Twine("blk.0.") + name).str()) != nullptr;
}

} // namespace mlc::gguf
