//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// moe_up and moe_down: the products of a mixture's experts. The rows of a step are ordered by expert, and linear's
// products run over each expert's rows: a weight is read once a step, and one that no token chose never. What a row
// gives depends on no other: its experts add to it in rising order, whoever else they have to serve.
//
#include "targets/cpu/kernels/LinearArgs.h"
#include "targets/cpu/kernels/Shares.h"

#include <cstring>

namespace mlc::cpu {
namespace {

/// Where the parts of the shared scratch lie, for `rows` rows of `experts` experts: byte offsets.
struct MoeScratch {
  uint64_t tokens, weights, begin, cursor, sums, x, bytes;
  MoeScratch(uint64_t rows, uint64_t experts, uint64_t sumBytes, uint64_t rowBytes) {
    bytes = 0;
    auto part = [&](uint64_t size) {
      uint64_t at = bytes;
      bytes = alignUp<uint64_t>(at + size, 64);
      return at;
    };
    tokens = part(rows * 4);
    weights = part(rows * 4);
    begin = part((experts + 1) * 4);
    cursor = part(experts * 4);
    sums = part(rows * sumBytes);
    x = part(rows * rowBytes);
  }
};

/// The rows of a step by expert: those of expert e are [begin[e], begin[e + 1]).
struct Grouping {
  int32_t *tokens; // Of each row.
  float *weights;  // What its result is multiplied with.
  int32_t *begin;
  int32_t *active;                             // Experts with rows, by index.
  int64_t rows = 0, activeCount = 0, most = 0; // most: rows of one expert.
};

/// `weights` may be null. An id that names no expert has no row.
Grouping groupRows(uint8_t *shared, const MoeScratch &layout, const TensorView &ids, const TensorView *weights,
                   int64_t tokens, int64_t topK, int64_t experts) {
  Grouping g{reinterpret_cast<int32_t *>(shared + layout.tokens), reinterpret_cast<float *>(shared + layout.weights),
             reinterpret_cast<int32_t *>(shared + layout.begin), reinterpret_cast<int32_t *>(shared + layout.cursor)};
  memset(g.begin, 0, size_t(experts + 1) * 4);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < topK; ++j)
      if (auto e = uint32_t(ids.row<int32_t>(t)[j]); e < uint64_t(experts))
        ++g.begin[e + 1];
  for (int64_t e = 0; e < experts; ++e) {
    g.most = g.begin[e + 1] > g.most ? g.begin[e + 1] : g.most;
    g.begin[e + 1] += g.begin[e];
  }
  g.rows = g.begin[experts];
  int32_t *cursor = g.active;
  memcpy(cursor, g.begin, size_t(experts) * 4);
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t j = 0; j < topK; ++j)
      if (auto e = uint32_t(ids.row<int32_t>(t)[j]); e < uint64_t(experts)) {
        int32_t row = cursor[e]++;
        g.tokens[row] = int32_t(t);
        if (weights)
          g.weights[row] = weights->row<float>(t)[j];
      }
  // The cursors have done their work.
  for (int64_t e = 0; e < experts; ++e)
    if (g.begin[e] < g.begin[e + 1])
      g.active[g.activeCount++] = int32_t(e);
  return g;
}

int64_t tileRows(int64_t rows) { return rows < 1 ? 1 : rows < kMostRows ? rows : kMostRows; }

/// Bytes of the row that meets a weight as the products take it.
int64_t preparedBytes(const fb::WeightDesc &weight, bool quantized, bool bf16) {
  int64_t k = int64_t(weight.k());
  return quantized ? int64_t(quantizedRow(weight).bytes) : bf16 ? pairRowBytes(k) : k * 4;
}
uint64_t sumBytes(const fb::WeightDesc &weight, bool quantized) {
  return quantized ? panelLayout(weight).groups * 4 : 0;
}

/// The products of one weight's format over rows that lie behind one another.
struct Products {
  enum Kind : uint8_t { integer, bf16, real } kind;
  LinearInt ints;
  LinearBf16 halves;
  LinearFloat floats;
  int64_t rowTile;
  const LinearFunctions &functions;

