//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A network's bufferized function: allocations become slots, runs of ops code objects.
//
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Conversion/GraphToExec/BufferRegion.h"
#include "compiler/Conversion/GraphToExec/RowGroup.h"
#include "compiler/Dialect/Exec/IR/Checked.h"
#include "compiler/Dialect/Graph/IR/KernelOps.h"
#include "compiler/Transforms/Network/Passes.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlc;

namespace {

/// Elements that one worker calculates in some tens of microseconds: less is not worth handing over.
constexpr int64_t kShare = 1 << 15;
/// The runtime calls code with at most as many buffers.
constexpr size_t kMaxBuffers = 31;

class BufferLowering {
public:
  BufferLowering(Lowering &lowering, func::FuncOp function)
      : lowering(lowering), builder(lowering.builder), function(function), body(function.getBody().front()),
        extents(function, builder), region(body, extents) {}

  LogicalResult run() {
    OpBuilder::InsertionGuard guard(builder);
    lowering.location = function.getLoc();
    if (failed(extents.addArguments()))
      return failure();
    SmallVector<Attribute> inputs, outputs;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (auto name = function.getArgAttrOfType<StringAttr>(i, graph::kNameAttr))
        inputs.push_back(name);
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      outputs.push_back(function.getResultAttrOfType<StringAttr>(i, graph::kNameAttr));
    auto lowered = builder.create<exec::FuncOp>(function.getLoc(), function.getSymName(), builder.getArrayAttr(inputs),
                                                builder.getArrayAttr(outputs));
    builder.setInsertionPointToStart(&lowered.getBody().emplaceBlock());
    noteOutputs();
    for (BlockArgument argument : function.getArguments())
      if (isa<MemRefType>(argument.getType()) && failed(lowerArgument(argument)))
        return failure();
    int64_t position = 0;
    for (Operation &op : body)
      order[&op] = position++;
    findGroups();
    for (Operation &op : body.without_terminator())
      if (failed(lower(&op)))
        return failure();
    if (failed(finish(cast<func::ReturnOp>(body.getTerminator()))))
      return failure();
    builder.setInsertionPoint(lowered);
    declareCarries(inputs, outputs);
    return success();
  }

private:
  void declareCarries(ArrayRef<Attribute> inputs, ArrayRef<Attribute> outputs) {
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto from = function.getArgAttrOfType<StringAttr>(i, graph::kCarryAttr);
      if (!from)
        continue;
      auto index = [](ArrayRef<Attribute> names, StringAttr name) { return llvm::find(names, name) - names.begin(); };
      auto name = function.getArgAttrOfType<StringAttr>(i, graph::kNameAttr);
      builder.create<exec::CarryOp>(function.getLoc(), ("carry." + name.getValue()).str(), function.getSymName(),
                                    index(outputs, from), index(inputs, name));
    }
  }

  /// Allocations that are outputs: their slots are the ports.
  void noteOutputs() {
    for (OpOperand &operand : body.getTerminator()->getOpOperands())
      if (operand.get().getDefiningOp<memref::AllocOp>())
        outputOf.try_emplace(operand.get(), operand.getOperandNumber());
  }

  MemRefType slotType(MemRefType type, bool isUnsigned) {
    Type element = type.getElementType();
    if (isUnsigned)
      element = builder.getIntegerType(element.getIntOrFloatBitWidth(), /*isSigned=*/false);
    return MemRefType::get(type.getShape(), element);
  }

  exec::SlotOp slot(MemRefType type) {
    return slot(type, llvm::map_to_vector(type.getShape(),
                                          [&](int64_t size) -> Attribute { return builder.getI64IntegerAttr(size); }));
  }
  exec::SlotOp slot(MemRefType type, ArrayRef<Attribute> dims) {
    return builder.create<exec::SlotOp>(lowering.location, type, builder.getArrayAttr(dims), IntegerAttr(),
                                        IntegerAttr(), StringAttr(), ArrayAttr());
  }

