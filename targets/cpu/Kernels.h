//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the kernel sources share: the forms' table, and the checks of operands. Every check names the operand.
//
#pragma once

#include "runtime/exec/Kernel.h"
#include "targets/cpu/Forms.h"
#include "targets/cpu/pack/Layout.h"

namespace mlc::cpu {

#define MLC_COUNT_FORM(...) +1
constexpr unsigned kBasicForms = MLC_BASIC_FORMS(MLC_COUNT_FORM), kAllForms = MLC_ALL_FORMS(MLC_COUNT_FORM);
#undef MLC_COUNT_FORM

extern const KernelDef addRmsNormKernels[kBasicForms], attentionKernels[kAllForms], binaryKernels[kBasicForms],
    conv1dKernels[kBasicForms], gatedActivationKernels[kBasicForms], gatedRmsNormKernels[kBasicForms],
    kvAppendKernels[kBasicForms], linearKernels[kAllForms], moeDownKernels[kAllForms], moeRouteKernels[kBasicForms],
    moeUpKernels[kAllForms], quantizeRowsKernels[kBasicForms], rmsNormKernels[kBasicForms], ropeKernels[kBasicForms],
    scaleRowsKernels[kBasicForms], ssdKernels[kAllForms], unaryKernels[kBasicForms];
extern const KernelDef copyKernels[1], embeddingKernels[1], gatherRowsKernels[1], ropeAnglesKernels[1];

/// A function's compiled forms, by rising Isa.
template <typename Function> struct Form {
  Isa isa;
  Function *function;
};
/// The best of `forms` at or below `isa`.
template <typename Function, size_t N> constexpr Function *formFor(const Form<Function> (&forms)[N], Isa isa) {
  Function *best = forms[0].function;
  for (const Form<Function> &form : forms)
    if (form.isa <= isa)
      best = form.function;
  return best;
}

#define MLC_DECLARE_FORM(FORM, FN, TYPE)                                                                               \
  namespace FORM {                                                                                                     \
  TYPE FN;                                                                                                             \
  }
#define MLC_LIST_FORM(FORM, FN, TYPE) {Isa::FORM, FORM::FN},
/// Declares FN, of the function type TYPE, in every form of the list FORMS, and lists them as FN##Forms.
#define MLC_DECLARE_FORMS(FORMS, FN, TYPE)                                                                             \
  FORMS(MLC_DECLARE_FORM, FN, TYPE)                                                                                    \
  static constexpr Form<TYPE> FN##Forms[] = {FORMS(MLC_LIST_FORM, FN, TYPE)};

#define MLC_KERNEL_FORM(FORM, NAME, CHECK, SCRATCH, RUN) {NAME, 1, Isa::FORM, CHECK, SCRATCH, RUN<Isa::FORM>},
/// Defines the forms of a kernel whose run is a template over the form.
#define MLC_KERNEL_FORMS(FORMS, VARIABLE, NAME, CHECK, SCRATCH, RUN)                                                   \
  const KernelDef VARIABLE[] = {FORMS(MLC_KERNEL_FORM, NAME, CHECK, SCRATCH, RUN)};

/// Exactly so many operands.
Status checkCounts(const KernelCallInfo &call, size_t inputs, size_t outputs, size_t states = 0);
/// A matrix [any, columns] of `dtype` with contiguous rows that do not overlap.
Status checkMatrix(const TensorView &view, const char *what, DType dtype, uint64_t columns);
/// A contiguous vector [length] of `dtype`.
Status checkVector(const TensorView &view, const char *what, DType dtype, uint64_t length);
/// A weight as `desc` says it: u8 [bytes], or the plain dtype [n, k], contiguous.
Status checkWeight(const TensorView &view, const fb::WeightDesc &desc);
/// All inputs in [0, inputs) and all outputs have the same leading extent, fixed or `tokens` alike.
Status checkSameRows(const KernelCallInfo &call, size_t inputs);
/// 1 to 65536 experts, of which a token has at least one.
Status checkExperts(const char *kernel, uint64_t experts, uint64_t topK);
/// Axis 0 of every input in [0, inputs) and of every output is the step's tokens.
Status checkTokenRows(const KernelCallInfo &call, size_t inputs);
/// The state `call.states[0]` is a KV state of that shape.
Status checkKvState(const KernelCallInfo &call, uint64_t kvHeads, uint64_t headDim);
/// The state `call.states[0]` is a recurrent state of that kind and shape.
Status checkRecurrentState(const KernelCallInfo &call, fb::StateKind kind, std::initializer_list<uint64_t> dims,
                           uint64_t groups);
/// The same rank and dims; rows of the last axis contiguous; dtypes equal.
Status checkSameShape(const TensorView &a, const TensorView &b, const char *what);
/// The attributes as a T, or an error naming the kernel.
template <typename T> Result<const T *> attrsOrError(const KernelCallInfo &call, const char *kernel) {
  if (const T *attrs = call.attrsAs<T>())
    return attrs;
  return Error(ErrorCode::Corrupt, "%s: the call carries another kernel's attributes", kernel);
}
/// |value| < infinity.
constexpr bool finite(float value) { return __builtin_fabsf(value) <= 3.4028234e38f; }

/// The rows that all of `views` have now; 0 when a view's columns are not those that check() saw. An extent on another
/// axis than the first can therefore never widen an access.
inline int64_t commonRows(std::initializer_list<std::pair<const TensorView *, uint64_t>> views) {
  int64_t rows = INT64_MAX;
  for (auto [view, columns] : views) {
    if (uint64_t(view->dims[1]) != columns)
      return 0;
    rows = view->dims[0] < rows ? view->dims[0] : rows;
  }
  return rows;
}

/// Calls fn(pointers, length) for every contiguous run along the last axis of views of one shape (the shape that all of
/// them have now), split over the pool.
template <size_t N, typename F>
void forEachRun(WorkerPool *pool, const TensorView *const (&views)[N], size_t elementSize, F &&fn) {
  unsigned rank = views[0]->rank;
  int64_t dims[kMaxRank], outer = 1, inner = 1;
  for (unsigned a = 0; a < rank; ++a) {
    dims[a] = views[0]->dims[a];
    for (const TensorView *view : views)
      dims[a] = view->dims[a] < dims[a] ? view->dims[a] : dims[a];
    if (a + 1 < rank)
      outer *= dims[a];
    else
      inner = dims[a];
  }
  if (outer <= 0 || inner <= 0)
    return;
  // A run is cut in pieces so that one long row is shared too. Elementwise: borders do not change results.
  constexpr int64_t kPiece = 4096;
  int64_t pieces = ceilDiv(inner, kPiece), grain = inner >= kPiece ? 2 : ceilDiv<int64_t>(2 * kPiece, inner);
  pool->parallelFor(outer * pieces, grain, [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t index = item / pieces, first = item % pieces * kPiece;
      uint8_t *pointers[N];
      for (size_t v = 0; v < N; ++v) {
        int64_t offset = first, rest = index;
        for (unsigned a = rank - 1; a-- > 0; rest /= dims[a])
          offset += rest % dims[a] * views[v]->strides[a];
        pointers[v] = static_cast<uint8_t *>(views[v]->data) + offset * int64_t(elementSize);
      }
      fn(pointers, inner - first < kPiece ? inner - first : kPiece);
    }
  });
}

} // namespace mlc::cpu
