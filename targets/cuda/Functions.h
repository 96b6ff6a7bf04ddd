//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The kernels that a device must have, and which of an artifact's images it runs.
//
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

namespace mlc::cuda {

/// X(name, argument), as MLC_KERNEL names them.
#define MLC_CUDA_FUNCTIONS(X)                                                                                          \
  X(mlc_embedding, EmbeddingArgs)                                                                                      \
  X(mlc_gather_rows, GatherArgs)                                                                                       \
  X(mlc_draw, DrawArgs)                                                                                                \
  X(mlc_pair, PairArgs)                                                                                                \
  X(mlc_peak, PeakArgs)                                                                                                \
  X(mlc_rms_norm, NormArgs)                                                                                            \
  X(mlc_gated_rms_norm, GatedNormArgs)                                                                                 \
  X(mlc_conv1d, ConvArgs)                                                                                              \
  X(mlc_ssd_128, SsdArgs)                                                                                              \
  X(mlc_ssd_256, SsdArgs)                                                                                              \
  X(mlc_ssd_tile_128, SsdArgs)                                                                                         \
  X(mlc_ssd_tile_256, SsdArgs)                                                                                         \
  X(mlc_ssd_pack_128, SsdArgs)                                                                                         \
  X(mlc_ssd_pack_256, SsdArgs)                                                                                         \
  X(mlc_join_ranks, JoinRanksArgs)                                                                                     \
  X(mlc_rope_angles, AnglesArgs)                                                                                       \
  X(mlc_rope, RopeArgs)                                                                                                \
  X(mlc_linear_f32_1, LinearArgs)                                                                                      \
  X(mlc_linear_f32_2, LinearArgs)                                                                                      \
  X(mlc_linear_f32_4, LinearArgs)                                                                                      \
  X(mlc_linear_f32_8, LinearArgs)                                                                                      \
  X(mlc_linear_f32_any, LinearArgs)                                                                                    \
  X(mlc_linear_f16_1, LinearArgs)                                                                                      \
  X(mlc_linear_f16_2, LinearArgs)                                                                                      \
  X(mlc_linear_f16_4, LinearArgs)                                                                                      \
  X(mlc_linear_f16_8, LinearArgs)                                                                                      \
  X(mlc_linear_f16_any, LinearArgs)                                                                                    \
  X(mlc_linear_bf16_1, LinearArgs)                                                                                     \
  X(mlc_linear_bf16_2, LinearArgs)                                                                                     \
  X(mlc_linear_bf16_4, LinearArgs)                                                                                     \
  X(mlc_linear_bf16_8, LinearArgs)                                                                                     \
  X(mlc_linear_bf16_any, LinearArgs)                                                                                   \
  X(mlc_panel_bf16_8, PanelLinearArgs)                                                                                 \
  X(mlc_panel_bf16_16, PanelLinearArgs)                                                                                \
  X(mlc_panel_int8_8, PanelLinearArgs)                                                                                 \
  X(mlc_panel_int8_16, PanelLinearArgs)                                                                                \
  X(mlc_panel_int4_8, PanelLinearArgs)                                                                                 \
  X(mlc_panel_int4_16, PanelLinearArgs)                                                                                \
  X(mlc_tile_bf16_64, TileLinearArgs)                                                                                  \
  X(mlc_tile_bf16_192, TileLinearArgs)                                                                                 \
  X(mlc_tile_int8_64, TileLinearArgs)                                                                                  \
  X(mlc_tile_int8_96, TileLinearArgs)                                                                                  \
  X(mlc_tile_int4_64, TileLinearArgs)                                                                                  \
  X(mlc_tile_int4_96, TileLinearArgs)                                                                                  \
  X(mlc_tile_w8a8_32, TileLinearArgs)                                                                                  \
  X(mlc_tile_w8a8_96, TileLinearArgs)                                                                                  \
  X(mlc_tile_w4a8_32, TileLinearArgs)                                                                                  \
  X(mlc_tile_w4a8_96, TileLinearArgs)                                                                                  \
  X(mlc_round_rows, RoundRowsArgs)                                                                                     \
  X(mlc_norm_rows, RoundRowsArgs)                                                                                      \
  X(mlc_join_slices, TileLinearArgs)                                                                                   \
  X(mlc_stream_bf16, PanelLinearArgs)                                                                                  \
  X(mlc_stream_int8, PanelLinearArgs)                                                                                  \
  X(mlc_stream_int4, PanelLinearArgs)                                                                                  \
  X(mlc_stream_int4_zeros, PanelLinearArgs)                                                                            \
  X(mlc_gate_bf16, PanelLinearArgs)                                                                                    \
  X(mlc_gate_int8, PanelLinearArgs)                                                                                    \
  X(mlc_gate_int4, PanelLinearArgs)                                                                                    \
  X(mlc_gate_int4_zeros, PanelLinearArgs)                                                                              \
  X(mlc_stream_w8a8, PanelLinearArgs)                                                                                  \
  X(mlc_stream_w4a8, PanelLinearArgs)                                                                                  \
  X(mlc_gate_w8a8, PanelLinearArgs)                                                                                    \
  X(mlc_gate_w4a8, PanelLinearArgs)                                                                                    \
  X(mlc_place_rows, PlaceRowsArgs)                                                                                     \
  X(mlc_quantize_rows, QuantizeRowsArgs)                                                                               \
  X(mlc_panel_embedding, PanelEmbeddingArgs)                                                                           \
  X(mlc_moe_route, MoeRouteArgs)                                                                                       \
  X(mlc_moe_group, MoeGroupArgs)                                                                                       \
  X(mlc_moe_bf16_8, MoeArgs)                                                                                           \
  X(mlc_moe_bf16_32, MoeArgs)                                                                                          \
  X(mlc_moe_int8_8, MoeArgs)                                                                                           \
  X(mlc_moe_int8_32, MoeArgs)                                                                                          \
  X(mlc_moe_int4_8, MoeArgs)                                                                                           \
  X(mlc_moe_int4_32, MoeArgs)                                                                                          \
  X(mlc_moe_float, MoeArgs)                                                                                            \
  X(mlc_moe_join, MoeJoinArgs)                                                                                         \
  X(mlc_kv_append_f32, AppendArgs)                                                                                     \
  X(mlc_kv_append_f16, AppendArgs)                                                                                     \
  X(mlc_kv_append_bf16, AppendArgs)                                                                                    \
  X(mlc_attention_f32, AttentionArgs)                                                                                  \
  X(mlc_attention_f16, AttentionArgs)                                                                                  \
  X(mlc_attention_bf16, AttentionArgs)                                                                                 \
  X(mlc_attention_row_64, AttentionArgs)                                                                               \
  X(mlc_attention_row_128, AttentionArgs)                                                                              \
  X(mlc_attention_row_256, AttentionArgs)                                                                              \
  X(mlc_attention_rows_64, AttentionArgs)                                                                              \
  X(mlc_attention_rows_128, AttentionArgs)                                                                             \
  X(mlc_attention_rows_256, AttentionArgs)                                                                             \
  X(mlc_attention_join, AttentionArgs)

#define MLC_CUDA_ENUMERATOR(NAME, ARGS) NAME,
enum class Function : uint8_t { MLC_CUDA_FUNCTIONS(MLC_CUDA_ENUMERATOR) count };
#undef MLC_CUDA_ENUMERATOR
constexpr unsigned kFunctions = unsigned(Function::count);
const char *functionName(Function function);

/// An architecture's name in numbers: sm_80, sm_90a, compute_80.
struct Arch {
  int number = 0;     // 80: 8.0
  bool ptx = false;   // Compiled by the driver, for any later device.
  bool exact = false; // sm_90a: of this very generation alone.
};
/// number 0 when it is none.
constexpr Arch parseArch(std::string_view text) {
  Arch arch;
  if (text.starts_with("compute_")) {
    arch.ptx = true;
    text.remove_prefix(8);
  } else if (text.starts_with("sm_")) {
    text.remove_prefix(3);
  } else {
    return {};
  }
  if (text.ends_with('a')) {
    arch.exact = true;
    text.remove_suffix(1);
  }
  if (text.empty() || text.size() > 3)
    return {};
  for (char digit : text) {
    if (digit < '0' || digit > '9')
      return {};
    arch.number = arch.number * 10 + (digit - '0');
  }
  return arch;
}

/// How well a device of compute capability `device` (80: 8.0) runs `arch`; 0: not at all. Machine code runs on its own
/// major version from its minor one on, PTX on everything later.
constexpr int archRank(Arch arch, int device) {
  if (!arch.number || arch.number > device || (arch.exact && arch.number != device))
    return 0;
  if (arch.ptx)
    return 1 + arch.number;
  return arch.number / 10 == device / 10 ? 10000 + 10 * arch.number + arch.exact : 0;
}

} // namespace mlc::cuda