  Products(const LinearFunctions &functions, const fb::WeightDesc &weight, bool quantized, bool rounded,
           const uint8_t *x, int64_t stride, const uint8_t *sums, int64_t rowTile)
      : kind(quantized ? integer
             : rounded ? bf16
                       : real),
        rowTile(rowTile), functions(functions) {
    if (kind == integer) {
      ints = linearIntOf(weight);
      ints.x = x, ints.xStride = stride, ints.sums = sums, ints.rowTile = rowTile;
      ints.tiles = functions.tiles;
      ints.few = functions.few;
      ints.streams = functions.streams;
    } else if (kind == bf16) {
      halves = linearBf16Of(weight);
      halves.x = x, halves.rowTile = rowTile;
      halves.tiles = functions.pairTiles;
    } else {
      floats = linearFloatOf(weight);
      floats.x = reinterpret_cast<const float *>(x), floats.xStride = stride / 4, floats.rowTile = rowTile;
    }
  }

  /// Rows [begin, end) by panels [panel, panelEnd) of the matrix at `weight`; gateBytes further: what a gate meets;
  /// `following`: as LinearInt's.
  void run(const uint8_t *weight, int64_t gateBytes, int64_t following, const LinearOutput &output, int64_t begin,
           int64_t end, int64_t panel, int64_t panelEnd, uint8_t *scratch) const {
    // An expert has more rows than the step has tokens where one names it twice.
    for (int64_t row = begin; row < end; row += rowTile) {
      int64_t last = row + rowTile < end ? row + rowTile : end;
      if (kind == integer) {
        LinearInt linear = ints;
        linear.weight = weight, linear.gateBytes = gateBytes, linear.output = output;
        linear.following = following;
        functions.integer(linear, row, last, panel, panelEnd, scratch);
      } else if (kind == bf16) {
        LinearBf16 linear = halves;
        linear.weight = weight, linear.output = output;
        functions.bf16(linear, row, last, panel, panelEnd, scratch);
      } else {
        LinearFloat linear = floats;
        linear.weight = weight, linear.output = output;
        functions.real(linear, row, last, panel, panelEnd, scratch);
      }
    }
  }
};

/// Panels of one work item: enough items for the workers, each at least `least`, at most 2^27 products (or `together`).
int64_t panelsOf(int64_t panels, int64_t jobs, unsigned workers, int64_t least, int64_t products, int64_t together) {
  int64_t run = ceilDiv<int64_t>(panels * jobs, int64_t(workers) * 8);
  run = run < least ? least : run;
  int64_t most = (int64_t(1) << 27) / (products < 1 ? 1 : products);
  run = run > most ? most : run;
  return roundUp(run < together ? together : run > panels ? panels : run, together);
}
int64_t leastPanels(int64_t panelBytes) { return ceilDiv<int64_t>(32768, panelBytes); }

/// What the weight of both kernels must be: `count` matrices of `desc`, and rows that can meet it.
Status checkWeights(const char *kernel, const TensorView &view, const fb::WeightDesc &desc, uint64_t count,
                    bool quantized, bool bf16) {
  MLC_ASSIGN(uint64_t bytes, packedBytes(desc));
  if (isRows(desc.format()))
    return Error(ErrorCode::Unsupported, "%s: weight format %u", kernel, unsigned(desc.format()));
  // The matrices of a mixture are below 2^60 bytes each, and at most 2^17.
  if (bytes > kMaxObjectBytes / count)
    return Error(ErrorCode::Corrupt, "%s: the experts' weights are too large", kernel);
  MLC_TRY(checkVector(view, "the experts' weights", DType::u8, bytes * count));
  if (quantized && !isQuantized(desc.format()))
    return Error(ErrorCode::Corrupt, "%s: weight format %u takes f32 rows", kernel, unsigned(desc.format()));
  if (bf16 && (quantized || desc.format() != fb::WeightFormat::panel_bf16))
    return Error(ErrorCode::Corrupt, "%s: bf16 products with weight format %u", kernel, unsigned(desc.format()));
  return {};
}