  LogicalResult lowerArgument(BlockArgument argument) {
    unsigned index = argument.getArgNumber();
    auto type = cast<MemRefType>(argument.getType());
    lowering.current = function;
    // A segment holds nothing that is empty.
    if (!function.getArgAttr(index, graph::kNameAttr) && !type.getNumElements()) {
      lowering.bind(argument, slot(type));
      return success();
    }
    if (auto weight = function.getArgAttrOfType<FlatSymbolRefAttr>(index, graph::kWeightArgument)) {
      lowering.bind(argument, lowering.stored(weight, type));
      return success();
    }
    if (auto values = function.getArgAttrOfType<DenseElementsAttr>(index, graph::kConstantArgument)) {
      lowering.bind(argument, lowering.elements(values));
      return success();
    }
    FailureOr<SmallVector<Attribute>> dims = extents.dimsOf(argument);
    if (failed(dims))
      return failure();
    exec::SlotOp made = slot(slotType(type, bool(function.getArgAttr(index, graph::kUnsignedAttr))), *dims);
    made.setInputAttr(builder.getI64IntegerAttr(inputCount++));
    lowering.bind(argument, made);
    return success();
  }

  /// Groups of ops that go row by row. A scalar's region is not cut in two by one.
  void findGroups() {
    int64_t free = 0; // Where the last group or scalar's region has ended.
    for (Operation &op : body.without_terminator()) {
      if (op.getNumResults() && !isDeferred(&op) && !isa<memref::AllocOp>(op))
        free = std::max(free, lastReader(&op) + 1);
      if (order.lookup(&op) < free)
        continue;
      std::optional<RowGroup> group = RowGroup::find(&op);
      if (!group || order.lookup(group->ops().front()) < free)
        continue;
      Operation *last = group->ops().back();
      auto isScalar = [](Operation &inner) {
        return inner.getNumResults() && !isDeferred(&inner) && !isa<memref::AllocOp>(inner);
      };
      if (llvm::any_of(llvm::make_range(Block::iterator(op), Block::iterator(last)), isScalar))
        continue;
      free = order.lookup(last) + 1;
      for (Operation *member : group->ops())
        groupOf[member] = groups.size();
      groups.push_back(std::move(*group));
    }
  }

  /// The code of a group in place of its last op: what stands between its ops does not touch its buffers.
  LogicalResult emit(const RowGroup &group) {
    if (failed(flush()))
      return failure();
    exec::CodeOp code = lowering.code(group.text());
    if (!code)
      return failure();
    SmallVector<Value> buffers(llvm::map_range(group.buffers(), [&](Value base) { return lowering.buffer(base); }));
    for (MemRefType place : group.places())
      buffers.push_back(slot(place));
    builder.create<exec::CallCodeOp>(lowering.location, code.getSymName(), buffers, builder.getArrayAttr({}),
                                     builder.getI64IntegerAttr(group.shares()), /*grain=*/1);
    return success();
  }

