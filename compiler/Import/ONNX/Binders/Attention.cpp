//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention and what goes with it. B sequences, H heads (q: of queries, kv: of keys and values), S positions, D values
// of a head.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace mlc::onnx {

static constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

/// [B, S, H * D] as [B, H, S, D].
static Tensor splitHeads(Node &n, const Tensor &x, int64_t heads) {
  Emitter &e = n.e;
  if (!x)
    return {};
  std::optional<int64_t> width = x.rank() == 3 ? e.constant(x.shape[2]) : std::nullopt;
  if (!width || heads < 1 || *width % heads)
    return e.fail("needs [batch, sequence, heads * size] and a number of heads that divides it");
  return e.transpose(e.reshape(x, {x.shape[0], x.shape[1], e.dim(heads), e.dim(*width / heads)}), {0, 2, 1, 3});
}
/// [B, H, S, D] as [B, S, H * D].
static Tensor joinHeads(Emitter &e, const Tensor &x) {
  if (!x)
    return {};
  return e.reshape(e.transpose(x, {0, 2, 1, 3}), {x.shape[0], x.shape[2], x.shape[1] * x.shape[3]});
}

namespace {

/// What is added to the scores: 0 where a query may see a key, minus infinity where not, and a mask of floats.
struct Bias {
  Emitter &e;
  DType type;
  Tensor sum;               // Null: nothing is added.
  bool canHideRows = false; // A query may see no key at all.

  void add(const Tensor &more, bool hides) {
    sum = sum ? e.add(sum, more) : more;
    canHideRows |= hides;
  }
  void allow(const Tensor &allowed, bool hides) {
    add(e.select(allowed, e.splat(0, type), e.splat(kMinusInfinity, type)), hides);
  }
};

} // namespace

/// attn_mask, is_causal, the windows and nonpad_kv_seqlen; `past`: how many keys stand before the first query's.
static std::optional<Bias> attentionBias(Node &n, DType type, Dim queries, Dim keys, std::optional<Dim> past) {
  Emitter &e = n.e;
  Bias bias{e, type, {}};
  Tensor mask = n.optional(3), lengths = n.optional(6);
  bool causal = n.intAttr("is_causal", 0);
  int64_t left = n.intAttr("left_window_size", -1), right = n.intAttr("right_window_size", -1);
  if ((mask && mask.rank() < 1) || (lengths && (lengths.rank() != 1 || !lengths.dtype().isInteger()))) {
    n.fail("takes a mask of axes, and nonpad_kv_seqlen [batch] of integers");
    return std::nullopt;
  }
  if (mask) {
    std::optional<int64_t> have = e.constant(mask.shape.back()), want = e.constant(keys);
    if (have && want && *have < *want) {
      Dims before(mask.rank(), e.dim(0)), behind = before;
      behind.back() = e.dim(*want - *have);
      mask = e.pad(mask, before, behind, e.splat(mask.isFloat() ? kMinusInfinity : 0, mask.dtype()));
    }
    if (mask && mask.dtype().isBool())
      bias.allow(mask, true);
    else
      bias.add(e.cast(mask, type), true);
  }
  Tensor column = e.reshape(e.iota(queries, e.i64()), {queries, e.dim(1)});
  Tensor row = e.reshape(e.iota(keys, e.i64()), {e.dim(1), keys});
  if (causal || left >= 0 || right >= 0) {
    // The position of each query among the keys.
    Tensor position = column;
    if (past)
      position = e.add(column, e.reshape(e.fromIndex(e.index(*past)), {}));
    if (lengths && !past) {
      Tensor first = e.sub(e.cast(lengths, e.i64()), e.reshape(e.fromIndex(e.index(queries)), {}));
      position = e.add(e.reshape(first, {lengths.shape[0], e.dim(1), e.dim(1), e.dim(1)}), column);
    }
    if (causal)
      bias.allow(e.compare(Compare::le, row, position), lengths && !past);
    if (left >= 0)
      bias.allow(e.compare(Compare::le, e.sub(position, row), double(left)), true);
    if (right >= 0)
      bias.allow(e.compare(Compare::le, e.sub(row, position), double(right)), true);
  }
  if (lengths) {
    Tensor each = e.reshape(e.cast(lengths, e.i64()), {lengths.shape[0], e.dim(1), e.dim(1), e.dim(1)});
    bias.allow(e.compare(Compare::lt, row, each), true);
  }
  if (e.failed())
    return std::nullopt;
  return bias;
}