/// The top_k rows of every token, one behind the other, fill the matrix without gaps.
Status checkHidden(const TensorView &view, DType dtype, uint64_t columns) {
  MLC_TRY(checkMatrix(view, "the hidden rows", dtype, columns));
  if (view.dims[0] > 1 && uint64_t(view.strides[0]) != columns)
    return Error(ErrorCode::Corrupt, "the hidden rows must be contiguous");
  return {};
}

uint64_t matricesOf(const fb::MoeUpAttrs &attrs) {
  return uint64_t(attrs.experts() - 1) * attrs.stride() + 1 + attrs.gate_distance();
}
uint64_t hiddenColumns(const fb::MoeUpAttrs &attrs) {
  uint64_t n = attrs.weight().n();
  return attrs.out_group() ? QuantizedRow(n, attrs.out_group(), attrs.out_sum_group()).bytes : n;
}

Status checkUp(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::MoeUpAttrs>(call, "moe_up"));
  MLC_TRY(checkCounts(call, 3, 1));
  MLC_TRY(checkExperts("moe_up", attrs->experts(), attrs->top_k()));
  if (attrs->stride() < 1 || attrs->stride() > 2 || attrs->gate_distance() > 65536)
    return Error(ErrorCode::Corrupt, "moe_up: experts %u apart, gates %u", attrs->stride(), attrs->gate_distance());
  const fb::WeightDesc &weight = attrs->weight();
  MLC_TRY(checkWeights("moe_up", call.inputs[1], weight, matricesOf(*attrs), attrs->quantized_input(), attrs->bf16()));
  if (attrs->activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "moe_up: activation %u is unknown", unsigned(attrs->activation()));
  if (attrs->out_group() && (!attrs->quantized_input() || attrs->out_group() > 256 ||
                             !QuantizedRow::valid(weight.n(), attrs->out_group(), attrs->out_sum_group())))
    return Error(ErrorCode::Corrupt, "moe_up: output quantized in groups of %u, sums of %u", attrs->out_group(),
                 attrs->out_sum_group());
  if (!attrs->out_group() && attrs->out_sum_group())
    return Error(ErrorCode::Corrupt, "moe_up: sums of an output that is not quantized");
  if (attrs->quantized_input())
    MLC_TRY(checkMatrix(call.inputs[0], "x", DType::u8, quantizedRow(weight).bytes));
  else
    MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, weight.k()));
  MLC_TRY(checkMatrix(call.inputs[2], "the experts", DType::i32, attrs->top_k()));
  MLC_TRY(checkHidden(call.outputs[0], attrs->out_group() ? DType::u8 : DType::f32,
                      hiddenColumns(*attrs) * attrs->top_k()));
  if (call.inputs[2].dims[0] != call.inputs[0].dims[0] || call.inputFollowsTokens[2] != call.inputFollowsTokens[0])
    return Error(ErrorCode::Corrupt, "moe_up: x and the experts differ in rows");
  if (uint64_t(call.inputs[0].dims[0]) * attrs->top_k() > INT32_MAX)
    return Error(ErrorCode::Corrupt, "moe_up: more than 2^31 rows");
  return checkSameRows(call, 1);
}

ScratchNeed scratchUp(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::MoeUpAttrs>();
  uint64_t tokens = uint64_t(call.inputs[0].dims[0]);
  MoeScratch shared(tokens * attrs->top_k(), attrs->experts(), sumBytes(attrs->weight(), attrs->quantized_input()),
                    uint64_t(preparedBytes(attrs->weight(), attrs->quantized_input(), attrs->bf16())));
  return {shared.bytes, uint64_t(linearScratchBytes(tileRows(int64_t(tokens)), attrs->out_group()))};
}

