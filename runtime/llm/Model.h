//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A model opened from an artifact: the mapping, the resolved plan and the tokenizer of a language model; or a network,
// of which runtime/net makes what runs. Immutable after open(); any number of sessions of any threads share one.
//
#pragma once

#include "runtime/artifact/Artifact.h"
#include "runtime/exec/Device.h"
#include "runtime/exec/Plan.h"
#include "runtime/llm/tokenizer/Tokenizer.h"

#include <optional>
#include <pthread.h>

namespace mlc {

struct ModelOptions {
  /// false: an artifact that carries code objects is refused.
  bool allowCode = true;
  /// false: segment digests are not compared (the plan is verified in any case).
  bool verifyDigests = true;
  /// true: a network is opened, too; without, it is refused by name.
  bool networks = false;
  /// Threads that compare digests.
  unsigned threads = 1;
  /// Of an artifact for GPUs: which, one for each rank of its plan; further ones are not used. Empty: the first ones of
  /// the machine. openDevice false: none is opened and no library of kernels loaded, the
  /// artifact is only looked at, and no session can be created.
  std::span<const unsigned> gpus = {};
  bool openDevice = true;
  /// The best ISA form that may be used.
  Isa isa = machineIsa();
  const Allocator *allocator = nullptr; // null: systemAllocator()
};

/// The bounds of an artifact, which a session may lower and never raise. Of a network, all are 0.
struct ModelBounds {
  uint64_t vocab = 0;     // Token ids are < vocab.
  uint64_t context = 0;   // Most positions of a sequence.
  uint64_t batch = 0;     // Most tokens of a step.
  uint64_t rows = 0;      // Most rows of logits of a step.
  uint64_t sequences = 0; // Most live sequences.
};

class Model {
public:
  /// Opens and verifies `path`. Error messages begin with the path.
  static Result<Model *> open(const char *path, const ModelOptions &options = {});
  /// The same from bytes that the caller keeps, 64-byte aligned; without code objects.
  static Result<Model *> fromMemory(std::span<const uint8_t> bytes, const ModelOptions &options = {});
  static void destroy(Model *model);

  /// The path as given, fit for one line of a message.
  const char *name() const { return artifact->name(); }
  const ModelBounds &bounds() const { return limits; }
  const fb::Artifact &metadata() const { return plan->metadata(); }
  const Plan &executionPlan() const { return *plan; }
  const TargetRegistry &target() const { return plan->target(); }
  /// Where its weights and kernels are; null: the host. Of a plan of several ranks, the first one's.
  Device *device(unsigned rank = 0) const { return openedDevices[rank].get(); }
  /// Devices that run the plan together.
  unsigned ranks() const { return metadata().ranks(); }
  /// Held during a step of several ranks: sums come in the same order on all of them, whichever sessions ask.
  pthread_mutex_t &rankSteps() const { return rankStepsMutex; }
  /// The digest that binds exported states to this artifact.
  uint64_t digest() const { return artifact->digest(); }
  uint64_t fileBytes() const { return artifact->fileSize(); }
  /// Null when the artifact was compiled without a tokenizer.
  const Tokenizer *tokenizer() const { return text ? &*text : nullptr; }
  bool isEndToken(int32_t token) const;
  /// Whether it is a network: everything below is of language models alone.
  bool isNetwork() const { return plan->program().step < 0; }
  /// The sampling that the checkpoint recommends, or null.
  const fb::Sampling *recommendedSampling() const { return metadata().model()->sampling(); }
  bool promptForm() const { return metadata().model()->prompt_form(); }

  struct Entry {
    uint32_t function, tokensExtent, rowsExtent, ids, rows, logits;
  };
  const Entry &entry() const { return stepEntry; }
  const Allocator &allocator() const { return memory; }

private:
  Model() = default;
  ~Model() = default;
  static Result<Model *> make(const char *path, std::span<const uint8_t> bytes, const ModelOptions &options);
  Status load(const ModelOptions &options);
  Status openDevices(const ModelOptions &options);

  Allocator memory{};
  std::optional<Artifact> artifact;
  Owned<Plan> plan;
  Owned<Device> openedDevices[kMaxRanks];
  Device *joined[kMaxRanks] = {};
  mutable pthread_mutex_t rankStepsMutex = PTHREAD_MUTEX_INITIALIZER;
  std::optional<Tokenizer> text;
  ModelBounds limits;
  Entry stepEntry{};
};

} // namespace mlc
