//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/RouterStats.h"

#include <algorithm>
#include <math.h>
#include <new>

namespace mlc {

Result<RouterStats *> RouterStats::create(const Plan &plan, const RouterOptions &options, const Allocator &allocator) {
  if (options.window < kRouterBlocks || options.window > (uint64_t(1) << 32))
    return Error(ErrorCode::InvalidArgument, "a router window of %llu tokens; %u to 2^32 are expected",
                 (unsigned long long)options.window, kRouterBlocks);
  if (!(options.alarm >= 0 && options.alarm <= 1))
    return Error(ErrorCode::InvalidArgument, "a router alarm at %g; 0 (none) to 1 is expected", double(options.alarm));
  uint64_t found = 0;
  for (const Plan::KernelCall &call : plan.kernelCalls())
    found += call.attrsType == fb::KernelAttrs::MoeRouteAttrs;
  if (!found)
    return Error(ErrorCode::NotFound, "the model has no mixture of experts, so there are no router statistics");
  void *memory = allocator.allocate(allocator.context, sizeof(RouterStats), alignof(RouterStats));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for router statistics");
  Owned<RouterStats> stats(new (memory) RouterStats);
  stats->allocator = allocator;
  stats->options = options;
  MLC_ASSIGN(stats->routers, OwnedArray<Router>::create(allocator, found, "router statistics"));
  MLC_ASSIGN(stats->calls, OwnedArray<uint32_t>::create(allocator, found, "router statistics"));
  uint64_t total = 0, most = 0;
  size_t next = 0;
  for (uint32_t i = 0; i < plan.kernelCalls().size(); ++i) {
    const Plan::KernelCall &call = plan.kernelCalls()[i];
    if (call.attrsType != fb::KernelAttrs::MoeRouteAttrs)
      continue;
    const auto &attrs = *static_cast<const fb::MoeRouteAttrs *>(call.attrs);
    stats->calls[next] = i;
    Router &router = stats->routers[next++];
    router = {};
    router.call = i;
    router.experts = attrs.experts();
    router.chosen = attrs.top_k();
    router.form = attrs.form();
    router.name = "";
    router.firstCount = size_t(total);
    total += uint64_t(attrs.experts()) * kRouterBlocks;
    most = std::max<uint64_t>(most, attrs.experts());
  }
  for (const Plan::Op &op : plan.ops())
    for (Router &router : stats->routers)
      if (op.kind == Plan::OpKind::kernel && op.index == router.call && op.location)
        router.name = op.location;
  MLC_ASSIGN(stats->counts, OwnedArray<uint32_t>::create(allocator, total, "router statistics"));
  MLC_ASSIGN(stats->masses, OwnedArray<double>::create(allocator, total, "router statistics"));
  MLC_ASSIGN(stats->probabilities, OwnedArray<float>::create(allocator, most, "router statistics"));
  std::fill(stats->counts.begin(), stats->counts.end(), 0u);
  std::fill(stats->masses.begin(), stats->masses.end(), 0.0);
  return stats.release();
}

void RouterStats::destroy(RouterStats *stats) {
  Allocator allocator = stats->allocator;
  stats->~RouterStats();
  allocator.release(allocator.context, stats, sizeof(RouterStats));
}

KernelObserver RouterStats::observer() {
  KernelObserver observer;
  observer.user = this;
  observer.after = [](void *user, uint32_t call, const KernelContext &context) {
    static_cast<RouterStats *>(user)->take(call, context);
  };
  observer.calls = calls.span();
  return observer;
}

void RouterStats::take(uint32_t call, const KernelContext &context) {
  // Calls rise within a function, so the routers are sorted.
  Router &router = *std::lower_bound(routers.begin(), routers.end(), call,
                                     [](const Router &router, uint32_t index) { return router.call < index; });
  const TensorView &logits = context.inputs[0], &ids = context.outputs[0];
  if (logits.dims[1] != router.experts || ids.dims[1] != router.chosen)
    return;
  int64_t tokens = std::min(logits.dims[0], ids.dims[0]);
  for (int64_t t = 0; t < tokens; ++t)
    addToken(router, logits.row<float>(t), ids.row<int32_t>(t));
}

void RouterStats::addToken(Router &router, const float *row, const int32_t *chosen) {
  if (router.blocks[router.current].tokens >= options.window / kRouterBlocks)
    beginBlock(router);
  Block &block = router.blocks[router.current];
  size_t first = router.firstCount + size_t(router.current) * router.experts;
  float most = row[0], *p = probabilities.data();
  for (uint32_t e = 1; e < router.experts; ++e)
    most = std::max(most, row[e]);
  // Of the sigmoid form, p is the sigmoids' share; the logsumexp is the logits' in any case.
  const bool sigmoid = router.form == fb::RouterForm::sigmoid;
  float exponentials = 0, sum = 0, weighted = 0;
  for (uint32_t e = 0; e < router.experts; ++e) {
    float exponential = expf(row[e] - most);
    exponentials += exponential;
    p[e] = sigmoid ? 1 / (1 + expf(-row[e])) : exponential;
    sum += p[e];
    weighted += !(p[e] > 0) ? 0 : p[e] * (sigmoid ? logf(p[e]) : row[e] - most);
  }
  // H = ln(sum) - sum of w ln w / sum, with w what p is the share of.
  double entropy = double(logf(sum)) - double(weighted / sum), logsumexp = double(most) + double(logf(exponentials));
  double *mass = masses.data() + first;
  for (uint32_t e = 0; e < router.experts; ++e)
    mass[e] += double(p[e] /= sum);
  float least = 1, greatest = 0;
  for (uint32_t j = 0; j < router.chosen; ++j)
    if (uint32_t e = uint32_t(chosen[j]); e < router.experts && p[e] >= 0) {
      ++counts[first + e];
      least = std::min(least, p[e]);
      p[e] = -1;
    }
  for (uint32_t e = 0; e < router.experts; ++e)
    greatest = std::max(greatest, p[e]);
  block.tokens += 1;
  block.entropy += router.experts > 1 ? entropy / log(double(router.experts)) : 0;
  block.squaredLogsumexp += logsumexp * logsumexp;
  block.margin += double(least - greatest);
  router.tokens += 1;
}

void RouterStats::beginBlock(Router &router) {
  if (options.alarm > 0 && !router.alarm.token) {
    RouterFigures now = figures(size_t(&router - routers.data()));
    if (now.routingEntropy < double(options.alarm) && now.loadEntropy >= double(options.alarm))
      router.alarm = {router.tokens, now.routingEntropy, now.loadEntropy};
  }
  router.current = (router.current + 1) % kRouterBlocks;
  router.blocks[router.current] = {};
  size_t first = router.firstCount + size_t(router.current) * router.experts;
  std::fill_n(counts.data() + first, router.experts, 0u);
  std::fill_n(masses.data() + first, router.experts, 0.0);
}

RouterStats::Share RouterStats::share(size_t layer, uint32_t expert) const {
  const Router &router = routers[layer];
  double count = 0, mass = 0, tokens = 0, choices = 0;
  for (unsigned b = 0; b < kRouterBlocks; ++b) {
    size_t first = router.firstCount + size_t(b) * router.experts;
    count += counts[first + expert];
    mass += masses[first + expert];
    tokens += double(router.blocks[b].tokens);
    for (uint32_t e = 0; e < router.experts; ++e)
      choices += counts[first + e];
  }
  return {choices > 0 ? count / choices : 0, tokens > 0 ? mass / tokens : 0};
}

RouterFigures RouterStats::figures(size_t layer) const {
  const Router &router = routers[layer];
  RouterFigures figures;
  figures.layer = router.name;
  figures.experts = router.experts;
  figures.chosen = router.chosen;
  for (const Block &block : router.blocks) {
    figures.tokens += block.tokens;
    figures.routingEntropy += block.entropy;
    figures.squaredLogsumexp += block.squaredLogsumexp;
    figures.margin += block.margin;
  }
  if (!figures.tokens)
    return figures;
  double tokens = double(figures.tokens), experts = double(router.experts), squares = 0;
  figures.routingEntropy /= tokens;
  figures.squaredLogsumexp /= tokens;
  figures.margin /= tokens;
  figures.minLoad = experts;
  for (uint32_t e = 0; e < router.experts; ++e) {
    auto [load, mass] = share(layer, e);
    figures.deadExperts += load == 0;
    figures.loadEntropy -= load > 0 ? load * log(load) : 0;
    figures.maxLoad = std::max(figures.maxLoad, load * experts);
    figures.minLoad = std::min(figures.minLoad, load * experts);
    squares += (load * experts - 1) * (load * experts - 1);
    figures.balance += experts * load * mass;
    figures.massLoadDistance += fabs(mass - load) / 2;
  }
  figures.loadEntropy = router.experts > 1 ? figures.loadEntropy / log(experts) : 0;
  figures.loadCv = sqrt(squares / experts);
  return figures;
}

} // namespace mlc
