// A whole block of a llama, from values to planned kernel calls.
// RUN: mlc-opt %s -graph-set-bounds='batch=32 sequences=2' -graph-set-state-types=kv=f16 -graph-fuse-linear -graph-fuse-residual -graph-fuse-gate -graph-verify-ready -convert-graph-to-exec | FileCheck %s
// RUN: mlc-opt %s -graph-set-bounds='batch=32 sequences=2' -graph-set-state-types=kv=f16 -graph-fuse-linear -graph-fuse-residual -graph-fuse-gate -convert-graph-to-exec -exec-plan-memory -exec-verify-planned | FileCheck %s --check-prefix=PLANNED
// Printing what was planned and reading it again changes nothing.
// RUN: mlc-opt %s -graph-set-bounds -graph-set-state-types -convert-graph-to-exec -exec-plan-memory -o %t.mlir
// RUN: mlc-opt %t.mlir | diff - %t.mlir
// RUN: mlc-opt %t.mlir --mlir-print-op-generic | mlc-opt | diff - %t.mlir

// CHECK-NOT: graph.
// CHECK: exec.model "llama" {{.*}}max_batch = 32 : i64, max_context = 128 : i64, max_rows = 32 : i64, max_sequences = 2 : i64
// PLANNED: exec.model "llama" {arena_size = {{[1-9][0-9]*}} : i64
graph.model "llama" {vocab_size = 40 : i64, trained_context = 128 : i64}
// CHECK: exec.extent @tokens at_most 32
// CHECK: exec.extent @rows at_most 32
graph.extent @tokens
graph.extent @rows
// CHECK: exec.state @kv {dtype = f16, head_dim = 16 : i64, kv_heads = 2 : i64, window = 0 : i64}
graph.state @kv kv sequence {kv_heads = 2 : i64, head_dim = 16 : i64}

// PLANNED: exec.constant @{{.*}} at 0
// PLANNED-COUNT-6: exec.constant {{.*}} at {{[1-9][0-9]*$}}
graph.weight @embed : tensor<40x64xf32> stored f32
graph.weight @norm : tensor<64xf32> stored f32
graph.weight @q : tensor<64x64xf32> stored f32
graph.weight @k : tensor<32x64xf32> stored f32
graph.weight @v : tensor<32x64xf32> stored f32
graph.weight @o : tensor<64x64xf32> stored f32
graph.weight @gate : tensor<96x64xf32> stored f32
graph.weight @up : tensor<96x64xf32> stored f32
graph.weight @down : tensor<64x96xf32> stored f32

