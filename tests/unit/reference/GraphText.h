//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Small language models as graph text: any geometry of the families that mlc knows, weights from a hash of their names.
// The tests of the interpreter and the random-graph differential test draw from it.
//
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mlc::test {

/// A decoder of the Llama family and its relatives.
struct Geometry {
  int64_t vocabulary = 19, hidden = 12, intermediate = 20, layers = 2;
  int64_t heads = 4, kvHeads = 2, headDim = 6;
  int64_t context = 64;              // trained_context.
  float eps = 1e-5f, normOffset = 0; // Offset 1: Gemma.
  float embeddingScale = 1;
  int64_t window = 0; // Of even layers when alternate, else of all.
  bool alternate = false;
  float attentionCap = 0, logitCap = 0;
  float attentionScale = 0; // 0: headDim^-1/2.
  bool qkNorm = false, biases = false, tied = false;
  bool fusedProjections = false; // One qkv and one gate_up weight, split after (Phi 3).
  bool postNorms = false;        // Norms after attention and MLP too (Gemma 2).
  int64_t rotaryDim = 0;         // 0: headDim.
  bool interleaved = false;
  int64_t nopeEvery = 0; // n: every n-th layer has no RoPE.
  std::string activation = "silu";
  std::string rope = "theta = 10000.0"; // Attributes of rope_angles.
  std::string storage = "f32";          // f32, f16 or bf16.
  std::string kvType;                   // A type: the states' dtype.
  std::string quant;                    // "bits = 8, group = 32": of the projections; their inputs are quantized too.
  bool quantizeInputs = true;           // false: weights are quantized, inputs stay floats.
  // Mamba-2 mixers: every mambaEvery-th layer from the first on mixes by one instead of attention; 0: none.
  int64_t mambaEvery = 0, mambaHeads = 4, mambaDim = 6, mambaGroups = 2, mambaState = 8, mambaKernel = 4;
  bool mambaNorm = true, mambaNormBeforeGate = false, mambaLogA = true, mambaScales = false;
};

struct GraphModel {
  std::string text;
  std::map<std::string, std::vector<int64_t>> shapes;
  std::map<std::string, std::vector<float>> weights; // As the storage type holds them.
};

/// Values in [-1, 1), exact in f32, from the name and the index.
std::vector<float> hashedWeight(const std::string &name, int64_t count);

/// Module text and weights. Weight matrices are hashed values times `gain`, norm weights 1 + hashed.
GraphModel buildModel(const Geometry &geometry, float gain = 1);

/// The bytes of a safetensors file with the model's weights, stored as the geometry says.
std::string safetensors(const GraphModel &model, const std::string &storage);

/// A geometry drawn from `seed`: odd sizes, every feature on or off, but no Mamba mixers, which the second adds.
Geometry randomGeometry(uint32_t seed);
void addRandomMixers(Geometry &geometry, uint32_t seed);

} // namespace mlc::test