void runUpWith(const KernelContext &context, const LinearFunctions &functions) {
  const auto &attrs = context.attrsAs<fb::MoeUpAttrs>();
  const fb::WeightDesc &weight = attrs.weight();
  const TensorView &x = context.inputs[0], &ids = context.inputs[2], &out = context.outputs[0];
  const bool quantized = attrs.quantized_input();
  const int64_t topK = attrs.top_k(), experts = attrs.experts(), k = int64_t(weight.k()), n = int64_t(weight.n());
  uint64_t outColumns = hiddenColumns(attrs);
  int64_t tokens = commonRows({{&x, quantized ? quantizedRow(weight).bytes : weight.k()},
                               {&ids, uint64_t(topK)},
                               {&out, outColumns * uint64_t(topK)}});
  if (tokens < 1)
    return;
  const int64_t rowBytes = preparedBytes(weight, quantized, attrs.bf16());
  const int64_t sums = int64_t(sumBytes(weight, quantized));
  MoeScratch layout(uint64_t(tokens * topK), uint64_t(experts), uint64_t(sums), uint64_t(rowBytes));
  uint8_t *shared = context.sharedScratch, *rows = shared + layout.x;
  Grouping g = groupRows(shared, layout, ids, nullptr, tokens, topK, experts);

  // The rows as they meet the weights, in their order.
  const int shift = quantized ? sumShiftOf(weight) : 0;
  const int64_t xSums = quantized ? int64_t(quantizedRow(weight).sumsOffset) : 0;
  context.pool->parallelFor(g.rows, 1 + 65536 / rowBytes, [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r) {
      uint8_t *row = rows + r * rowBytes;
      if (attrs.bf16())
        functions.roundRow(x.row<float>(g.tokens[r]), k, row);
      else if (quantized)
        memcpy(row, x.row<uint8_t>(g.tokens[r]), size_t(rowBytes));
      else
        memcpy(row, x.row<float>(g.tokens[r]), size_t(rowBytes));
      if (quantized)
        functions.prepareSums(row + xSums, sums / 4, shift, shared + layout.sums + r * sums);
    }
  });

  const bool gated = attrs.gate_distance() != 0;
  const int64_t panels = ceilDiv<int64_t>(n, kPanelColumns);
  LinearOutput output{};
  output.columns = n;
  output.stride = int64_t(outColumns);
  output.activation = uint8_t(attrs.activation());
  int64_t together = kPanelsTogether;
  if (attrs.out_group()) {
    QuantizedRow row(weight.n(), attrs.out_group(), attrs.out_sum_group());
    output.quantized = out.as<uint8_t>();
    output.group = int64_t(row.group);
    output.sumGroup = int64_t(row.sumGroup);
    output.scalesOffset = int64_t(row.scalesOffset);
    output.sumsOffset = int64_t(row.sumsOffset);
    // A worker has whole groups.
    together = output.group / kPanelColumns;
  } else {
    output.out = out.as<float>();
  }
  // Integer products write both halves at once; the others the gate, then what multiplies it.
  const bool pairs = gated && quantized;
  LinearOutput second = output;
  if (gated)
    second.expert = LinearOutput::multiply;
  else
    output.expert = LinearOutput::alone;
  if (gated && !pairs)
    output.activation = 0;
  if (pairs || output.quantized)
    output.gatePanels = panels;

  Products products(functions, weight, quantized, attrs.bf16(), rows, rowBytes, shared + layout.sums, tileRows(tokens));
  const int64_t matrix = int64_t(packedOffset(weight, weight.n()));
  const int64_t panelBytes = ceilDiv<int64_t>(matrix, panels) * (gated ? 2 : 1);
  // One token's time is that of reading weights; else an item is a run of one expert's panels.
  const bool halved = tokens == 1 && quantized && functions.streams;
  const int64_t run = halved ? together
                             : panelsOf(panels, g.activeCount, context.pool->size(), leastPanels(panelBytes),
                                        g.most * kPanelColumns * k * (gated ? 2 : 1), together);
  const int64_t runs = ceilDiv(panels, run), gateBytes = int64_t(attrs.gate_distance()) * matrix;
  const Shares shares = halved ? Shares::halved(g.activeCount * runs, ceilDiv(leastPanels(panelBytes), run),
                                                int64_t(context.pool->size()))
                               : Shares::even(g.activeCount * runs);
  const auto *weights = context.inputs[1].as<uint8_t>();
  context.pool->parallelFor(shares.items(), 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t at = shares.beginOf(begin), stop = shares.beginOf(end); at < stop;) {
      const int64_t active = at / runs, e = g.active[active], first = active * runs;
      const int64_t last = halved ? (first + runs < stop ? first + runs : stop) : at + 1;
      const int64_t panel = (at - first) * run,
                    panelEnd = (last - first) * run < panels ? (last - first) * run : panels;
      const uint8_t *w = weights + e * int64_t(attrs.stride()) * matrix;
      auto product = [&](const uint8_t *weight, int64_t gate, const LinearOutput &written) {
        products.run(weight, gate, 0, written, g.begin[e], g.begin[e + 1], panel, panelEnd, context.scratchOf(worker));
      };
      product(w, pairs ? gateBytes : 0, output);
      if (gated && !pairs)
        product(w + gateBytes, 0, second);
      at = last;
    }
  });
}