// CHECK: exec.func @step
func.func @step(%batch: !graph.batch, %tokens: tensor<?xi32> {graph.dims = ["tokens"]},
                %rows: tensor<?xi32> {graph.dims = ["rows"]}) -> tensor<?x40xf32> {
  // CHECK: %[[TOKENS:.*]] = exec.slot ["tokens"] input 0 : memref<?xi32>
  // CHECK: %[[ROWS:.*]] = exec.slot ["rows"] input 1 : memref<?xi32>
  // CHECK: exec.kernel "rope_angles"
  %angles = graph.rope_angles %batch {rotary_dim = 16 : i64, theta = 1.0e4} : tensor<?x16xf32>
  // CHECK: %[[X:.*]] = exec.slot ["tokens", 64] {tap = "hook_embed"} : memref<?x64xf32>
  // CHECK: exec.kernel "embedding" {{.*}}(%[[TOKENS]], %{{.*}}) -> (%[[X]])
  %x = graph.embedding %tokens, @embed {graph.tap = "hook_embed"} : tensor<?xi32> -> tensor<?x64xf32>
  // CHECK: exec.kernel "rms_norm"
  %n = graph.rms_norm %x, @norm {eps = 1.0e-5 : f32} : tensor<?x64xf32>
  // CHECK: %[[QKV:.*]] = exec.slot ["tokens", 128] {inner_taps = ["blocks.0.attn.hook_q"]} : memref<?x128xf32>
  // CHECK: exec.kernel "linear" {{.*}}#exec.weight<128 x 64, panel_f32
  // CHECK: %[[Q:.*]] = exec.view %[[QKV]] column 0
  // CHECK: %[[K:.*]] = exec.view %[[QKV]] column 64
  // CHECK: %[[V:.*]] = exec.view %[[QKV]] column 96
  %q = graph.linear %n, [@q] {graph.tap = "blocks.0.attn.hook_q"} : tensor<?x64xf32> -> tensor<?x64xf32>
  %k = graph.linear %n, [@k] : tensor<?x64xf32> -> tensor<?x32xf32>
  %v = graph.linear %n, [@v] : tensor<?x64xf32> -> tensor<?x32xf32>
  // CHECK: exec.kernel "rope" {{.*}}(%[[Q]], %{{.*}}) -> (%[[Q]])
  %qr = graph.rope %q, %angles {head_dim = 16 : i64} : tensor<?x64xf32>, tensor<?x16xf32>
  // CHECK: exec.kernel "rope" {{.*}}(%[[K]], %{{.*}}) -> (%[[K]])
  %kr = graph.rope %k, %angles {head_dim = 16 : i64} : tensor<?x32xf32>, tensor<?x16xf32>
  // CHECK: exec.kernel "kv_append" {{.*}} states [@kv](%[[K]], %[[V]]) -> ()
  // CHECK: exec.kernel "attention" {{.*}}products = "f32"{{.*}} states [@kv](%[[Q]])
  %a = graph.attention %qr, %kr, %v, %batch, @kv {heads = 4 : i64, scale = 0.25 : f32} : tensor<?x64xf32>, tensor<?x32xf32>
  // CHECK: %[[MID:.*]] = exec.slot ["tokens", 64] {inner_taps = ["blocks.0.hook_attn_out"], tap = "blocks.0.hook_resid_mid"}
  // CHECK: exec.kernel "linear" {{.*}}has_residual = true{{.*}} -> (%[[MID]])
  %o = graph.linear %a, [@o] {graph.tap = "blocks.0.hook_attn_out"} : tensor<?x64xf32> -> tensor<?x64xf32>
  %x1 = arith.addf %x, %o {graph.tap = "blocks.0.hook_resid_mid"} : tensor<?x64xf32>
  %n1 = graph.rms_norm %x1, @norm {eps = 1.0e-5 : f32} : tensor<?x64xf32>
  // CHECK: exec.kernel "linear" {{.*}}#exec.weight<192 x 64, panel_f32
  %g = graph.linear %n1, [@gate] : tensor<?x64xf32> -> tensor<?x96xf32>
  %u = graph.linear %n1, [@up] : tensor<?x64xf32> -> tensor<?x96xf32>
  // CHECK: exec.kernel "gated_activation"
  %ga = graph.activation silu %g : tensor<?x96xf32>
  %h = arith.mulf %ga, %u : tensor<?x96xf32>
  // CHECK: exec.kernel "linear" {{.*}}has_residual = true
  %d = graph.linear %h, [@down] : tensor<?x96xf32> -> tensor<?x64xf32>
  %x2 = arith.addf %x1, %d : tensor<?x64xf32>
  // CHECK: exec.kernel "gather_rows" {{.*}}(%{{.*}}, %[[ROWS]])
  %w = graph.gather_rows %x2, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  // CHECK: exec.kernel "linear" {{.*}}#exec.weight<40 x 64
  %l = graph.linear %w, [@embed] : tensor<?x64xf32> -> tensor<?x40xf32>
  // Nobody else reads the product, so the cap works in place.
  // CHECK: exec.kernel "unary" version 1 {activation = "tanh", {{.*}}}(%[[L:.*]]) -> (%[[L]])
  // CHECK: exec.return %[[L]] : memref<?x40xf32>
  %c = graph.softcap %l {cap = 30.0 : f32} : tensor<?x40xf32>
  return %c : tensor<?x40xf32>
}