static void bindAttention(Node &n) {
  Emitter &e = n.e;
  Tensor q = n.in(0), k = n.in(1), v = n.in(2), pastK = n.optional(4), pastV = n.optional(5);
  int64_t headsQ = n.intAttr("q_num_heads", 0), headsKV = n.intAttr("kv_num_heads", 0);
  int64_t mode = n.intAttr("qk_matmul_output_mode", 0), precision = n.intAttr("softmax_precision", 0);
  double softcap = n.floatAttr("softcap", 0);
  if (!q || !k || !v)
    return;
  if (!q.isFloat() || k.dtype() != q.dtype() || !v.isFloat() || q.rank() != k.rank() || q.rank() != v.rank())
    return n.fail("takes queries, keys and values of floats, all of three or four axes");
  bool flat = q.rank() == 3;
  if (flat) {
    q = splitHeads(n, q, headsQ);
    k = splitHeads(n, k, headsKV);
    v = splitHeads(n, v, headsKV);
  }
  if (e.failed())
    return;
  if (q.rank() != 4)
    return n.fail("takes queries, keys and values of three or four axes");
  if (bool(pastK) != bool(pastV) || (pastK && (pastK.rank() != 4 || pastV.rank() != 4)))
    return n.fail("takes past_key and past_value together, of four axes");
  std::optional<Dim> past;
  if (pastK) {
    past = pastK.shape[2];
    k = e.concat({pastK, k}, 2);
    v = e.concat({pastV, v}, 2);
  }
  if (e.failed())
    return;
  std::optional<int64_t> size = e.constant(q.shape[3]), of = e.constant(q.shape[1]), by = e.constant(k.shape[1]);
  if (!size || !of || !by || *by < 1 || *of % *by || v.shape[1] != k.shape[1])
    return n.fail("needs fixed numbers of heads, those of the keys a divisor of those of the queries");
  double scale = std::sqrt(n.hasAttr("scale") ? n.floatAttr("scale", 1) : 1 / std::sqrt(double(*size)));
  std::optional<Bias> bias = attentionBias(n, q.dtype(), q.shape[2], k.shape[2], past);
  if (!bias)
    return;

  // Queries that share a head of keys lie side by side: no key is repeated.
  Dims scores = {q.shape[0], q.shape[1], q.shape[2], k.shape[2]};
  auto grouped = [&](const Tensor &x) {
    return *of == *by || !x ? x : e.reshape(x, {x.shape[0], e.dim(*by), e.dim(*of / *by), x.shape[2], x.shape[3]});
  };
  auto shared = [&](const Tensor &x) { return *of == *by ? x : e.unsqueeze(x, 2); };
  Tensor turned = e.transpose(e.mul(k, scale), {0, 1, 3, 2});
  Tensor raw = e.reshape(e.matmul(grouped(e.mul(q, scale)), shared(turned)), scores);
  Tensor capped = softcap > 0 ? e.mul(e.tanh(e.div(raw, softcap)), softcap) : raw;
  Tensor biased = bias->sum ? e.add(capped, bias->sum) : capped;
  Tensor weights = biased;
  if (precision) {
    std::optional<DType> type = n.importer.dtype(int32_t(precision));
    if (!type)
      return;
    weights = e.cast(weights, *type);
  }
  weights = e.softmax(weights, 3);
  if (bias->canHideRows && weights) {
    Tensor top = e.reduce(Fold::max, bias->sum, bias->sum.rank() - 1, true);
    weights = e.select(e.compare(Compare::eq, top, kMinusInfinity), e.splat(0, weights.dtype()), weights);
  }
  weights = e.cast(weights, q.dtype());
  Tensor y = e.cast(e.reshape(e.matmul(grouped(e.cast(weights, v.dtype())), shared(v)),
                              {q.shape[0], q.shape[1], q.shape[2], v.shape[3]}),
                    q.dtype());
  const Tensor *seen[] = {&raw, &capped, &biased, &weights};
  if (mode < 0 || mode > 3)
    return n.fail("has an unknown qk_matmul_output_mode");
  n.give({flat ? joinHeads(e, y) : y, k, v, *seen[mode]});
}

