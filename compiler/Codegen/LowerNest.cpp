//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Regions on buffers: a function of memrefs, then the bounds of its marked op, to LLVM with an entry around it.
//
#include "compiler/Codegen/IndexStatus.h"
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/RegionCode.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

#include <numeric>

using namespace mlir;
using namespace mlc;

namespace {

/// What a distance that a run chooses is taken for.
constexpr int64_t kUnknownStride = 1 << 10;

/// How good `axis` is as the innermost loop: what it reads and writes one after the other, less what it strides over.
int64_t innermostScore(linalg::GenericOp op, unsigned axis) {
  int64_t score = 0;
  for (OpOperand &operand : op->getOpOperands()) {
    auto type = dyn_cast<MemRefType>(operand.get().getType());
    SmallVector<int64_t> strides;
    int64_t offset;
    if (!type || failed(getStridesAndOffset(type, strides, offset)))
      continue;
    int64_t step = 0; // Elements from one iteration to the next.
    AffineMap map = op.getMatchingIndexingMap(&operand);
    for (auto [expr, stride] : llvm::zip(map.getResults(), strides)) {
      int64_t factor = 0;
      expr.walk([&](AffineExpr inner) {
        auto dim = dyn_cast<AffineDimExpr>(inner);
        if (dim && dim.getPosition() == axis && !factor)
          factor = 1;
        if (auto product = dyn_cast<AffineBinaryOpExpr>(inner); product && product.getKind() == AffineExprKind::Mul)
          if (auto left = dyn_cast<AffineDimExpr>(product.getLHS()); left && left.getPosition() == axis)
            if (auto right = dyn_cast<AffineConstantExpr>(product.getRHS()))
              factor = right.getValue();
      });
      step += factor * (ShapedType::isDynamic(stride) ? kUnknownStride : stride);
    }
    bool output = op.isDpsInit(&operand);
    if (step == 1)
      score += output ? 3 : 2;
    else if (step)
      score -= output ? 6 : 4;
    else
      score += 1;
  }
  return score;
}

/// Interchanges the loops of `op`: the marked axis outside, then the parallel ones, and inside the axis along which
/// most lies one after the other.
void orderLoops(IRRewriter &rewriter, linalg::GenericOp &op, std::optional<int64_t> split) {
  unsigned loops = op.getNumLoops();
  if (loops < 2)
    return;
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  int64_t best = -1, bestScore = 0;
  for (int64_t axis = loops - 1; axis >= 0; --axis) {
    if (split == axis || ranges[axis] == 1)
      continue;
    int64_t score = innermostScore(op, axis) * 4 + (ranges[axis] >= 8 || ShapedType::isDynamic(ranges[axis]) ? 2 : 0);
    if (best < 0 || score > bestScore)
      best = axis, bestScore = score;
  }
  SmallVector<unsigned> order;
  if (split)
    order.push_back(*split);
  for (auto kind : {utils::IteratorType::parallel, utils::IteratorType::reduction})
    for (unsigned axis = 0; axis < loops; ++axis)
      if (kinds[axis] == kind && axis != best && split != int64_t(axis))
        order.push_back(axis);
  if (best >= 0)
    order.push_back(unsigned(best));
  if (llvm::is_sorted(order))
    return;
  if (auto changed = linalg::interchangeGenericOp(rewriter, op, order); succeeded(changed))
    op = *changed;
}

/// The fill with zero right in front of `op` that only sets its result up; null when there is none.
linalg::FillOp zeroBefore(linalg::GenericOp op) {
  Operation *before = op->getPrevNode();
  while (before && isPure(before))
    before = before->getPrevNode();
  auto fill = dyn_cast_or_null<linalg::FillOp>(before);
  if (!fill || fill.getOutputs()[0] != op.getDpsInits()[0])
    return {};
  return matchPattern(fill.getInputs()[0], m_AnyZeroFloat()) ? fill : linalg::FillOp();
}

LogicalResult lowerLoops(func::FuncOp function, LevelTraits traits) {
  IRRewriter rewriter(function.getContext());
  SmallVector<memref::CopyOp> copies;
  function.walk([&](memref::CopyOp op) { copies.push_back(op); });
  for (memref::CopyOp copy : copies) {
    rewriter.setInsertionPoint(copy);
    unsigned rank = cast<MemRefType>(copy.getSource().getType()).getRank();
    SmallVector<AffineMap> maps(2, rewriter.getMultiDimIdentityMap(rank));
    SmallVector<utils::IteratorType> parallel(rank, utils::IteratorType::parallel);
    auto generic = rewriter.create<linalg::GenericOp>(copy.getLoc(), ValueRange(copy.getSource()),
                                                      ValueRange(copy.getTarget()), maps, parallel,
                                                      [](OpBuilder &builder, Location location, ValueRange values) {
                                                        builder.create<linalg::YieldOp>(location, values[0]);
                                                      });
    if (Attribute split = copy->getAttr(kSplitAttr))
      generic->setAttr(kSplitAttr, split);
    rewriter.eraseOp(copy);
  }
  SmallVector<linalg::FillOp> fills;
  llvm::SmallPtrSet<Operation *, 4> fromZero;
  function.walk([&](linalg::GenericOp op) {
    if (linalg::FillOp fill = isPanelProduct(op) ? zeroBefore(op) : linalg::FillOp()) {
      fills.push_back(fill);
      fromZero.insert(op);
    }
  });
  for (linalg::FillOp fill : fills)
    rewriter.eraseOp(fill);
  SmallVector<linalg::LinalgOp> ops;
  function.walk([&](linalg::LinalgOp op) { ops.push_back(op); });
  for (linalg::LinalgOp op : ops) {
    auto attribute = op->getAttrOfType<IntegerAttr>(kSplitAttr);
    rewriter.setInsertionPoint(op);
    FailureOr<linalg::GenericOp> generic = linalg::GenericOp();
    if (auto already = dyn_cast<linalg::GenericOp>(op.getOperation()))
      generic = already;
    else
      generic = linalg::generalizeNamedOp(rewriter, op);
    if (failed(generic))
      return failure();
    std::optional<int64_t> split;
    if (attribute)
      split = attribute.getInt();
    unsigned arguments = function.getNumArguments();
    Value begin = function.getArgument(arguments - 2), end = function.getArgument(arguments - 1);
    bool product = isPanelProduct(*generic);
    if (product)
      lowerPanelProduct(*generic, rewriter, traits, fromZero.contains(op), split, begin, end);
    if (product || lowerTurned(*generic, rewriter, split, begin, end) ||
        lowerRowReduction(*generic, rewriter, split, begin, end)) {
      rewriter.eraseOp(*generic);
      continue;
    }
    orderLoops(rewriter, *generic, split);
    rewriter.setInsertionPoint(*generic);
    FailureOr<linalg::LinalgLoops> loops = linalg::linalgOpToLoops(rewriter, *generic);
    if (failed(loops))
      return failure();
    rewriter.eraseOp(*generic);
    if (!split)
      continue;
    auto outer = cast<scf::ForOp>(loops->front());
    outer.setLowerBound(begin);
    outer.setUpperBound(end);
  }
  return success();
}

/// The entry of the interface: loads the buffers' addresses and the extents, and calls the row function.
void buildEntry(ModuleOp module, LLVM::LLVMFuncOp row) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Location location = row.getLoc();
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext()), i64 = builder.getI64Type();
  auto type = LLVM::LLVMFunctionType::get(builder.getI32Type(), {pointer, pointer, i64, i64});
  auto entry = builder.create<LLVM::LLVMFuncOp>(location, kRegionEntry, type);
  Block *block = entry.addEntryBlock(builder);
  builder.setInsertionPointToStart(block);
  SmallVector<Value> operands;
  int32_t loaded[2] = {0, 0}; // Of buffers and of dims.
  for (unsigned i = 0; i + 2 < row.getNumArguments(); ++i) {
    Type type = row.getArgument(i).getType();
    bool isExtent = type != pointer;
    Value place = builder.create<LLVM::GEPOp>(location, pointer, type, block->getArgument(isExtent),
                                              ArrayRef<LLVM::GEPArg>{loaded[isExtent]++});
    operands.push_back(builder.create<LLVM::LoadOp>(location, type, place));
  }
  operands.push_back(block->getArgument(2));
  operands.push_back(block->getArgument(3));
  auto call = builder.create<LLVM::CallOp>(location, row, operands);
  Value status = call.getNumResults() ? call.getResult()
                                      : builder.create<LLVM::ConstantOp>(location, builder.getI32Type(), 0).getResult();
  builder.create<LLVM::ReturnOp>(location, status);
  row.setLinkage(LLVM::Linkage::Internal);
}

} // namespace