uint64_t hiddenColumns(const fb::MoeDownAttrs &attrs) {
  return attrs.quantized_input() ? quantizedRow(attrs.weight()).bytes : attrs.weight().k();
}

Status checkDown(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::MoeDownAttrs>(call, "moe_down"));
  MLC_TRY(checkCounts(call, 4 + attrs->has_residual(), 1));
  MLC_TRY(checkExperts("moe_down", attrs->experts(), attrs->top_k()));
  const fb::WeightDesc &weight = attrs->weight();
  MLC_TRY(checkWeights("moe_down", call.inputs[1], weight, attrs->experts(), attrs->quantized_input(), attrs->bf16()));
  MLC_TRY(checkHidden(call.inputs[0], attrs->quantized_input() ? DType::u8 : DType::f32,
                      hiddenColumns(*attrs) * attrs->top_k()));
  MLC_TRY(checkMatrix(call.inputs[2], "the experts", DType::i32, attrs->top_k()));
  MLC_TRY(checkMatrix(call.inputs[3], "their weights", DType::f32, attrs->top_k()));
  if (attrs->has_residual())
    MLC_TRY(checkMatrix(call.inputs[4], "residual", DType::f32, weight.n()));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, weight.n()));
  for (size_t i = 2; i < call.inputs.size(); ++i)
    if (call.inputs[i].dims[0] != call.inputs[0].dims[0] || call.inputFollowsTokens[i] != call.inputFollowsTokens[0])
      return Error(ErrorCode::Corrupt, "moe_down: inputs 0 and %zu differ in rows", i);
  if (uint64_t(call.inputs[0].dims[0]) * attrs->top_k() > INT32_MAX)
    return Error(ErrorCode::Corrupt, "moe_down: more than 2^31 rows");
  return checkSameRows(call, 1);
}

ScratchNeed scratchDown(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::MoeDownAttrs>();
  uint64_t tokens = uint64_t(call.inputs[0].dims[0]);
  MoeScratch shared(tokens * attrs->top_k(), attrs->experts(), sumBytes(attrs->weight(), attrs->quantized_input()),
                    attrs->bf16() ? uint64_t(preparedBytes(attrs->weight(), false, true)) : 0);
  return {shared.bytes, uint64_t(linearScratchBytes(tileRows(int64_t(tokens)), 0))};
}