/// Pairs of values turned by an angle: (x cos - y sin, x sin + y cos).
static void bindRotaryEmbedding(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), cos = n.in(1), sin = n.in(2), positions = n.optional(3);
  bool interleaved = n.intAttr("interleaved", 0);
  int64_t width = n.intAttr("rotary_embedding_dim", 0), heads = n.intAttr("num_heads", 0);
  if (!x || !cos || !sin)
    return;
  bool flat = x.rank() == 3;
  Tensor wide = flat ? splitHeads(n, x, heads) : x;
  if (!wide)
    return;
  std::optional<int64_t> size = wide.rank() == 4 ? e.constant(wide.shape[3]) : std::nullopt;
  width = width || !size ? width : *size;
  if (!size || width < 2 || width > *size || width % 2 || cos.rank() != (positions ? 2 : 3) || cos.shape != sin.shape ||
      cos.shape.back() != e.dim(width / 2))
    return n.fail("takes four axes (or three and num_heads), an even rotary_embedding_dim and caches of half of it");
  if (positions) {
    Dims picked = positions.shape;
    picked.push_back(e.dim(width / 2));
    auto pick = [&](const Tensor &cache) {
      return e.generate(picked, cache.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
        Value row = e.wrappedIndex(body, e.at(body, positions, at.drop_back()), positions.isUnsigned, cache.shape[0]);
        return e.at(body, cache, {row, at.back()});
      });
    };
    cos = pick(cos);
    sin = pick(sin);
  }
  cos = e.unsqueeze(cos, 1);
  sin = e.unsqueeze(sin, 1);
  Dims pairs(ArrayRef<Dim>(wide.shape).drop_back());
  Dims half = pairs;
  half.push_back(e.dim(width / 2));
  if (interleaved)
    pairs.append({e.dim(width / 2), e.dim(2)});
  else
    pairs.append({e.dim(2), e.dim(width / 2)});
  int64_t axis = interleaved ? 4 : 3;
  Tensor turned = e.reshape(e.sliceAxis(wide, 3, e.dim(0), e.dim(width)), pairs);
  auto part = [&](int64_t i) { return e.reshape(e.sliceAxis(turned, axis, e.dim(i), e.dim(1)), half); };
  Tensor a = part(0), b = part(1);
  Tensor first = e.unsqueeze(e.sub(e.mul(cos, a), e.mul(sin, b)), axis);
  Tensor second = e.unsqueeze(e.add(e.mul(sin, a), e.mul(cos, b)), axis);
  half.back() = e.dim(width);
  Tensor y = e.reshape(e.concat({first, second}, axis), half);
  if (width < *size)
    y = e.concat({y, e.sliceAxis(wide, 3, e.dim(width), e.dim(*size - width))}, 3);
  n.give(flat ? joinHeads(e, y) : y);
}

//===--- Opset 27: forms with a state ---===//

