//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Einsum, as one structured op: the output's labels are its parallel axes, the others are summed over.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;

namespace mlc::onnx {
namespace {

/// The axes of one operand or of the result, as labels: letters, and numbers from 128 on for those of the ellipsis,
/// counted from behind.
using Labels = SmallVector<unsigned>;

} // namespace

/// "ij...": `rank` tells how many axes the ellipsis has. False after a failure.
static bool readLabels(Node &n, StringRef term, std::optional<int64_t> rank, int64_t &ellipsis, Labels &labels) {
  size_t dots = term.find("...");
  bool has = dots != StringRef::npos;
  int64_t letters = int64_t(term.size()) - (has ? 3 : 0);
  if (rank && has) {
    if (*rank < letters)
      return n.fail("names more axes than an operand has"), false;
    ellipsis = std::max(ellipsis, *rank - letters);
  }
  int64_t hidden = rank ? *rank - letters : ellipsis;
  for (size_t i = 0; i < term.size(); ++i) {
    if (has && i == dots) {
      for (int64_t k = hidden; k-- > 0;)
        labels.push_back(unsigned(128 + k));
      i += 2;
    } else if (isalpha(static_cast<unsigned char>(term[i]))) {
      labels.push_back(static_cast<unsigned char>(term[i]));
    } else {
      return n.fail("has an equation that cannot be read"), false;
    }
  }
  if (rank && int64_t(labels.size()) != *rank)
    return n.fail("names another number of axes than an operand has"), false;
  return true;
}

static void bindEinsum(Node &n) {
  Emitter &e = n.e;
  OpBuilder &b = e.builder;
  std::string equation = n.stringAttr("equation", "");
  llvm::erase(equation, ' ');
  auto [left, right] = StringRef(equation).split("->");
  bool explicitOutput = StringRef(equation).contains("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != n.inputs())
    return n.fail("has another number of operands than its equation");
  SmallVector<Tensor> operands;
  SmallVector<Labels> labels(terms.size());
  int64_t ellipsis = 0;
  for (auto [i, term] : llvm::enumerate(terms)) {
    operands.push_back(n.in(i));
    if (!operands.back() || !readLabels(n, term, operands.back().rank(), ellipsis, labels[i]))
      return;
    if (operands.back().dtype() != operands.front().dtype() || operands.back().dtype().isBool())
      return n.fail("takes numbers of one type");
  }
  // The extent of each label; 1 gives way inside the ellipsis.
  llvm::MapVector<unsigned, Dim> extents;
  llvm::DenseMap<unsigned, unsigned> uses;
  for (auto [operand, axes] : llvm::zip_equal(operands, labels))
    for (auto [label, extent] : llvm::zip_equal(axes, operand.shape)) {
      ++uses[label];
      auto [found, isNew] = extents.insert({label, extent});
      if (isNew || found->second == extent || (label >= 128 && e.constant(extent) == 1))
        continue;
      if (label < 128 || e.constant(found->second) != 1)
        return n.fail("gives a label two extents");
      found->second = extent;
    }
  Labels result;
  if (explicitOutput) {
    if (!readLabels(n, right, std::nullopt, ellipsis, result))
      return;
  } else {
    // The axes of the ellipsis, then the letters that stand once, in their order.
    for (int64_t k = ellipsis; k-- > 0;)
      result.push_back(unsigned(128 + k));
    for (unsigned letter = 0; letter < 128; ++letter)
      if (uses.lookup(letter) == 1)
        result.push_back(letter);
  }
  // Iteration space: the result's labels, then those that are summed over.
  llvm::MapVector<unsigned, unsigned> space;
  Dims shape;
  for (unsigned label : result) {
    auto found = extents.find(label);
    if (found == extents.end() || !space.insert({label, unsigned(space.size())}).second)
      return n.fail("has a result whose labels are not those of its operands, each once");
    shape.push_back(found->second);
  }
  SmallVector<utils::IteratorType> iterators(space.size(), utils::IteratorType::parallel);
  for (auto [label, extent] : extents)
    if (space.insert({label, unsigned(space.size())}).second)
      iterators.push_back(utils::IteratorType::reduction);
  SmallVector<AffineMap> maps;
  SmallVector<Value> inputs;
  for (auto [operand, axes] : llvm::zip_equal(operands, labels)) {
    SmallVector<AffineExpr> exprs;
    for (auto [label, extent] : llvm::zip_equal(axes, operand.shape)) {
      bool spread = extent != extents[label];
      exprs.push_back(spread ? b.getAffineConstantExpr(0) : b.getAffineDimExpr(space[label]));
    }
    maps.push_back(AffineMap::get(unsigned(space.size()), 0, exprs, b.getContext()));
    inputs.push_back(e.widened(operand).value);
  }
  SmallVector<AffineExpr> out;
  for (unsigned label : result)
    out.push_back(b.getAffineDimExpr(space[label]));
  maps.push_back(AffineMap::get(unsigned(space.size()), 0, out, b.getContext()));
  DType type = e.widened(operands.front()).dtype();
  Tensor init = e.splat(0, type, shape);
  if (e.failed())
    return;
  bool isFloat = type.isFloat();
  auto op = b.create<linalg::GenericOp>(e.loc, init.value.getType(), inputs, init.value, maps, iterators,
                                        [&](OpBuilder &body, Location loc, ValueRange values) {
                                          Value product = values.front();
                                          for (Value factor : values.drop_front().drop_back())
                                            product = isFloat ? Value(body.create<arith::MulFOp>(loc, product, factor))
                                                              : Value(body.create<arith::MulIOp>(loc, product, factor));
                                          Value sum =
                                              isFloat ? Value(body.create<arith::AddFOp>(loc, values.back(), product))
                                                      : Value(body.create<arith::AddIOp>(loc, values.back(), product));
                                          body.create<linalg::YieldOp>(loc, sum);
                                        });
  n.give(e.cast(Tensor{op.getResult(0), shape, type.isUnsigned}, operands.front().dtype()));
}

void addEinsum(BinderTable &table) { table["Einsum"] = bindEinsum; }

} // namespace mlc::onnx