void runDownWith(const KernelContext &context, const LinearFunctions &functions) {
  const auto &attrs = context.attrsAs<fb::MoeDownAttrs>();
  const fb::WeightDesc &weight = attrs.weight();
  const TensorView &hidden = context.inputs[0], &ids = context.inputs[2], &p = context.inputs[3],
                   &out = context.outputs[0];
  const TensorView *residual = attrs.has_residual() ? &context.inputs[4] : nullptr;
  const bool quantized = attrs.quantized_input();
  const int64_t topK = attrs.top_k(), experts = attrs.experts(), k = int64_t(weight.k()), n = int64_t(weight.n());
  int64_t tokens = commonRows({{&hidden, hiddenColumns(attrs) * uint64_t(topK)},
                               {&ids, uint64_t(topK)},
                               {&p, uint64_t(topK)},
                               {residual ? residual : &out, weight.n()},
                               {&out, weight.n()}});
  if (tokens < 1)
    return;
  const int64_t sums = int64_t(sumBytes(weight, quantized));
  int64_t stride = preparedBytes(weight, quantized, attrs.bf16());
  MoeScratch layout(uint64_t(tokens * topK), uint64_t(experts), uint64_t(sums), attrs.bf16() ? uint64_t(stride) : 0);
  uint8_t *shared = context.sharedScratch;
  Grouping g = groupRows(shared, layout, ids, &p, tokens, topK, experts);
  const auto *rows = hidden.as<uint8_t>();
  if (attrs.bf16() || quantized) {
    const int shift = quantized ? sumShiftOf(weight) : 0;
    const int64_t xSums = quantized ? int64_t(quantizedRow(weight).sumsOffset) : 0;
    context.pool->parallelFor(g.rows, 1 + 65536 / stride, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t r = begin; r < end; ++r)
        if (quantized)
          functions.prepareSums(rows + r * stride + xSums, sums / 4, shift, shared + layout.sums + r * sums);
        else
          functions.roundRow(hidden.as<float>() + r * k, k, shared + layout.x + r * stride);
    });
  }
  LinearOutput output{};
  output.out = out.as<float>();
  output.columns = n;
  output.stride = out.strides[0];
  output.expert = LinearOutput::scatter;
  output.targets = g.tokens;
  output.factors = g.weights;
  Products products(functions, weight, quantized, attrs.bf16(), attrs.bf16() ? shared + layout.x : rows, stride,
                    shared + layout.sums, tileRows(tokens));
  const int64_t panels = ceilDiv<int64_t>(n, kPanelColumns), matrix = int64_t(packedOffset(weight, weight.n()));
  const bool halved = tokens == 1 && quantized && functions.streams;
  const int64_t panelBytes = ceilDiv<int64_t>(matrix, panels);
  const int64_t run = halved ? kPanelsOfRow
                             : panelsOf(panels, 1, context.pool->size(), leastPanels(panelBytes),
                                        g.rows * kPanelColumns * k, kPanelsTogether);
  const int64_t runs = ceilDiv(panels, run);
  const Shares shares = halved ? Shares::halved(runs, 1, int64_t(context.pool->size())) : Shares::even(runs);
  const auto *weights = context.inputs[1].as<uint8_t>();
  // An item has all experts of its columns, by rising index.
  context.pool->parallelFor(shares.items(), 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = shares.beginOf(item) * run, stop = shares.beginOf(item + 1) * run,
                    panelEnd = stop < panels ? stop : panels;
      int64_t column = panel * kPanelColumns;
      size_t bytes = size_t((panelEnd * kPanelColumns < n ? panelEnd * kPanelColumns : n) - column) * 4;
      for (int64_t t = 0; t < tokens; ++t) {
        float *to = out.row<float>(t) + column;
        if (!residual)
          memset(to, 0, bytes);
        else if (residual->row<float>(t) != out.row<float>(t))
          memcpy(to, residual->row<float>(t) + column, bytes);
      }
      for (int64_t i = 0; i < g.activeCount; ++i) {
        int64_t e = g.active[i];
        const int64_t following = i + 1 < g.activeCount ? (g.active[i + 1] - e) * matrix : 0;
        products.run(weights + e * matrix, 0, following, output, g.begin[e], g.begin[e + 1], panel, panelEnd,
                     context.scratchOf(worker));
      }
    }
  });
}

template <Isa isa> void runUp(const KernelContext &context) { runUpWith(context, kLinearFunctions<isa>); }
template <Isa isa> void runDown(const KernelContext &context) { runDownWith(context, kLinearFunctions<isa>); }

} // namespace

MLC_KERNEL_FORMS(MLC_ALL_FORMS, moeUpKernels, "moe_up", checkUp, scratchUp, runUp)
MLC_KERNEL_FORMS(MLC_ALL_FORMS, moeDownKernels, "moe_down", checkDown, scratchDown, runDown)

} // namespace mlc::cpu