/// S = decay S + k (beta (v - k S)); o = scale q S, position by position, in f32.
static void bindLinearAttention(Node &n) {
  Emitter &e = n.e;
  Tensor query = n.in(0), key = n.in(1), value = n.in(2), past = n.optional(3), decay = n.optional(4),
         beta = n.optional(5);
  std::string rule = n.stringAttr("update_rule", "gated_delta");
  int64_t headsQ = n.intAttr("q_num_heads", 0), headsKV = n.intAttr("kv_num_heads", 0);
  double scale = n.floatAttr("scale", 0);
  n.ignore("chunk_size"); // How a kernel cuts the sequence; no result depends on it.
  if (!query || !key || !value)
    return;
  bool gates = rule == "gated" || rule == "gated_delta", corrects = rule == "delta" || rule == "gated_delta";
  if ((!gates && !corrects && rule != "linear") || gates != bool(decay) || corrects != bool(beta))
    return n.fail("has an update_rule " + quoted(rule) + " that does not fit its inputs");
  if (headsKV < 1 || headsQ < 1 || headsQ % headsKV)
    return n.fail("needs kv_num_heads that divide q_num_heads");
  Tensor q = splitHeads(n, query, headsQ), k = splitHeads(n, key, headsKV), v = splitHeads(n, value, headsKV);
  if (e.failed())
    return;
  Dim batch = q.shape[0], steps = q.shape[2], dimK = k.shape[3], dimV = v.shape[3];
  auto goesAlong = [&](const Tensor &x) { return x.shape[0] == batch && x.shape[2] == steps; };
  if (!goesAlong(k) || !goesAlong(v) || q.shape[3] != dimK || !query.isFloat() || !key.isFloat() || !value.isFloat())
    return n.fail("takes queries, keys and values of floats, of one batch, length and size of keys");
  int64_t group = headsQ / headsKV;
  auto each = [&](const Tensor &x, const char *what) -> Tensor {
    std::optional<int64_t> last = x.rank() == 3 ? e.constant(x.shape[2]) : std::nullopt;
    if (!last || (*last != 1 && *last % headsKV))
      return e.fail(std::string("has a ") + what + " that does not fit its heads");
    Tensor split = e.cast(splitHeads(n, x, *last == 1 ? 1 : headsKV), e.f32());
    return !split || goesAlong(split) ? split : e.fail(std::string("has a ") + what + " of another batch or length");
  };
  if (decay)
    decay = each(decay, "decay");
  if (beta)
    beta = each(beta, "beta");
  q = e.cast(q, e.f32());
  k = e.cast(k, e.f32());
  v = e.cast(v, e.f32());
  std::optional<int64_t> size = e.constant(dimK);
  if (e.failed() || !size)
    return n.fail("needs keys of a fixed size");
  scale = scale != 0 ? scale : 1 / std::sqrt(double(*size));
  DType kept = past ? past.dtype() : query.dtype();
  Tensor state = past ? e.cast(past, e.f32()) : e.splat(0, e.f32(), {batch, e.dim(headsKV), dimK, dimV});
  if (state && state.shape != Dims{batch, e.dim(headsKV), dimK, dimV})
    return n.fail("has a past_state that does not fit its heads");
  Tensor out = e.empty({batch, e.dim(headsKV), e.dim(group), steps, dimV}, e.f32());
  SmallVector<Tensor> last = e.loop(e.index(steps), {state, out}, [&](Value t, ArrayRef<Tensor> carried) {
    Tensor now = carried[0], kt = e.sliceAt(k, 2, t), vt = e.unsqueeze(e.sliceAt(v, 2, t), 2);
    if (decay)
      now = e.mul(now, e.unsqueeze(e.exp(e.sliceAt(decay, 2, t)), 3));
    if (beta)
      vt = e.mul(e.sub(vt, e.matmul(e.unsqueeze(kt, 2), now)), e.unsqueeze(e.sliceAt(beta, 2, t), 3));
    now = e.add(now, e.mul(e.unsqueeze(kt, 3), vt));
    Tensor qt = e.reshape(e.sliceAt(q, 2, t), {batch, e.dim(headsKV), e.dim(group), dimK});
    Tensor read = e.mul(e.matmul(qt, now), scale);
    return SmallVector<Tensor>{now, e.insertAt(read, carried[1], 3, t)};
  });
  Tensor y = e.reshape(last[1], {batch, e.dim(headsQ), steps, dimV});
  n.give({e.cast(joinHeads(e, y), query.dtype()), e.cast(last[0], kept)});
}

void addAttention(BinderTable &table) {
  table["Attention"] = bindAttention;
  table["LinearAttention"] = bindLinearAttention;
  table["RotaryEmbedding"] = bindRotaryEmbedding;
}

} // namespace mlc::onnx