LogicalResult mlc::lowerNest(ModuleOp module, LevelTraits traits) {
  // One view of each part of a buffer: a fill and what it sets up meet.
  PassManager views(module.getContext());
  views.addPass(createCSEPass());
  if (failed(views.run(module)))
    return failure();
  auto function = module.lookupSymbol<func::FuncOp>(kRegionRow);
  if (failed(lowerLoops(function, traits)) || failed(lowerIndexChecks(function)))
    return failure();
  PassManager loops(module.getContext());
  loops.addPass(createCanonicalizerPass());
  loops.addPass(createLoopInvariantCodeMotionPass());
  loops.addPass(createCSEPass());
  arith::ArithEmulateUnsupportedFloatsOptions emulate;
  SmallVector<std::string> shortFloats{"bf16", "f16"};
  emulate.sourceTypeStrs = shortFloats;
  emulate.targetTypeStr = "f32";
  loops.addPass(arith::createArithEmulateUnsupportedFloats(emulate));
  if (failed(loops.run(module)))
    return failure();
  // Every operation on short floats rounds: the emulation would let roundings between operations be left out.
  module.walk([](Operation *op) {
    if (auto extend = dyn_cast<arith::ExtFOp>(op))
      extend.setFastmath(arith::FastMathFlags::none);
    else if (auto truncate = dyn_cast<arith::TruncFOp>(op))
      truncate.setFastmath(arith::FastMathFlags::none);
  });
  {
    RewritePatternSet patterns(module.getContext());
    populateMathAlgebraicSimplificationPatterns(patterns);
    arith::populateCeilFloorDivExpandOpsPatterns(patterns);
    populateExpandShapePatterns(patterns);
    if (failed(applyPatternsAndFoldGreedily(module, std::move(patterns))))
      return failure();
  }
  if (failed(expandMath(module, traits)))
    return failure();
  PassManager lower(module.getContext());
  lower.addPass(memref::createExpandStridedMetadataPass());
  lower.addPass(createLowerAffinePass());
  lower.addPass(createCanonicalizerPass());
  lower.addPass(createCSEPass());
  lower.addPass(createLoopInvariantCodeMotionPass());
  lower.addPass(createConvertSCFToCFPass());
  lower.addPass(createConvertVectorToLLVMPass());
  lower.addPass(createConvertMathToLLVMPass());
  lower.addPass(createArithToLLVMConversionPass());
  lower.addPass(createConvertIndexToLLVMPass());
  lower.addPass(createFinalizeMemRefToLLVMConversionPass());
  ConvertFuncToLLVMPassOptions bare;
  bare.useBarePtrCallConv = true;
  lower.addPass(createConvertFuncToLLVMPass(bare));
  lower.addPass(createConvertControlFlowToLLVMPass());
  lower.addPass(createReconcileUnrealizedCastsPass());
  lower.addPass(createCanonicalizerPass());
  if (failed(lower.run(module)))
    return failure();
  buildEntry(module, module.lookupSymbol<LLVM::LLVMFuncOp>(kRegionRow));
  return success();
}
