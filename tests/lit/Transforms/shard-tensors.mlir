// RUN: mlc-opt %s -split-input-file -graph-shard-tensors=ranks=2 | FileCheck %s
// RUN: mlc-opt %s -split-input-file -graph-shard-tensors=ranks=2 -graph-fuse-residual | FileCheck %s --check-prefix=FUSED

// Attention: q and o with their heads, one matrix of k and v in two pieces, a bias that rank 0 adds alone.
// CHECK-DAG: graph.weight @q : tensor<8x12xf32> stored bf16 of <ranks = 2, axis = 0, pieces = [16]>
// CHECK-DAG: graph.weight @kv : tensor<8x12xf32> stored f32 of <ranks = 2, axis = 0, pieces = [8, 8]>
// CHECK-DAG: graph.weight @kv_bias : tensor<8xf32> stored f32 of <ranks = 2, axis = 0, pieces = [8, 8]>
// CHECK-DAG: graph.weight @o : tensor<12x8xf32> stored f32 of <ranks = 2, axis = 1, pieces = [16]>
// CHECK-DAG: graph.weight @o_bias : tensor<12xf32> stored f32 of <ranks = 2, axis = 0>
// CHECK-DAG: graph.weight @norm : tensor<4xf32> stored f32{{$}}
// CHECK-DAG: graph.state @l0.kv{{.*}}kv_heads = 1
// The MLP between two products of whole rows.
// CHECK-DAG: graph.weight @up : tensor<10x12xf32> stored f32 of <ranks = 2, axis = 0, pieces = [20]>
// CHECK-DAG: graph.weight @down : tensor<12x10xf32> stored f32 of <ranks = 2, axis = 1, pieces = [20]>
// CHECK-DAG: graph.weight @head : tensor<6x12xf32> stored f32{{$}}
graph.extent @tokens at_most 8
graph.weight @q : tensor<16x12xf32> stored bf16
graph.weight @kv : tensor<16x12xf32> stored f32
graph.weight @kv_bias : tensor<16xf32> stored f32
graph.weight @o : tensor<12x16xf32> stored f32
graph.weight @o_bias : tensor<12xf32> stored f32
graph.weight @norm : tensor<4xf32> stored f32
graph.weight @up : tensor<20x12xf32> stored f32
graph.weight @down : tensor<12x20xf32> stored f32
graph.weight @head : tensor<6x12xf32> stored f32
graph.state @l0.kv kv sequence {kv_heads = 2 : i64, head_dim = 4 : i64}

// CHECK-LABEL: func.func @step
func.func @step(%batch: !graph.batch, %x: tensor<?x12xf32>, %angles: tensor<?x4xf32>) -> tensor<?x6xf32> {
  // CHECK: %[[Q:.*]] = graph.linear %arg1, [@q] : tensor<?x12xf32> -> tensor<?x8xf32>
  // CHECK: %[[KV:.*]] = graph.linear %arg1, [@kv] bias [@kv_bias] : tensor<?x12xf32> -> tensor<?x8xf32>
  // CHECK: %[[P:.*]]:2 = graph.split %[[KV]] : tensor<?x8xf32> -> tensor<?x4xf32>, tensor<?x4xf32>
  // CHECK: graph.attention {{.*}}heads = 2 : i64{{.*}} : tensor<?x8xf32>, tensor<?x4xf32>
  // CHECK: %[[O:.*]] = graph.linear %{{[0-9]+}}, [@o] bias [@o_bias] : tensor<?x8xf32> -> tensor<?x12xf32>
  // CHECK: %[[S:.*]] = graph.all_reduce %[[O]] {graph.tap = "hook_attn_out", ranks = 2 : i64} : tensor<?x12xf32>
  // CHECK: %[[R:.*]] = arith.addf %[[S]], %arg1
  // FUSED: %[[O:.*]] = graph.linear {{.*}}, [@o] bias [@o_bias] : tensor<?x8xf32> -> tensor<?x12xf32>
  // FUSED: %[[R:.*]] = graph.all_reduce %[[O]] residual %arg1 : tensor<?x12xf32>
  // FUSED-NOT: arith.addf
  %q = graph.linear %x, [@q] {graph.tap = "hook_q"} : tensor<?x12xf32> -> tensor<?x16xf32>
  %n = graph.rms_norm %q, @norm {eps = 1.0e-05 : f32} : tensor<?x16xf32>
  %r = graph.rope %n, %angles {head_dim = 4 : i64} : tensor<?x16xf32>, tensor<?x4xf32>
  %kv = graph.linear %x, [@kv] bias [@kv_bias] : tensor<?x12xf32> -> tensor<?x16xf32>
  %k, %v = graph.split %kv : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x8xf32>
  %z = graph.attention %r, %k, %v, %batch, @l0.kv {heads = 4 : i64, scale = 5.0e-01 : f32} : tensor<?x16xf32>, tensor<?x8xf32>
  %o = graph.linear %z, [@o] bias [@o_bias] {graph.tap = "hook_attn_out"} : tensor<?x16xf32> -> tensor<?x12xf32>
  %1 = arith.addf %o, %x : tensor<?x12xf32>
  // CHECK: %[[U:.*]] = graph.linear %[[R]], [@up] : tensor<?x12xf32> -> tensor<?x10xf32>
  // CHECK: %[[D:.*]] = graph.linear {{.*}}, [@down] : tensor<?x10xf32> -> tensor<?x12xf32>
  // CHECK: %[[T:.*]] = graph.all_reduce %[[D]]
  // CHECK: graph.linear %[[T]], [@head] : tensor<?x12xf32> -> tensor<?x6xf32>
  %u = graph.linear %1, [@up] : tensor<?x12xf32> -> tensor<?x20xf32>
  %a = graph.activation relu2 %u : tensor<?x20xf32>
  %d = graph.linear %a, [@down] : tensor<?x20xf32> -> tensor<?x12xf32>
  %h = graph.linear %d, [@head] : tensor<?x12xf32> -> tensor<?x6xf32>
  return %h : tensor<?x6xf32>
}

