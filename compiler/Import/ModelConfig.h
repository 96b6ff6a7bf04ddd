//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a decoder-only language model is, independent of the format that describes it: config.json and GGUF metadata
// both become this, and the graph is built from it alone.
//
#pragma once

#include "schema_generated.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace mlc {

/// Rotary position embedding. Formulas: transformers' modeling_rope_utils.py; the graph's rope_angles computes them.
struct RopeConfig {
  fb::RopeScaling type = fb::RopeScaling::default_;
  double theta = 10000;
  double partial = 1;       // The share of a head that rotates, where the source does not say.
  int64_t rotaryDim = 0;    // Values of a head that rotate; even.
  bool interleaved = false; // Pairs (2i, 2i + 1) rotate instead of (i, i + rotaryDim / 2).
  double factor = 1;
  int64_t originalContext = 0; // Positions before scaling; of `dynamic`, longrope, yarn and llama3.
  double attentionFactor = 1;  // On cos and sin; resolved, of yarn and longrope.
  double betaFast = 32, betaSlow = 1;
  bool truncate = true;
  double lowFrequencyFactor = 1, highFrequencyFactor = 4;
  std::vector<double> shortFactors, longFactors; // rotaryDim / 2 each, of longrope.
  std::vector<double> factors; // rotaryDim / 2 that divide the frequencies, or none (GGUF's rope_freqs).
};

/// What generation_config.json recommends; absent fields are the runtime's defaults.
struct SamplingDefaults {
  std::optional<double> temperature, topP, minP, repetitionPenalty;
  std::optional<int64_t> topK;
  bool sample = false;
};

/// What mixes the tokens in a layer; `parallel`: attention and Mamba read the same rows, and their outputs are added.
enum class Mixer : uint8_t { none, attention, mamba, parallel };

/// Mamba-2 layers (arXiv 2405.21060).
struct MambaConfig {
  int64_t heads = 0, headDim = 0, groups = 1, stateSize = 0;
  int64_t kernel = 4; // Of the causal convolution.
  double dtMin = 0, dtMax = std::numeric_limits<double>::infinity();
  fb::Activation activation = fb::Activation::silu; // Of the convolution and of the gate.
  bool inputBias = false, outputBias = false, convBias = true;
  bool norm = true; // The gated norm, over each group; false: the gate alone.
  bool normBeforeGate = false;
  /// GGUF's forms: A itself instead of ln(-A), convolutions [channels, kernel], A and D [heads, 1], norms
  /// [groups, columns].
  bool ggufForms = false;
  double inputScale = 1, outputScale = 1;              // On what the layer reads and gives (falcon_h1).
  std::array<double, 5> pieceScales = {1, 1, 1, 1, 1}; // On gate, x, b, c and dt (falcon_h1).

  int64_t inner() const { return heads * headDim; }
  int64_t groupColumns() const { return groups * stateSize; }
  int64_t channels() const { return inner() + 2 * groupColumns(); } // Of the convolution: x, b and c.
};

/// The mixture of experts that stands in place of a layer's MLP; the graph's moe computes it.
struct MoeConfig {
  int64_t experts = 0; // 0: none.
  int64_t chosen = 0;  // Of a token.
  int64_t intermediate = 0;
  fb::RouterForm form = fb::RouterForm::softmax_topk;
  bool normalize = false; // The weights of the chosen are divided by their sum.
  double scale = 1;       // On them, last.
  int64_t groups = 1, topGroups = 1;
  bool selectionBias = false;     // Added to the scores that choose.
  int64_t sharedIntermediate = 0; // Of the MLP that every token passes; 0: none.
  bool sharedBias = false;        // Its projections have biases.
  bool sharedGate = false;        // Its result is multiplied with the sigmoid of a product.
  std::vector<uint8_t> layers;    // Per layer: whether it is a mixture; empty: all are.

  bool in(int64_t layer) const { return experts > 0 && (layers.empty() || layers[size_t(layer)]); }
};

struct ModelConfig {
  std::string architecture; // The name of one of Architectures/.
  std::string source;       // The file that said so, for messages.
  std::string name, license;

  int64_t hidden = 0, layers = 0, heads = 0, kvHeads = 0, headDim = 0, intermediate = 0, vocab = 0;
  int64_t maxPositions = 0;
  int64_t unusedLayers = 0; // Stored behind the last: they predict further tokens.

  double normEps = 1e-6;
  double normOffset = 0; // Added to each norm's weight (gemma: 1).
  fb::Activation activation = fb::Activation::silu;
  bool qkvBias = false, outputBias = false, mlpBias = false;
  bool qkNorm = false;        // An RMS norm over each head of q and k before the rotation.
  bool qkNormWhole = false;   // The same over all heads together (olmoe).
  bool sandwichNorms = false; // Norms after attention and MLP too, before their sums with the residual (gemma2).
  bool fusedQkv = false, fusedGateUp = false; // One stored matrix [q; k; v], and [gate; up].
  bool gatedMlp = true;                       // down(f(gate x) * up x); false: down(f(up x)) (nemotron_h).
  bool tied = false;                          // The head is the embedding.
  double attentionScale = 0;                  // On q . k.
  double attentionSoftcap = 0;                // 0: none.
  double finalSoftcap = 0;                    // 0: none.
  double embeddingScale = 1;                  // In f32: transformers rounds it to the run's dtype, which is f32 here.
  double residualScale = 1;                   // On what each half of a layer adds to the residual (granite).
  double logitScale = 1;                      // On the logits (granite: 1 / logits_scaling).

  double attentionInputScale = 1, attentionOutputScale = 1; // On what attention reads and gives (falcon_h1).
  double gateScale = 1, downScale = 1;                      // On the MLP's gate and output (falcon_h1).

  std::vector<Mixer> mixers;         // Per layer.
  std::vector<uint8_t> feedForwards; // Per layer: whether an MLP follows (or, without a mixer, stands alone).
  MambaConfig mamba;
  std::vector<int64_t> windows; // Per layer: a query at p sees keys in (p - window, p]; 0: all.
  std::vector<uint8_t> rotates; // Per layer: whether q and k rotate.
  RopeConfig rope;
  MoeConfig moe;

  std::optional<int64_t> bos;
  std::vector<int64_t> endTokens;
  SamplingDefaults sampling;
};

/// Whether any layer attends, has a Mamba mixer, or an MLP; and whether any rotates q and k.
bool attends(const ModelConfig &config);
bool hasMamba(const ModelConfig &config);
bool hasFeedForward(const ModelConfig &config);
bool rotates(const ModelConfig &config);

/// 0.1 mscale ln(factor) + 1, and 1 up to a factor of 1 (YaRN, arXiv 2309.00071, section 3.4).
double yarnAttentionFactor(double factor, double mscale = 1);
/// sqrt(1 + ln(factor) / ln(originalContext)), and 1 up to a factor of 1 (LongRoPE).
double longropeAttentionFactor(double factor, int64_t originalContext);

/// The most positions of a sequence that the model's form of position embedding covers.
int64_t coveredPositions(const ModelConfig &config);

/// Applies `--rope`: "none", "linear:F" or "yarn:F[,original=N]" in place of the checkpoint's own scaling; rotaryDim,
/// theta and interleaving stay. Refuses any other text.
llvm::Error overrideRope(ModelConfig &config, llvm::StringRef text);

/// The checks that hold for every source: sizes positive and bounded, heads a multiple of kvHeads, an even rotaryDim
/// inside the head, finite positive eps, scales and factors, tables of full length, end tokens inside the vocabulary.
llvm::Error checkConfig(const ModelConfig &config);

} // namespace mlc