  LogicalResult lower(Operation *op) {
    lowering.current = op;
    lowering.location = op->getLoc();
    if (auto member = groupOf.find(op); member != groupOf.end()) {
      const RowGroup &group = groups[member->second];
      return op == group.ops().back() ? emit(group) : success();
    }
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      if (llvm::any_of(groups, [&](const RowGroup &group) { return group.isInternal(alloc); }))
        return success();
      auto output = outputOf.find(alloc);
      bool isUnsigned = output != outputOf.end() && bool(function.getResultAttr(output->second, graph::kUnsignedAttr));
      return lowerAlloc(alloc, output != outputOf.end(), isUnsigned);
    }
    if (isa<memref::DeallocOp>(op) || isDeferred(op) ||
        (isa<linalg::LinalgOp, memref::CopyOp>(op) && !workOf(op, extents)))
      return success();
    if (op->getNumResults() && failed(pin(op)))
      return failure();
    if (auto call = dyn_cast<graph::CallKernelOp>(op))
      return callKernel(call);
    if (setsUpProduct(op)) {
      zero = op;
      return success();
    }
    Operation *start = std::exchange(zero, nullptr);
    bool pinned = order.lookup(op) <= pinnedUntil;
    // A run that fails names the op whose index it was.
    bool checks = checksIndices(op);
    if (checks && !pinned && failed(flush()))
      return failure();
    // Ops with enough work share it among the workers, each in a region of its own.
    if (!pinned && workOf(op, extents) >= 2 * kShare)
      if (std::optional<Split> split = splitOf(op, extents)) {
        if (failed(flush()))
          return failure();
        if (start)
          region.add(start);
        region.add(op);
        return emit(split);
      }
    llvm::SetVector<Value> all(region.buffers().begin(), region.buffers().end());
    for (Value buffer : region.buffersOf(op))
      all.insert(buffer);
    if (!region.empty() && !pinned && (region.work() >= kShare || all.size() > kMaxBuffers) && failed(flush()))
      return failure();
    if (start)
      region.add(start);
    region.add(op);
    return checks && !pinned ? flush() : success();
  }

  /// Operands are whole buffers (network-bufferize). No region is pinned: network-choose-kernels sees to that.
  LogicalResult callKernel(graph::CallKernelOp call) {
    if (order.lookup(call) <= pinnedUntil)
      return call.emitOpError("stands between a scalar and its reader, which is not lowered");
    for (auto [index, input] : llvm::enumerate(call.getInputs())) {
      auto argument = dyn_cast<BlockArgument>(input);
      bool constant = argument && !function.getArgAttr(argument.getArgNumber(), graph::kNameAttr);
      bool varies = index == 0 || call.getKernel() == "xnnpack.binary" ||
                    (call.getKernel() == "xnnpack.linear_qd8" && index == 2);
      if (!varies && !constant)
        return call.emitOpError("has a filter that is not known when it is compiled; use --kernels own");
    }
    if (failed(flush()))
      return failure();
    auto buffers = llvm::map_to_vector(call.getInputs(), [&](Value input) { return lowering.buffer(input); });
    lowering.kernel(call.getKernel(), buffers, lowering.buffer(call.getInto()), call.getFields().getValue());
    return success();
  }

  LogicalResult lowerAlloc(memref::AllocOp op, bool isOutput, bool isUnsigned) {
    FailureOr<SmallVector<Attribute>> dims = extents.dimsOf(op);
    if (failed(dims))
      return failure();
    MemRefType type = slotType(op.getType(), isUnsigned);
    if (isOutput || type.hasStaticShape()) {
      lowering.bind(op, slot(type, *dims));
      return success();
    }
    // Code alone knows the shape of what lies inside.
    FailureOr<int64_t> most = extents.mostElements(op);
    if (failed(most))
      return failure();
    lowering.bind(op, slot(MemRefType::get({*most}, type.getElementType())));
    return success();
  }

  /// Whether `op` writes the zeros that the product behind it starts from: that begins with zeros in its registers.
  bool setsUpProduct(Operation *op) {
    auto fill = dyn_cast<linalg::FillOp>(op);
    if (!fill || !matchPattern(fill.getInputs()[0], m_AnyZeroFloat()))
      return false;
    Operation *next = op->getNextNode();
    while (!next->hasTrait<OpTrait::IsTerminator>() && (isDeferred(next) || isa<memref::AllocOp>(next)))
      next = next->getNextNode();
    auto product = dyn_cast<linalg::GenericOp>(next);
    return product && isPanelProduct(product) && product.getDpsInits()[0] == fill.getOutputs()[0];
  }

  /// The place of the last op that reads a scalar.
  int64_t lastReader(Operation *op) {
    int64_t last = 0;
    SmallVector<Operation *> open{op};
    llvm::SmallPtrSet<Operation *, 8> seen;
    while (!open.empty()) {
      Operation *from = open.pop_back_val();
      for (Operation *user : from->getUsers()) {
        Operation *reader = body.findAncestorOpInBlock(*user);
        if (!seen.insert(reader).second)
          continue;
        if (isDeferred(reader))
          open.push_back(reader);
        else
          last = std::max(last, order.lookup(reader));
      }
    }
    return last;
  }

  /// A scalar stays in the region that loads it: the region lasts until its last reader.
  LogicalResult pin(Operation *op) {
    pinnedUntil = std::max(pinnedUntil, lastReader(op));
    if (pinnedUntil == order.lookup(body.getTerminator()))
      return op->emitOpError("gives a scalar that the function returns, which is not lowered");
    return success();
  }

  LogicalResult flush() {
    if (region.empty())
      return success();
    return emit({});
  }

  LogicalResult emit(std::optional<Split> split) {
    if (region.buffers().size() > kMaxBuffers)
      return lowering.current->emitOpError("reads and writes ")
             << region.buffers().size() << " tensors, at most " << kMaxBuffers;
    exec::CodeOp code = lowering.code(region.text(split ? std::optional(split->axis) : std::nullopt));
    if (!code)
      return failure();
    SmallVector<Value> buffers;
    for (Value base : region.buffers())
      buffers.push_back(lowering.buffer(base));
    int64_t grain = 1;
    if (split)
      grain = llvm::alignTo(std::max<int64_t>(1, kShare * split->extent / std::max<int64_t>(1, region.work())),
                            split->multiple);
    auto call = builder.create<exec::CallCodeOp>(lowering.location, code.getSymName(), buffers,
                                                 builder.getArrayAttr(extents.names()),
                                                 split ? split->dim : builder.getI64IntegerAttr(1), grain);
    if (std::string names = region.checkedNames(); !names.empty())
      call->setAttr(exec::kCheckedAttr, builder.getStringAttr(names));
    region = BufferRegion(body, extents);
    return success();
  }

  /// Outputs are slots of their own: what is an input, a constant, a view or another output too is copied.
  LogicalResult finish(func::ReturnOp op) {
    lowering.current = op;
    lowering.location = op.getLoc();
    OpBuilder copies(op);
    SmallVector<Value> outputs;
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      auto own = outputOf.find(value);
      if (own == outputOf.end() || own->second != operand.getOperandNumber()) {
        auto type = cast<MemRefType>(value.getType());
        SmallVector<Value> sizes;
        for (int64_t axis = 0; axis < type.getRank(); ++axis)
          if (type.isDynamicDim(axis))
            sizes.push_back(extents.sizeOf(copies, value, axis));
        auto place =
            copies.create<memref::AllocOp>(op.getLoc(), MemRefType::get(type.getShape(), type.getElementType()), sizes);
        auto copy = copies.create<memref::CopyOp>(op.getLoc(), value, place);
        outputOf[place] = operand.getOperandNumber();
        order[copy] = order.lookup(op);
        if (failed(lower(place)) || failed(lower(copy)))
          return failure();
        value = place;
      }
      outputs.push_back(lowering.buffer(value));
    }
    if (failed(flush()))
      return failure();
    builder.create<exec::ReturnOp>(op.getLoc(), outputs);
    return success();
  }

  Lowering &lowering;
  OpBuilder &builder;
  func::FuncOp function;
  Block &body;
  NetworkExtents extents;
  BufferRegion region;
  DenseMap<Value, unsigned> outputOf;
  DenseMap<Operation *, int64_t> order;
  SmallVector<RowGroup, 0> groups;
  DenseMap<Operation *, size_t> groupOf;
  int64_t pinnedUntil = -1, inputCount = 0;
  Operation *zero = nullptr; // The fill of the product that comes next.
};

} // namespace

LogicalResult mlc::lowerBuffers(Lowering &lowering, func::FuncOp function) {
  return BufferLowering(lowering, function).run();
}
