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

namespace {

/// LLVM multiplies by the inverse of a constant of 32 bits, and shifts by powers of two.
bool needsExpansion(const llvm::BinaryOperator &op) {
  auto *divisor = llvm::dyn_cast<llvm::ConstantInt>(op.getOperand(1));
  return op.getType()->isIntegerTy() &&
         (!divisor || (op.getType()->getIntegerBitWidth() > 32 && !divisor->getValue().isPowerOf2()));
}

void expandDivision(llvm::BinaryOperator &op) {
  bool wide = op.getType()->getIntegerBitWidth() > 32,
       remains = op.getOpcode() == llvm::Instruction::SRem || op.getOpcode() == llvm::Instruction::URem;
  if (remains)
    (void)(wide ? llvm::expandRemainderUpTo64Bits(&op) : llvm::expandRemainderUpTo32Bits(&op));
  else
    (void)(wide ? llvm::expandDivisionUpTo64Bits(&op) : llvm::expandDivisionUpTo32Bits(&op));
}

/// `m`, never negative, as a double by way of its halves.
llvm::Value *fromHalves(llvm::IRBuilder<> &b, llvm::Value *m) {
  llvm::Type *half = b.getInt32Ty(), *real = b.getDoubleTy();
  llvm::Value *high = b.CreateUIToFP(b.CreateTrunc(b.CreateLShr(m, 32), half), real);
  llvm::Value *low = b.CreateUIToFP(b.CreateTrunc(m, half), real);
  return b.CreateFAdd(b.CreateFMul(high, llvm::ConstantFP::get(real, 0x1p32)), low);
}

/// `x` of 64 bits as a float, rounded once.
llvm::Value *toFloat(llvm::IRBuilder<> &b, llvm::Value *x, bool isSigned, llvm::Type *type, bool is32Bit) {
  llvm::Value *negative = b.CreateICmpSLT(x, b.getInt64(0));
  llvm::Value *m = isSigned ? b.CreateSelect(negative, b.CreateNeg(x), x) : x;
  if (type->isFloatTy()) {
    // What a double would round away decides in one bit that the second rounding sees.
    constexpr uint64_t kExact = uint64_t(1) << 53, kLow = (1 << 11) - 1;
    llvm::Value *rest = b.CreateICmpNE(b.CreateAnd(m, b.getInt64(kLow)), b.getInt64(0));
    llvm::Value *sticky =
        b.CreateOr(b.CreateAnd(m, b.getInt64(~kLow)), b.CreateSelect(rest, b.getInt64(kLow + 1), b.getInt64(0)));
    m = b.CreateSelect(b.CreateICmpULT(m, b.getInt64(kExact)), m, sticky);
  }
  llvm::Value *y = is32Bit ? fromHalves(b, m) : b.CreateUIToFP(m, b.getDoubleTy());
  if (type->isFloatTy())
    y = b.CreateFPTrunc(y, type);
  return isSigned ? b.CreateSelect(negative, b.CreateFNeg(y), y) : y;
}

/// `x` as 64 bits, towards zero; as LLVM's instruction, of what they do not hold anything.
llvm::Value *toInteger(llvm::IRBuilder<> &b, llvm::Value *x, bool isSigned) {
  llvm::Type *half = b.getInt32Ty(), *real = b.getDoubleTy(), *whole = b.getInt64Ty();
  if (x->getType() != real)
    x = b.CreateFPExt(x, real);
  llvm::Value *negative = b.CreateFCmpOLT(x, llvm::ConstantFP::get(real, 0));
  llvm::Value *m = isSigned ? b.CreateSelect(negative, b.CreateFNeg(x), x) : x;
  llvm::Value *high = b.CreateFPToUI(b.CreateFMul(m, llvm::ConstantFP::get(real, 0x1p-32)), half);
  llvm::Value *rest = b.CreateFSub(m, b.CreateFMul(b.CreateUIToFP(high, real), llvm::ConstantFP::get(real, 0x1p32)));
  llvm::Value *low = b.CreateFPToUI(rest, half);
  llvm::Value *y = b.CreateOr(b.CreateShl(b.CreateZExt(high, whole), 32), b.CreateZExt(low, whole));
  return isSigned ? b.CreateSelect(negative, b.CreateNeg(y), y) : y;
}

/// What replaces a conversion between i64 and a float; null: nothing does.
llvm::Value *converted(llvm::CastInst &op, bool is32Bit) {
  if (!llvm::isa<llvm::SIToFPInst, llvm::UIToFPInst, llvm::FPToSIInst, llvm::FPToUIInst>(op))
    return nullptr;
  llvm::Value *x = op.getOperand(0);
  bool toReal = op.getDestTy()->isFloatTy() || op.getDestTy()->isDoubleTy();
  llvm::Type *real = toReal ? op.getDestTy() : x->getType(), *whole = toReal ? x->getType() : op.getDestTy();
  if (!whole->isIntegerTy(64) || (!real->isFloatTy() && !real->isDoubleTy()) ||
      !(is32Bit || (toReal && real->isFloatTy())))
    return nullptr;
  llvm::IRBuilder<> b(&op);
  return toReal ? toFloat(b, x, op.getOpcode() == llvm::Instruction::SIToFP, real, is32Bit)
                : toInteger(b, x, op.getOpcode() == llvm::Instruction::FPToSI);
}

} // namespace

void mlc::expandWide(llvm::Module &module, bool is32Bit) {
  for (llvm::Function &function : module) {
    llvm::SmallVector<llvm::BinaryOperator *> divisions;
    for (llvm::Instruction &instruction : llvm::make_early_inc_range(llvm::instructions(function))) {
      if (auto *binary = llvm::dyn_cast<llvm::BinaryOperator>(&instruction); binary && binary->isIntDivRem()) {
        if (is32Bit && needsExpansion(*binary))
          divisions.push_back(binary);
      } else if (auto *cast = llvm::dyn_cast<llvm::CastInst>(&instruction)) {
        if (llvm::Value *value = converted(*cast, is32Bit)) {
          cast->replaceAllUsesWith(value);
          cast->eraseFromParent();
        }
      }
    }
    // They divide blocks.
    for (llvm::BinaryOperator *division : divisions)
      expandDivision(*division);
  }
}