// -----

// Experts in one tensor: gate and up are pieces, each of which is cut; the router stays.
// CHECK-DAG: graph.weight @router : tensor<4x12xf32> stored f32{{$}}
// CHECK-DAG: graph.weight @into : tensor<4x12x12xf32> stored f32 of <ranks = 2, axis = 1, pieces = [12, 12]>
// CHECK-DAG: graph.weight @out : tensor<4x12x6xf32> stored f32 of <ranks = 2, axis = 2, pieces = [12]>
graph.weight @router : tensor<4x12xf32> stored f32
graph.weight @into : tensor<4x24x12xf32> stored f32
graph.weight @out : tensor<4x12x12xf32> stored f32
// CHECK-LABEL: func.func @experts
func.func @experts(%x: tensor<?x12xf32>) -> tensor<?x12xf32> {
  // CHECK: %[[M:.*]] = graph.moe
  // CHECK-NEXT: graph.all_reduce %[[M]] {ranks = 2 : i64}
  %l = graph.linear %x, [@router] : tensor<?x12xf32> -> tensor<?x4xf32>
  %m = graph.moe topk_softmax %x, %l into [[@into]] down [@out] {experts = 4 : i64, top_k = 2 : i64, activation = #graph<activation silu>, gated} : tensor<?x12xf32>, tensor<?x4xf32> -> tensor<?x12xf32>
  return %m : tensor<?x12xf32>
}

// -----

// Whole: what others read, a weight of two products, a norm over the row, blocks that would be cut. One is cut.
// CHECK-DAG: graph.weight @a : tensor<20x12xf32> stored f32{{$}}
// CHECK-DAG: graph.weight @b : tensor<12x20xf32> stored f32{{$}}
// CHECK-DAG: graph.weight @twice : tensor<12x12xf32> stored f32{{$}}
// CHECK-DAG: graph.weight @wide : tensor<12xf32> stored f32{{$}}
// CHECK-DAG: graph.weight @blocks : tensor<12x32xf32> stored q8_0{{$}}
// CHECK-DAG: graph.weight @good : tensor<12x10xf32> stored f32 of
graph.weight @a : tensor<20x12xf32> stored f32
graph.weight @b : tensor<12x20xf32> stored f32
graph.weight @twice : tensor<12x12xf32> stored f32
graph.weight @wide : tensor<12xf32> stored f32
graph.weight @into : tensor<32x12xf32> stored f32
graph.weight @blocks : tensor<12x32xf32> stored q8_0
graph.weight @up : tensor<20x12xf32> stored f32
graph.weight @good : tensor<12x20xf32> stored f32
// CHECK-LABEL: func.func @whole
// CHECK-COUNT-1: graph.all_reduce
// CHECK-NOT: graph.all_reduce
func.func @whole(%x: tensor<?x12xf32>) -> (tensor<?x20xf32>, tensor<?x12xf32>) {
  %0 = graph.linear %x, [@a] : tensor<?x12xf32> -> tensor<?x20xf32>
  %1 = graph.activation silu %0 : tensor<?x20xf32>
  %2 = graph.linear %1, [@b] : tensor<?x20xf32> -> tensor<?x12xf32>
  %3 = graph.linear %2, [@twice] : tensor<?x12xf32> -> tensor<?x12xf32>
  %4 = graph.activation silu %3 : tensor<?x12xf32>
  %5 = graph.linear %4, [@twice] : tensor<?x12xf32> -> tensor<?x12xf32>
  %6 = graph.rms_norm %5, @wide {eps = 1.0e-05 : f32} : tensor<?x12xf32>
  %7 = graph.linear %6, [@into] : tensor<?x12xf32> -> tensor<?x32xf32>
  %8 = graph.activation silu %7 : tensor<?x32xf32>
  %9 = graph.linear %8, [@blocks] : tensor<?x32xf32> -> tensor<?x12xf32>
  %10 = graph.linear %9, [@up] : tensor<?x12xf32> -> tensor<?x20xf32>
  %11 = graph.activation silu %10 : tensor<?x20xf32>
  %12 = graph.linear %11, [@good] : tensor<?x20xf32> -> tensor<?x12xf32>
  return %1, %12 : tensor<?x20xf32>, tensor<?x12xf32>
}
