//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a CPU of 32 bits has no instructions for: divisions, and conversions between i64 and floats. On AArch64, vectors
// of i64 become f32 by way of f64, which LLVM lets round twice.
//
#include "compiler/Codegen/LowerRegion.h"

#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/Transforms/Utils/IntegerDivision.h"

using namespace llvm;

namespace {

/// LLVM multiplies by the inverse of a constant of 32 bits, and shifts by powers of two.
bool needsExpansion(const BinaryOperator &op) {
  auto *divisor = dyn_cast<ConstantInt>(op.getOperand(1));
  return op.getType()->isIntegerTy() &&
         (!divisor || (op.getType()->getIntegerBitWidth() > 32 && !divisor->getValue().isPowerOf2()));
}

void expandDivision(BinaryOperator &op) {
  bool wide = op.getType()->getIntegerBitWidth() > 32,
       remains = op.getOpcode() == Instruction::SRem || op.getOpcode() == Instruction::URem;
  if (remains)
    (void)(wide ? expandRemainderUpTo64Bits(&op) : expandRemainderUpTo32Bits(&op));
  else
    (void)(wide ? expandDivisionUpTo64Bits(&op) : expandDivisionUpTo32Bits(&op));
}

/// `m`, never negative, as a double by way of its halves.
Value *fromHalves(IRBuilder<> &b, Value *m) {
  Type *half = b.getInt32Ty(), *real = b.getDoubleTy();
  Value *high = b.CreateUIToFP(b.CreateTrunc(b.CreateLShr(m, 32), half), real);
  Value *low = b.CreateUIToFP(b.CreateTrunc(m, half), real);
  return b.CreateFAdd(b.CreateFMul(high, ConstantFP::get(real, 0x1p32)), low);
}

/// `x` of 64 bits as a float, rounded once.
Value *toFloat(IRBuilder<> &b, Value *x, bool isSigned, Type *type, bool is32Bit) {
  Value *negative = b.CreateICmpSLT(x, b.getInt64(0));
  Value *m = isSigned ? b.CreateSelect(negative, b.CreateNeg(x), x) : x;
  if (type->isFloatTy()) {
    // What a double would round away decides in one bit that the second rounding sees.
    constexpr uint64_t kExact = uint64_t(1) << 53, kLow = (1 << 11) - 1;
    Value *rest = b.CreateICmpNE(b.CreateAnd(m, b.getInt64(kLow)), b.getInt64(0));
    Value *sticky =
        b.CreateOr(b.CreateAnd(m, b.getInt64(~kLow)), b.CreateSelect(rest, b.getInt64(kLow + 1), b.getInt64(0)));
    m = b.CreateSelect(b.CreateICmpULT(m, b.getInt64(kExact)), m, sticky);
  }
  Value *y = is32Bit ? fromHalves(b, m) : b.CreateUIToFP(m, b.getDoubleTy());
  if (type->isFloatTy())
    y = b.CreateFPTrunc(y, type);
  return isSigned ? b.CreateSelect(negative, b.CreateFNeg(y), y) : y;
}

/// `x` as 64 bits, towards zero; as LLVM's instruction, of what they do not hold anything.
Value *toInteger(IRBuilder<> &b, Value *x, bool isSigned) {
  Type *half = b.getInt32Ty(), *real = b.getDoubleTy(), *whole = b.getInt64Ty();
  if (x->getType() != real)
    x = b.CreateFPExt(x, real);
  Value *negative = b.CreateFCmpOLT(x, ConstantFP::get(real, 0));
  Value *m = isSigned ? b.CreateSelect(negative, b.CreateFNeg(x), x) : x;
  Value *high = b.CreateFPToUI(b.CreateFMul(m, ConstantFP::get(real, 0x1p-32)), half);
  Value *rest = b.CreateFSub(m, b.CreateFMul(b.CreateUIToFP(high, real), ConstantFP::get(real, 0x1p32)));
  Value *low = b.CreateFPToUI(rest, half);
  Value *y = b.CreateOr(b.CreateShl(b.CreateZExt(high, whole), 32), b.CreateZExt(low, whole));
  return isSigned ? b.CreateSelect(negative, b.CreateNeg(y), y) : y;
}

/// What replaces a conversion between i64 and a float; null: nothing does.
Value *converted(CastInst &op, bool is32Bit) {
  if (!isa<SIToFPInst, UIToFPInst, FPToSIInst, FPToUIInst>(op))
    return nullptr;
  Value *x = op.getOperand(0);
  bool toReal = op.getDestTy()->isFloatTy() || op.getDestTy()->isDoubleTy();
  Type *real = toReal ? op.getDestTy() : x->getType(), *whole = toReal ? x->getType() : op.getDestTy();
  if (!whole->isIntegerTy(64) || (!real->isFloatTy() && !real->isDoubleTy()) ||
      !(is32Bit || (toReal && real->isFloatTy())))
    return nullptr;
  IRBuilder<> b(&op);
  return toReal ? toFloat(b, x, op.getOpcode() == Instruction::SIToFP, real, is32Bit)
                : toInteger(b, x, op.getOpcode() == Instruction::FPToSI);
}

} // namespace

void mlc::expandWide(Module &module, bool is32Bit) {
  for (Function &function : module) {
    SmallVector<BinaryOperator *> divisions;
    for (Instruction &instruction : make_early_inc_range(instructions(function))) {
      if (auto *binary = dyn_cast<BinaryOperator>(&instruction); binary && binary->isIntDivRem()) {
        if (is32Bit && needsExpansion(*binary))
          divisions.push_back(binary);
      } else if (auto *cast = dyn_cast<CastInst>(&instruction)) {
        if (Value *value = converted(*cast, is32Bit)) {
          cast->replaceAllUsesWith(value);
          cast->eraseFromParent();
        }
      }
    }
    // They divide blocks.
    for (BinaryOperator *division : divisions)
      expandDivision(*division);
  }
}
