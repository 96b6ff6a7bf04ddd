//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/Kernels.h"
#include "targets/cpu/KvPage.h"

namespace mlc::cpu {

static unsigned long long ull(uint64_t value) { return value; }

Status checkCounts(const KernelCallInfo &call, size_t inputs, size_t outputs, size_t states) {
  if (call.inputs.size() != inputs || call.outputs.size() != outputs || call.states.size() != states)
    return Error(ErrorCode::Corrupt, "%zu inputs, %zu outputs, %zu states: the kernel takes %zu, %zu, %zu",
                 call.inputs.size(), call.outputs.size(), call.states.size(), inputs, outputs, states);
  return {};
}

static Status checkDtype(const TensorView &view, const char *what, DType dtype) {
  if (view.dtype != dtype)
    return Error(ErrorCode::Corrupt, "%s has dtype %s, the kernel takes %s", what, fb::EnumNameDType(view.dtype),
                 fb::EnumNameDType(dtype));
  return {};
}

Status checkMatrix(const TensorView &view, const char *what, DType dtype, uint64_t columns) {
  MLC_TRY(checkDtype(view, what, dtype));
  if (view.rank != 2 || view.dims[0] < 0 || columns < 1 || uint64_t(view.dims[1]) != columns)
    return Error(ErrorCode::Corrupt, "%s must have shape [rows, %llu]", what, ull(columns));
  if (view.strides[1] != 1 || (view.dims[0] > 1 && view.strides[0] < view.dims[1]))
    return Error(ErrorCode::Corrupt, "%s must have contiguous rows that do not overlap", what);
  return {};
}

Status checkVector(const TensorView &view, const char *what, DType dtype, uint64_t length) {
  MLC_TRY(checkDtype(view, what, dtype));
  if (view.rank != 1 || length < 1 || uint64_t(view.dims[0]) != length || view.strides[0] != 1)
    return Error(ErrorCode::Corrupt, "%s must be a contiguous vector of %llu", what, ull(length));
  return {};
}

Status checkWeight(const TensorView &view, const fb::WeightDesc &desc) {
  MLC_ASSIGN(uint64_t bytes, packedBytes(desc));
  if (!isRows(desc.format()))
    return checkVector(view, "the packed weight", DType::u8, bytes);
  DType dtype = desc.format() == fb::WeightFormat::rows_f32   ? DType::f32
                : desc.format() == fb::WeightFormat::rows_f16 ? DType::f16
                                                              : DType::bf16;
  MLC_TRY(checkMatrix(view, "the weight", dtype, desc.k()));
  if (uint64_t(view.dims[0]) != desc.n() || (desc.n() > 1 && uint64_t(view.strides[0]) != desc.k()))
    return Error(ErrorCode::Corrupt, "the weight must be contiguous with %llu rows", ull(desc.n()));
  return {};
}

Status checkSameRows(const KernelCallInfo &call, size_t inputs) {
  for (size_t i = 0; i < inputs; ++i)
    if (call.inputs[i].dims[0] != call.inputs[0].dims[0] || call.inputFollowsTokens[i] != call.inputFollowsTokens[0])
      return Error(ErrorCode::Corrupt, "inputs 0 and %zu differ in rows", i);
  for (size_t i = 0; i < call.outputs.size(); ++i)
    if (call.outputs[i].dims[0] != call.inputs[0].dims[0] || call.outputFollowsTokens[i] != call.inputFollowsTokens[0])
      return Error(ErrorCode::Corrupt, "input 0 and output %zu differ in rows", i);
  return {};
}

Status checkExperts(const char *kernel, uint64_t experts, uint64_t topK) {
  if (experts < 1 || experts > 65536 || topK < 1 || topK > experts)
    return Error(ErrorCode::Corrupt, "%s: %llu of %llu experts for a token", kernel, ull(topK), ull(experts));
  return {};
}

Status checkTokenRows(const KernelCallInfo &call, size_t inputs) {
  for (size_t i = 0; i < inputs; ++i)
    if (!call.inputFollowsTokens[i] || call.inputs[i].dims[0] != call.inputs[0].dims[0])
      return Error(ErrorCode::Corrupt, "input %zu must have one row for each token of the step", i);
  for (size_t i = 0; i < call.outputs.size(); ++i)
    if (!call.outputFollowsTokens[i] || call.outputs[i].dims[0] != (inputs ? call.inputs : call.outputs)[0].dims[0])
      return Error(ErrorCode::Corrupt, "output %zu must have one row for each token of the step", i);
  return {};
}

Status checkKvState(const KernelCallInfo &call, uint64_t kvHeads, uint64_t headDim) {
  const fb::State *state = call.states[0];
  if (!state || state->kind() != fb::StateKind::kv || !state->kv())
    return Error(ErrorCode::Corrupt, "state 0 is not a KV state");
  const fb::KvSpec &spec = *state->kv();
  if (spec.kv_heads() != kvHeads || spec.head_dim() != headDim)
    return Error(ErrorCode::Corrupt, "the KV state has %u heads of %u, the call %llu of %llu", spec.kv_heads(),
                 spec.head_dim(), ull(kvHeads), ull(headDim));
  if (!kvSpecValid(spec))
    return Error(ErrorCode::Unsupported, "a KV state of %u heads of %u in %s: the target stores f32, f16, bf16 and i8",
                 spec.kv_heads(), spec.head_dim(), fb::EnumNameDType(spec.dtype()));
  return {};
}

Status checkRecurrentState(const KernelCallInfo &call, fb::StateKind kind, std::initializer_list<uint64_t> dims,
                           uint64_t groups) {
  const fb::State *state = call.states[0];
  const fb::RecurrentSpec *spec = state ? state->recurrent() : nullptr;
  if (!spec || state->kind() != kind || !spec->dims() || spec->dims()->size() != dims.size())
    return Error(ErrorCode::Corrupt, "state 0 is not of kind %s", fb::EnumNameStateKind(kind));
  bool same = spec->groups() == groups;
  for (uint32_t i = 0; i < dims.size(); ++i)
    same = same && spec->dims()->Get(i) == dims.begin()[i];
  // The verifier has compared log_columns with these.
  return same ? Status()
              : Error(ErrorCode::Corrupt, "the shape of the %s state is not that of the call",
                      fb::EnumNameStateKind(kind));
}

Status checkSameShape(const TensorView &a, const TensorView &b, const char *what) {
  MLC_TRY(checkDtype(b, what, a.dtype));
  if (a.rank != b.rank || a.rank < 1 || a.rank > kMaxRank)
    return Error(ErrorCode::Corrupt, "%s: the ranks are %u and %u", what, a.rank, b.rank);
  for (unsigned i = 0; i < a.rank; ++i)
    if (a.dims[i] != b.dims[i] || a.dims[i] < 0)
      return Error(ErrorCode::Corrupt, "%s: the shapes differ in axis %u", what, i);
  for (const TensorView *view : {&a, &b})
    if (view->dims[a.rank - 1] > 1 && view->strides[a.rank - 1] != 1)
      return Error(ErrorCode::Corrupt, "%s: the last axis must be contiguous", what);
  return {};
}

} // namespace mlc::cpu
