//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What one architecture is to the importer: a file of this folder describes each (docs/adding-an-architecture.md).
//
#pragma once

#include "compiler/Import/ModelConfig.h"

#include "llvm/ADT/ArrayRef.h"

namespace mlc {

class Checkpoint;
namespace hf {
class Fields;
}
namespace gguf {
class Keys;
}

/// The names of a decoder's weights in a form of checkpoint; a layer's follow `layerPrefix` and its number and a dot.
/// Norms and matrices end in ".weight", biases in ".bias", which the names here leave out.
struct WeightNames {
  const char *embedding, *finalNorm, *head, *layerPrefix;
  const char *attentionNorm, *q, *k, *v, *output, *qkv, *qNorm, *kNorm, *attentionPostNorm;
  const char *mlpNorm, *gate, *up, *gateUp, *down, *mlpPostNorm;
  /// mambaA, mambaD and mambaDtBias are whole names.
  const char *mambaIn, *mambaConv, *mambaA, *mambaD, *mambaDtBias, *mambaNorm, *mambaOut;
  const char *unused = nullptr; // What begins so is of no use here.
  // Of a mixture. The experts' weights lie in one tensor each: expertGateUp (gate's rows before up's in every expert)
  // or expertGate and expertUp, and expertDown, full names; or expert i's in `experts` i "." ownGate, ownUp and
  // ownDown.
  const char *router = nullptr, *selectionBias = nullptr; // The bias: a full name.
  const char *expertGateUp = nullptr, *expertGate = nullptr, *expertUp = nullptr, *expertDown = nullptr;
  const char *experts = nullptr, *ownGate = nullptr, *ownUp = nullptr, *ownDown = nullptr;
  const char *sharedGate = nullptr, *sharedUp = nullptr, *sharedGateUp = nullptr, *sharedDown = nullptr;
  const char *sharedScale = nullptr;
};
/// What most models of transformers use, and what GGUF uses. Of transformers too: hybrids whose MLP is a feed_forward
/// (Bamba, Falcon-H1), models whose layers hold one mixer each (Mamba 2, Nemotron-H), and Granite's mixtures of
/// experts.
extern const WeightNames kHuggingFaceNames, kGgufNames, kFeedForwardNames, kMixerNames, kBlockSparseNames;

struct Architecture {
  const char *name;        // model_type of config.json.
  const char *causalClass; // The only entry of config.json's `architectures` that is accepted.

  /// How its layers are made. decoder: attention and an MLP; hybrid: attention or Mamba, and an MLP where there is one;
  /// parallel: both beside one another, and an MLP; single: one of attention, Mamba and MLP.
  enum class Layers : uint8_t { decoder, hybrid, parallel, single };
  Layers layers = Layers::decoder;
  bool mambaOnly = false; // No layer attends or has an MLP: there are no fields of theirs.

  // Defaults of fields that config.json may leave out; all others are needed. From transformers' configuration class.
  static constexpr int64_t kLikeHeads = -1, kFromHidden = -1, kNone = -1;
  int64_t kvHeads = kLikeHeads;  // num_key_value_heads; null always means the number of heads.
  int64_t headDim = kFromHidden; // head_dim; kFromHidden: hidden_size / num_attention_heads.
  double normEps = 1e-6, theta = 10000;
  bool tied = false;
  int64_t maxPositions = kNone;             // max_position_embeddings.
  const char *normEpsName = "rms_norm_eps"; // What the field of the norms' epsilon is called.
  int64_t bos = kNone, eos = kNone;

  /// Sets config.layers, mixers and feedForwards; null: num_hidden_layers that all are what `layers` says.
  void (*readLayers)(hf::Fields &fields, ModelConfig &config) = nullptr;
  /// Reads the fields that only this family has; those of all families are in `config` by then, RoPE's come after.
  void (*readFields)(hf::Fields &fields, ModelConfig &config);
  const WeightNames *huggingFaceNames;

  /// The same for GGUF metadata; null: no GGUF of this architecture is read.
  void (*readKeys)(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) = nullptr;
  const WeightNames *ggufNames = nullptr;
  const char *ggufName = nullptr; // general.architecture, where it is not `name`.
};

extern const Architecture kLlama, kMistral, kQwen2, kQwen3, kGemma2, kSmolLM3, kPhi3, kGranite, kMixtral, kQwen2Moe,
    kQwen3Moe, kGraniteMoe, kGraniteMoeShared, kOlmoe, kGlm4Moe, kMamba2, kGraniteMoeHybrid, kBamba, kFalconH1,
    kNemotronH;

/// All of them, in the order above.
llvm::ArrayRef<const Architecture *> architectures();
/// The one whose model_type, or general.architecture, that is; or null.
const Architecture *findArchitecture(llvm::StringRef name);
/// The one whose GGUF files say `name`, or null.
const Architecture *findGgufArchitecture(llvm::StringRef name);
/// What a known architecture needs that is not there yet; null of any other.
const char *missingFeature(llvm::StringRef name);

} // namespace mlc
