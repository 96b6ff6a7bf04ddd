//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/ModelConfig.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Twine.h"

#include <algorithm>
#include <cmath>

using namespace llvm;

namespace mlc {

static bool anyMixer(const ModelConfig &config, Mixer mixer) {
  return llvm::is_contained(config.mixers, mixer) || llvm::is_contained(config.mixers, Mixer::parallel);
}
bool attends(const ModelConfig &config) { return anyMixer(config, Mixer::attention); }
bool hasMamba(const ModelConfig &config) { return anyMixer(config, Mixer::mamba); }
bool hasFeedForward(const ModelConfig &config) { return llvm::is_contained(config.feedForwards, 1); }
bool rotates(const ModelConfig &config) { return attends(config) && llvm::is_contained(config.rotates, 1); }

double yarnAttentionFactor(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

double longropeAttentionFactor(double factor, int64_t originalContext) {
  return factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(double(originalContext)));
}

int64_t coveredPositions(const ModelConfig &config) {
  const RopeConfig &rope = config.rope;
  double scaled = 0;
  // A scaled form reaches further than the positions it was derived from; longrope, llama3 and linear state the reach
  // in the model's own maximum.
  if (rope.type == fb::RopeScaling::yarn || rope.type == fb::RopeScaling::dynamic)
    scaled = rope.factor * double(rope.originalContext);
  return std::max(config.maxPositions, int64_t(std::min(scaled, 0x1p40)));
}

Error overrideRope(ModelConfig &config, StringRef text) {
  auto fail = [&](const Twine &what) {
    return createStringError(inconvertibleErrorCode(), "--rope " + printable(text) + ": " + what);
  };
  auto positive = [](StringRef number, double &value) {
    return !number.getAsDouble(value) && std::isfinite(value) && value >= 1 && value <= 65536;
  };
  if (!rotates(config))
    return fail("no layer of the model rotates; leave it out");
  RopeConfig rope;
  rope.theta = config.rope.theta;
  rope.rotaryDim = config.rope.rotaryDim;
  rope.interleaved = config.rope.interleaved;
  // The positions the model was trained on: what a scaling in the checkpoint started from, else its maximum.
  int64_t trained = config.rope.type != fb::RopeScaling::default_ && config.rope.originalContext > 0
                        ? config.rope.originalContext
                        : config.maxPositions;
  auto [kind, rest] = text.split(':');
  if (text == "none") {
    config.maxPositions = trained;
  } else if (kind == "linear") {
    if (!positive(rest, rope.factor))
      return fail("a factor of at least 1 is expected after linear:");
    rope.type = fb::RopeScaling::linear;
    rope.originalContext = trained;
    config.maxPositions = int64_t(rope.factor * double(trained));
  } else if (kind == "yarn") {
    auto [factor, option] = rest.split(',');
    rope.originalContext = trained;
    if (!positive(factor, rope.factor))
      return fail("a factor of at least 1 is expected after yarn:");
    if (rest.contains(',') && (!option.consume_front("original=") || option.getAsInteger(10, rope.originalContext) ||
                               rope.originalContext < 1 || rope.originalContext > (int64_t(1) << 32)))
      return fail("only original=N, the positions the model was trained on, may follow the factor");
    rope.type = fb::RopeScaling::yarn;
    rope.attentionFactor = yarnAttentionFactor(rope.factor);
    config.maxPositions = int64_t(rope.factor * double(rope.originalContext));
  } else {
    return fail("yarn:FACTOR[,original=N], linear:FACTOR or none is expected");
  }
  config.rope = std::move(rope);
  return Error::success();
}

Error checkConfig(const ModelConfig &config) {
  auto fail = [&](const Twine &what) {
    return createStringError(inconvertibleErrorCode(), config.source + ": " + what);
  };
  const bool attention = attends(config), mamba = hasMamba(config), rotation = rotates(config);
  struct Size {
    bool used;
    const char *name;
    int64_t value, limit;
  };
  for (const Size &size :
       {Size{true, "the hidden size", config.hidden, 1 << 20}, Size{true, "the number of layers", config.layers, 4096},
        Size{attention, "the number of heads", config.heads, 65536},
        Size{attention, "the number of KV heads", config.kvHeads, 65536},
        Size{attention, "the head size", config.headDim, 65536},
        Size{hasFeedForward(config), "the intermediate size", config.intermediate, 1 << 24},
        Size{true, "the vocabulary", config.vocab, 1 << 26},
        Size{true, "the number of positions", config.maxPositions, int64_t(1) << 32},
        Size{mamba, "the number of Mamba heads", config.mamba.heads, 65536},
        Size{mamba, "the size of a Mamba head", config.mamba.headDim, 65536},
        Size{mamba, "the number of Mamba groups", config.mamba.groups, 65536},
        Size{mamba, "the Mamba state's size", config.mamba.stateSize, 65536}})
    if (size.used && (size.value < 1 || size.value > size.limit))
      return fail(Twine(size.name) + " is " + Twine(size.value) + "; 1 to " + Twine(size.limit) + " is expected");
  if (attention && config.heads % config.kvHeads)
    return fail(Twine(config.heads) + " heads are no multiple of " + Twine(config.kvHeads) + " KV heads");
  if (mamba && config.mamba.heads % config.mamba.groups)
    return fail(Twine(config.mamba.heads) + " Mamba heads are no multiple of " + Twine(config.mamba.groups) +
                " groups");
  // A page of 16 positions of the convolution's state must hold what the next page reads.
  if (mamba && (config.mamba.kernel < 2 || config.mamba.kernel > 17))
    return fail("the Mamba convolution's kernel is " + Twine(config.mamba.kernel) + "; 2 to 17 is expected");
  if (const MoeConfig &moe = config.moe; moe.experts != 0) {
    if (moe.experts < 1 || moe.experts > 65536)
      return fail("the number of experts is " + Twine(moe.experts) + "; 1 to 65536 is expected");
    if (moe.chosen < 1 || moe.chosen > moe.experts)
      return fail(Twine(moe.chosen) + " of " + Twine(moe.experts) + " experts for a token; 1 to all are expected");
    if (moe.intermediate < 1 || moe.intermediate > 1 << 24 || moe.sharedIntermediate < 0 ||
        moe.sharedIntermediate > 1 << 24)
      return fail("the experts' intermediate size is " + Twine(moe.intermediate) + ", the shared one's " +
                  Twine(moe.sharedIntermediate) + "; 1 to 16777216 is expected");
    if (moe.groups < 1 || moe.experts % moe.groups || (moe.groups > 1 && moe.experts / moe.groups < 2) ||
        moe.topGroups < 1 || moe.topGroups > moe.groups || moe.chosen > moe.experts / moe.groups * moe.topGroups)
      return fail(Twine(moe.topGroups) + " of " + Twine(moe.groups) + " groups of " + Twine(moe.experts) +
                  " experts cannot give " + Twine(moe.chosen) + " for a token");
    if (!(moe.scale >= 1e-9 && moe.scale <= 1e9))
      return fail("the scale of the experts' weights is " + std::to_string(moe.scale) + ", out of range");
  }
  const RopeConfig &rope = config.rope;
  if (rotation && (rope.rotaryDim < 2 || rope.rotaryDim % 2 || rope.rotaryDim > config.headDim))
    return fail("RoPE rotates " + Twine(rope.rotaryDim) + " values of a head of " + Twine(config.headDim) +
                "; an even number inside the head is expected");
  struct Number {
    const char *name;
    double value, low, high;
  };
  const MambaConfig &ssm = config.mamba;
  if (!(ssm.dtMin >= 0 && ssm.dtMin <= ssm.dtMax && ssm.dtMin < 1e9))
    return fail("the limits of Mamba's time step are " + std::to_string(ssm.dtMin) + " and " +
                std::to_string(ssm.dtMax) + "; numbers from 0 on, the second not below the first, are expected");
  for (double scale : {config.attentionInputScale, config.attentionOutputScale, config.gateScale, config.downScale,
                       ssm.inputScale, ssm.outputScale, ssm.pieceScales[0], ssm.pieceScales[1], ssm.pieceScales[2],
                       ssm.pieceScales[3], ssm.pieceScales[4]})
    if (!(std::abs(scale) <= 1e9))
      return fail("a multiplier is " + std::to_string(scale) + ", out of range");
  for (const Number &number :
       {Number{"the norm's epsilon", config.normEps, 0, 1},
        Number{"the attention scale", attention ? config.attentionScale : 1, 1e-12, 1e6},
        Number{"the attention soft cap", config.attentionSoftcap, 0, 1e9},
        Number{"the final soft cap", config.finalSoftcap, 0, 1e9},
        Number{"the embedding multiplier", config.embeddingScale, 1e-12, 1e9},
        Number{"the residual multiplier", config.residualScale, 1e-12, 1e9},
        Number{"the scale of the logits", config.logitScale, 1e-12, 1e9}, Number{"rope_theta", rope.theta, 1, 1e15},
        Number{"the RoPE factor", rope.factor, 1e-3, 65536},
        Number{"the RoPE attention factor", rope.attentionFactor, 1e-6, 1e6},
        Number{"beta_fast", rope.betaFast, 1e-6, 1e9}, Number{"beta_slow", rope.betaSlow, 1e-6, 1e9},
        Number{"low_freq_factor", rope.lowFrequencyFactor, 1e-6, 1e9},
        Number{"high_freq_factor", rope.highFrequencyFactor, 1e-6, 1e9}})
    if (!(number.value >= number.low && number.value <= number.high))
      return fail(Twine(number.name) + " is " + std::to_string(number.value) + ", out of range");
  if (rope.type != fb::RopeScaling::default_ && rope.type != fb::RopeScaling::linear &&
      (rope.originalContext < 1 || rope.originalContext > (int64_t(1) << 32)))
    return fail("RoPE's original context is " + Twine(rope.originalContext) + "; 1 to 4294967296 is expected");
  if (rope.type == fb::RopeScaling::llama3 && rope.lowFrequencyFactor >= rope.highFrequencyFactor)
    return fail("low_freq_factor must be below high_freq_factor");
  if ((rope.type == fb::RopeScaling::dynamic && rope.rotaryDim < 4) ||
      (rope.type == fb::RopeScaling::yarn && rope.theta <= 1))
    return fail("this form of RoPE needs at least 4 rotating values and a theta above 1");
  size_t half = size_t(rope.rotaryDim) / 2;
  auto tableFits = [&](const auto &table, bool wanted) {
    return table.size() == (wanted ? half : 0) &&
           std::all_of(table.begin(), table.end(), [](double v) { return v >= 1e-6 && v <= 1e12; });
  };
  bool isLong = rope.type == fb::RopeScaling::longrope;
  if (!tableFits(rope.shortFactors, isLong) || !tableFits(rope.longFactors, isLong))
    return fail("short_factor and long_factor of longrope must hold " + Twine(half) + " positive numbers each");
  if (!rope.factors.empty() && !tableFits(rope.factors, true))
    return fail("the RoPE frequency factors must be " + Twine(half) + " positive numbers");
  for (int64_t token : config.endTokens)
    if (token < 0 || token >= config.vocab)
      return fail("end token " + Twine(token) + " is outside the vocabulary of " + Twine(config.vocab));
  if (config.bos && (*config.bos < 0 || *config.bos >= config.vocab))
    return fail("bos_token_id " + Twine(*config.bos) + " is outside the vocabulary of " + Twine(config.vocab));
  return Error::success();
}

} // namespace mlc
