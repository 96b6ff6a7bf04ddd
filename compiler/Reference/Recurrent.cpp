//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv1d_causal and ssd.
//
#include "compiler/Reference/Activate.h"
#include "compiler/Reference/Frame.h"
#include "compiler/Reference/Rounding.h"

#include <cmath>
#include <optional>

using namespace mlir;

namespace mlc::reference {

static graph::StateOp stateOf(Operation *op, FlatSymbolRefAttr name) {
  return SymbolTable::lookupNearestSymbolFrom<graph::StateOp>(op, name);
}

/// The state's rows of `segment`'s sequence, `width` values a position, without those that were rolled back.
template <typename T>
static llvm::Expected<RecurrentRows<T> *> rowsBefore(Operation *op, graph::StateOp state, const Segment &segment,
                                                     int64_t width, Frame<T> &frame) {
  RecurrentRows<T> &rows = frame.states().recurrent(state, segment.sequence);
  if (int64_t(rows.log.size()) < segment.firstPosition * width)
    return failAt(op,
                  "sequence " + Twine(segment.sequence) + " holds no position before " + Twine(segment.firstPosition));
  rows.log.resize(segment.firstPosition * width);
  return &rows;
}

/// Every operand has as many rows as the batch has tokens.
template <typename T>
static llvm::Error checkRows(Operation *op, ValueRange values, const Batch &batch, Frame<T> &frame) {
  for (Value value : values)
    if (frame.floats(value).rows() != batch.tokens())
      return failAt(op, "an operand does not have one row for each token of the batch");
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateConv1d(graph::Conv1dCausalOp op, Frame<T> &frame) {
  graph::StateOp state = stateOf(op, op.getStateAttr());
  const Floats<T> &input = frame.floats(op.getInput());
  const Batch &batch = frame.batch(op.getBatch());
  int64_t channels = state.getChannels(), kernel = state.getKernel();
  if (llvm::Error error = checkRows(op, op.getInput(), batch, frame))
    return error;
  llvm::Expected<ArrayRef<float>> weight = frame.weights().floats(graph::lookupWeight(op, op.getWeightAttr()));
  if (!weight)
    return weight.takeError();
  std::vector<float> bias(channels, 0.0f);
  if (op.getBias()) {
    llvm::Expected<ArrayRef<float>> given = frame.weights().floats(graph::lookupWeight(op, op.getBiasAttr()));
    if (!given)
      return given.takeError();
    bias.assign(given->begin(), given->end());
  }
  if (llvm::Error error = frame.admit(op, input.shape))
    return error;
  auto result = Floats<T>::filled(input.shape);
  int64_t row = 0;
  for (const Segment &segment : batch.segments) {
    llvm::Expected<RecurrentRows<T> *> rows = rowsBefore(op, state, segment, channels, frame);
    if (!rows)
      return rows.takeError();
    std::vector<T> &log = (*rows)->log;
    for (int64_t t = 0; t < segment.length; ++t, ++row) {
      int64_t position = segment.firstPosition + t;
      log.insert(log.end(), input.row(row), input.row(row) + channels);
      for (int64_t c = 0; c < channels; ++c) {
        T sum = T(bias[c]);
        for (int64_t j = std::max<int64_t>(0, kernel - 1 - position); j < kernel; ++j)
          sum += T((*weight)[c * kernel + j]) * log[(position - kernel + 1 + j) * channels + c];
        result.row(row)[c] = op.getFunction() ? activate<T>(*op.getFunction(), sum) : sum;
      }
    }
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

/// Sizes of a scan and the constants of its heads. One position of the state's log is [x | b | dt'].
template <typename T> struct Scan {
  int64_t heads, dim, groups, size;
  std::vector<T> a, d, dtBias;
  T least, most;
  Type rounded; // What factors of products are rounded to; null: nothing.

  int64_t matrix() const { return dim * size; }
  int64_t width() const { return heads * dim + groups * size + heads; }
  const T *x(const T *entry, int64_t head) const { return entry + head * dim; }
  const T *b(const T *entry, int64_t head) const { return entry + heads * dim + head / (heads / groups) * size; }
  T dt(const T *entry, int64_t head) const { return entry[heads * dim + groups * size + head]; }

  /// softplus and clamp of a raw dt.
  T step(T raw, int64_t head) const {
    T value = raw + dtBias[head];
    T soft = value > T(20) ? value : std::log1p(std::exp(value));
    return std::min(std::max(soft, least), most);
  }
};

template <typename T> static llvm::Expected<Scan<T>> readScan(graph::SsdOp op, Frame<T> &frame) {
  graph::StateOp state = stateOf(op, op.getStateAttr());
  Scan<T> scan{int64_t(state.getHeads()),
               int64_t(state.getHeadDim()),
               int64_t(state.getGroups()),
               int64_t(state.getStateSize()),
               {},
               {},
               {},
               T(op.getDtMin().convertToFloat()),
               op.getDtMax() ? T(op.getDtMax()->convertToFloat()) : std::numeric_limits<T>::infinity(),
               op.getProducts() == graph::Products::bf16 ? Type(BFloat16Type::get(op.getContext())) : Type()};
  for (auto [name, values] : {std::pair(op.getAAttr(), &scan.a), std::pair(op.getDAttr(), &scan.d),
                              std::pair(op.getDtBiasAttr(), &scan.dtBias)}) {
    llvm::Expected<ArrayRef<float>> weight = frame.weights().floats(graph::lookupWeight(op, name));
    if (!weight)
      return weight.takeError();
    values->assign(weight->begin(), weight->end());
  }
  if (op.getLogA())
    for (T &value : scan.a)
      value = -std::exp(value);
  return scan;
}

/// h = exp(dt a) h + dt x b^T, the matrix of one head.
template <typename T> static void advance(const Scan<T> &scan, int64_t head, const T *entry, T *h) {
  const T *x = scan.x(entry, head), *b = scan.b(entry, head);
  T dt = scan.dt(entry, head), decay = std::exp(dt * scan.a[head]);
  for (int64_t p = 0; p < scan.dim; ++p)
    for (int64_t n = 0; n < scan.size; ++n)
      h[p * scan.size + n] = decay * h[p * scan.size + n] + dt * x[p] * b[n];
}

/// y = h c + d x.
template <typename T>
static void readOut(const Scan<T> &scan, int64_t head, const T *entry, const T *h, const T *c, T *y) {
  for (int64_t p = 0; p < scan.dim; ++p) {
    T sum = 0;
    for (int64_t n = 0; n < scan.size; ++n)
      sum += h[p * scan.size + n] * c[n];
    y[p] = sum + scan.d[head] * scan.x(entry, head)[p];
  }
}

/// A page of one head with the factors of products rounded to bf16. With cum_t the sum of dt a up to entry t of the
/// page and S the state before it:
///   y_t = exp(cum_t) S c_t + sum over j <= t of ((c_t . b_j) exp(cum_t - cum_j) dt_j) x_j + d x_t
///   S' = exp(cum_15) S + sum over j of (exp(cum_15 - cum_j) dt_j x_j) b_j^T
/// where c, b, S, each bracket and the x beside it are rounded before they are multiplied; sums and S itself are not.
template <typename T> class RoundedPage {
public:
  RoundedPage(const Scan<T> &scan, int64_t head, const T *entries, int64_t count)
      : scan(scan), head(head), entries(entries) {
    T sum = 0;
    for (int64_t t = 0; t < count; ++t)
      cum.push_back(sum += scan.dt(entry(t), head) * scan.a[head]);
  }

  void readOut(int64_t t, const T *state, const T *c, T *y) const {
    std::vector<T> factors;
    for (int64_t j = 0; j <= t; ++j) {
      T product = 0;
      for (int64_t n = 0; n < scan.size; ++n)
        product += round(c[n]) * round(scan.b(entry(j), head)[n]);
      factors.push_back(round(product * std::exp(cum[t] - cum[j]) * scan.dt(entry(j), head)));
    }
    for (int64_t p = 0; p < scan.dim; ++p) {
      T sum = 0;
      for (int64_t n = 0; n < scan.size; ++n)
        sum += round(c[n]) * round(state[p * scan.size + n]);
      sum *= std::exp(cum[t]);
      for (int64_t j = 0; j <= t; ++j)
        sum += factors[j] * round(scan.x(entry(j), head)[p]);
      y[p] = sum + scan.d[head] * scan.x(entry(t), head)[p];
    }
  }
  void fold(T *state) const {
    for (int64_t p = 0; p < scan.dim; ++p)
      for (int64_t n = 0; n < scan.size; ++n) {
        T sum = std::exp(cum.back()) * state[p * scan.size + n];
        for (size_t j = 0; j < cum.size(); ++j)
          sum += round(scan.b(entry(j), head)[n]) *
                 round(std::exp(cum.back() - cum[j]) * scan.dt(entry(j), head) * scan.x(entry(j), head)[p]);
        state[p * scan.size + n] = sum;
      }
  }

private:
  T round(T value) const { return roundTo(scan.rounded, value); }
  const T *entry(int64_t t) const { return entries + t * scan.width(); }

  const Scan<T> &scan;
  int64_t head;
  const T *entries;
  std::vector<T> cum;
};

/// Folds the pages before position `until` into the base, which is rounded as the state's dtype says.
template <typename T>
static void foldPages(graph::StateOp state, const Scan<T> &scan, int64_t until, RecurrentRows<T> &rows) {
  if (rows.base.empty() || until < rows.position) {
    rows.base.assign(scan.heads * scan.matrix(), T(0));
    rows.position = 0;
  }
  for (; rows.position + graph::kStatePage <= until; rows.position += graph::kStatePage)
    for (int64_t head = 0; head < scan.heads; ++head) {
      T *h = rows.base.data() + head * scan.matrix();
      const T *entries = rows.log.data() + rows.position * scan.width();
      if (scan.rounded)
        RoundedPage<T>(scan, head, entries, graph::kStatePage).fold(h);
      else
        for (int64_t t = 0; t < graph::kStatePage; ++t)
          advance(scan, head, entries + t * scan.width(), h);
      for (int64_t i = 0; i < scan.matrix(); ++i)
        h[i] = roundTo(state.getDtype().value_or(Float32Type::get(state.getContext())), h[i]);
    }
}

template <typename T> static llvm::Error evaluateSsd(graph::SsdOp op, Frame<T> &frame) {
  graph::StateOp state = stateOf(op, op.getStateAttr());
  const Floats<T> &x = frame.floats(op.getInput()), &dt = frame.floats(op.getDt()), &b = frame.floats(op.getB()),
                  &c = frame.floats(op.getC());
  const Batch &batch = frame.batch(op.getBatch());
  if (llvm::Error error = checkRows(op, {op.getInput(), op.getDt(), op.getB(), op.getC()}, batch, frame))
    return error;
  llvm::Expected<Scan<T>> read = readScan(op, frame);
  if (!read)
    return read.takeError();
  const Scan<T> &scan = *read;
  if (llvm::Error error = frame.admit(op, x.shape))
    return error;
  auto result = Floats<T>::filled(x.shape);
  int64_t row = 0;
  for (const Segment &segment : batch.segments) {
    llvm::Expected<RecurrentRows<T> *> found = rowsBefore(op, state, segment, scan.width(), frame);
    if (!found)
      return found.takeError();
    RecurrentRows<T> &rows = **found;
    int64_t first = segment.firstPosition, end = first + segment.length, before = row;
    for (; row < before + segment.length; ++row) {
      rows.log.insert(rows.log.end(), x.row(row), x.row(row) + scan.heads * scan.dim);
      rows.log.insert(rows.log.end(), b.row(row), b.row(row) + scan.groups * scan.size);
      for (int64_t head = 0; head < scan.heads; ++head)
        rows.log.push_back(scan.step(dt.row(row)[head], head));
    }
    for (int64_t begin = first; begin < end;) {
      foldPages(state, scan, begin, rows);
      int64_t stop = std::min(end, rows.position + graph::kStatePage);
      for (int64_t head = 0; head < scan.heads; ++head) {
        const T *base = rows.base.data() + head * scan.matrix(),
                *entries = rows.log.data() + rows.position * scan.width();
        std::vector<T> h(base, base + scan.matrix());
        std::optional<RoundedPage<T>> page;
        if (scan.rounded)
          page.emplace(scan, head, entries, stop - rows.position);
        for (int64_t t = rows.position; t < stop; ++t) {
          const T *entry = entries + (t - rows.position) * scan.width();
          if (!page)
            advance(scan, head, entry, h.data());
          if (t < begin)
            continue;
          int64_t at = before + t - first;
          const T *cRow = c.row(at) + head / (scan.heads / scan.groups) * scan.size;
          T *y = result.row(at) + head * scan.dim;
          if (page)
            page->readOut(t - rows.position, base, cRow, y);
          else
            readOut(scan, head, entry, h.data(), cRow, y);
        }
      }
      begin = stop;
    }
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerRecurrent(Evaluators<T> evaluators) {
  evaluators.template add<graph::Conv1dCausalOp, evaluateConv1d<T>>();
  evaluators.template add<graph::SsdOp, evaluateSsd<T>>();
}
MLC_REFERENCE_FAMILY(registerRecurrent)

} // namespace mlc::reference
