// A mixture of experts through the passes: its weights are quantized, its router's never; the residual moves into it.
// RUN: mlc-opt %s -graph-quantize='mode=int4 group=32' | FileCheck %s --check-prefix=INT4
// RUN: mlc-opt %s -graph-quantize=mode=int8 -graph-quantize-activations -graph-fuse-linear -graph-fuse-residual | FileCheck %s --check-prefix=INT8
// RUN: mlc-opt %s -graph-quantize=mode=int8 -graph-quantize-activations=experts=false | FileCheck %s --check-prefix=LINEARS
// RUN: mlc-opt %s -graph-quantize-activations -graph-round-products | FileCheck %s --check-prefix=BF16
// RUN: mlc-opt %s -graph-gather-early | FileCheck %s --check-prefix=GATHER
// RUN: mlc-opt %s -graph-set-bounds='batch=32' -graph-quantize=mode=int8 -graph-quantize-activations -graph-fuse-residual -graph-verify-ready -convert-graph-to-exec -exec-plan-memory -exec-verify-planned | FileCheck %s --check-prefix=EXEC
// RUN: sed 's/moe softmax_topk/moe sigmoid/' %s | mlc-opt -graph-set-bounds='batch=32' -convert-graph-to-exec | FileCheck %s --check-prefix=FLOATS

graph.model "net" {vocab_size = 4 : i64, trained_context = 16 : i64}
graph.extent @tokens
graph.extent @rows

// INT4: graph.weight @router : tensor<4x64xf32> stored f32{{$}}
graph.weight @router : tensor<4x64xf32> stored f32
// INT4: graph.weight @shared_gate : tensor<1x64xf32> stored f32{{$}}
graph.weight @shared_gate : tensor<1x64xf32> stored f32
// INT4: graph.weight @shared : tensor<64x64xf32> stored f32 as <bits = 4, group = 32>
graph.weight @shared : tensor<64x64xf32> stored f32
// INT4: graph.weight @gate : tensor<4x24x64xf32> stored f32 as <bits = 4, group = 32>
graph.weight @gate : tensor<4x24x64xf32> stored f32
graph.weight @up : tensor<4x24x64xf32> stored f32
// 24 columns have a padded tail.
// INT4: graph.weight @down : tensor<4x64x24xf32> stored f32 as <bits = 4, group = 32>
graph.weight @down : tensor<4x64x24xf32> stored f32
graph.weight @norm : tensor<64xf32> stored f32

// EXEC: exec.constant @"gate|up" : memref<{{[0-9]+}}xui8> from ["gate", "up"] as <24 x 64, panel_int8, group = 64, asymmetric = false> {{.*}}count = 8
// EXEC: exec.constant @down : {{.*}} as <64 x 24, panel_int8, group = 128, asymmetric = false> {{.*}}count = 4
// FLOATS: exec.constant @"gate|up" : {{.*}}panel_f32{{.*}}count = 8

// INT8-LABEL: func.func @f
// LINEARS-LABEL: func.func @f
// LINEARS: graph.linear %{{.*}}, [@shared] : !graph.quantized
// LINEARS: graph.moe softmax_topk %arg0, {{.*}} : tensor<?x64xf32>, tensor<?x4xf32> -> tensor<?x64xf32>
// BF16-LABEL: func.func @f
// GATHER-LABEL: func.func @f
func.func @f(%x: tensor<?x64xf32> {graph.dims = ["tokens", ""]}, %rows: tensor<?xi32> {graph.dims = ["rows"]}) -> tensor<?x64xf32> {
  // INT8: %[[Q:.*]] = graph.quantize_rows %arg0
  // INT8: %[[L:.*]] = graph.linear %arg0, [@router]
  // BF16: graph.linear %arg0, [@router] {graph.tap = "blocks.0.mlp.hook_router_logits"} : tensor
  %logits = graph.linear %x, [@router] {graph.tap = "blocks.0.mlp.hook_router_logits"} : tensor<?x64xf32> -> tensor<?x4xf32>
  // INT8: graph.linear %arg0, [@shared_gate]
  %factor = graph.linear %x, [@shared_gate] : tensor<?x64xf32> -> tensor<?x1xf32>
  // INT8: graph.linear %[[Q]], [@shared]
  %s = graph.linear %x, [@shared] : tensor<?x64xf32> -> tensor<?x64xf32>
  // INT8: %[[S:.*]] = graph.scale_rows
  %gated = graph.scale_rows sigmoid %s, %factor : tensor<?x64xf32>, tensor<?x1xf32>
  // INT8: graph.moe softmax_topk %[[Q]], %[[L]] into {{\[\[}}@gate], [@up]] down [@down] residual %[[S]] : tensor<?x64xf32>
  // INT8-SAME: graph.inner_taps = ["inner"], graph.tap = "outer"
  // INT8-SAME: hidden = !graph.quantized<?, 24, group = 128>
  // BF16: graph.moe softmax_topk {{.*}} bf16
  %moe = graph.moe softmax_topk %x, %logits into [[@gate], [@up]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>, graph.tap = "inner"} : tensor<?x64xf32>, tensor<?x4xf32> -> tensor<?x64xf32>
  %sum = arith.addf %gated, %moe {graph.tap = "outer"} : tensor<?x64xf32>
  // The experts work for the wanted rows alone.
  // GATHER: graph.gather_rows %arg0, %arg1
  // GATHER: graph.moe
  // GATHER-NOT: graph.gather_rows
  %wanted = graph.gather_rows %sum, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  // EXEC: exec.kernel "moe_route" {{.*}}form = "softmax_topk"
  // EXEC: exec.kernel "moe_up" {{.*}}gate_distance = 4 : i64{{.*}}out_group = 128
  // EXEC: exec.kernel "moe_down" {{.*}}has_residual = true
  // FLOATS: exec.kernel "moe_route" {{.*}}form = "sigmoid"
  // FLOATS: exec.kernel "moe_up" {{.*}}out_group = 0
  // FLOATS: exec.kernel "moe_down" {{.*}}has_residual = false
  return %wanted : tensor<?x64xf32>
}
