//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Figures of a mixture's routers over the last tokens, seen as a kernel observer: a session without one pays nothing.
// docs/runtime.md defines each figure.
//
#pragma once

#include "runtime/exec/Executor.h"

namespace mlc {

struct RouterOptions {
  /// Tokens of a layer that the figures cover; at least kRouterBlocks. They leave in blocks of an eighth of it.
  uint64_t window = 1024;
  /// The alarm: routing entropy (of 0..1) below this while the load's is not. 0: none.
  float alarm = 0;
};
constexpr unsigned kRouterBlocks = 8;

/// One router over its window. Of no token, every figure is 0.
struct RouterFigures {
  const char *layer = ""; // Where its call stands in the artifact: the tap of the logits.
  uint32_t experts = 0, chosen = 0, deadExperts = 0;
  uint64_t tokens = 0;         // In the window.
  double routingEntropy = 0;   // Mean of H(p) / ln experts.
  double loadEntropy = 0;      // H(load) / ln experts.
  double loadCv = 0;           // Standard deviation over mean of the load.
  double maxLoad = 0;          // Of an expert, times experts: 1 is even.
  double minLoad = 0;          // The same.
  double balance = 0;          // experts * sum of load * mass: 1 when both are even (Switch's loss, arXiv 2101.03961).
  double massLoadDistance = 0; // Half the sum of |mass - load|: 0 when the gates mean what they do.
  double squaredLogsumexp = 0; // Mean of logsumexp(logits)^2: ST-MoE's z-loss (arXiv 2202.08906).
  double margin = 0;           // Mean of the least chosen p less the greatest not chosen.
};

/// The first time that a layer's routing entropy fell below the threshold before the load's.
struct RouterAlarm {
  uint64_t token = 0; // Of the layer, counted from the start; 0: none.
  double routingEntropy = 0, loadEntropy = 0;
};

class RouterStats {
public:
  /// NotFound when the plan has no router. `plan` outlives it.
  static Result<RouterStats *> create(const Plan &plan, const RouterOptions &options,
                                      const Allocator &allocator = systemAllocator());
  static void destroy(RouterStats *stats);

  /// For the session that runs the plan; it must not outlive this.
  KernelObserver observer();

  size_t layers() const { return routers.size(); }
  RouterFigures figures(size_t layer) const;
  RouterAlarm alarm(size_t layer) const { return routers[layer].alarm; }
  /// An expert's share of the window's choices, and of the gates' mass.
  struct Share {
    double load, mass;
  };
  Share share(size_t layer, uint32_t expert) const;

private:
  RouterStats() = default;
  ~RouterStats() = default;
  struct Block {
    uint64_t tokens;
    double entropy, squaredLogsumexp, margin;
  };
  struct Router {
    uint32_t call, experts, chosen;
    fb::RouterForm form;
    const char *name;
    size_t firstCount; // Its counts and masses: [kRouterBlocks][experts].
    unsigned current;  // Block that is being filled.
    uint64_t tokens;   // Since the start.
    RouterAlarm alarm;
    Block blocks[kRouterBlocks];
  };
  void take(uint32_t call, const KernelContext &context);
  void addToken(Router &router, const float *logits, const int32_t *ids);
  void beginBlock(Router &router);

  Allocator allocator{};
  RouterOptions options;
  OwnedArray<Router> routers;
  OwnedArray<uint32_t> calls; // Of each router.
  OwnedArray<uint32_t> counts;
  OwnedArray<double> masses;
  OwnedArray<float> probabilities; // Of one token.
};

} // namespace mlc
