// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s

graph.weight @gate_up : tensor<4x16x32xf32> stored f32
graph.weight @gate : tensor<4x8x32xf32> stored q8_0
graph.weight @up : tensor<4x8x32xf32> stored q8_0
graph.weight @down : tensor<4x32x8xf32> stored f32
graph.weight @w0 : tensor<8x32xf32> stored bf16
graph.weight @w1 : tensor<8x32xf32> stored bf16
graph.weight @d0 : tensor<32x8xf32> stored bf16
graph.weight @d1 : tensor<32x8xf32> stored bf16
graph.weight @bias : tensor<4xf32> stored f32

// CHECK-LABEL: func.func @halves
func.func @halves(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // CHECK: graph.moe softmax_topk %{{.*}}, %{{.*}} into {{\[\[}}@gate_up]] down [@down] {activation = #graph<activation silu>, experts = 4 : i64, gated, top_k = 2 : i64} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  %0 = graph.moe softmax_topk %x, %l into [[@gate_up]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// CHECK-LABEL: func.func @lists
func.func @lists(%x: tensor<?x32xf32>, %l: tensor<?x2xf32>) {
  // CHECK: graph.moe topk_softmax %{{.*}}, %{{.*}} into {{\[\[}}@w0, @w1]] down [@d0, @d1] {activation = #graph<activation relu2>
  %0 = graph.moe topk_softmax %x, %l into [[@w0, @w1]] down [@d0, @d1] {experts = 2 : i64, top_k = 1 : i64, activation = #graph<activation relu2>} : tensor<?x32xf32>, tensor<?x2xf32> -> tensor<?x32xf32>
  return
}

// CHECK-LABEL: func.func @sigmoid
func.func @sigmoid(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>, %r: tensor<?x32xf32>) {
  // CHECK: graph.quantize_rows
  %q = graph.quantize_rows %x : tensor<?x32xf32> -> !graph.quantized<?, 32, group = 32>
  // CHECK: graph.moe sigmoid %{{.*}}, %{{.*}} into {{\[\[}}@gate], [@up]] down [@down] bias @bias residual %{{.*}} : tensor<?x32xf32> {{.*}}groups = 2 : i64, normalize, scale = 2.500000e+00 : f32, top_k = 2 : i64
  %0 = graph.moe sigmoid %q, %l into [[@gate], [@up]] down [@down] bias @bias residual %r : tensor<?x32xf32> {experts = 4 : i64, top_k = 2 : i64, groups = 2 : i64, top_groups = 1 : i64, normalize, scale = 2.5 : f32, gated, activation = #graph<activation silu>} : !graph.quantized<?, 32, group = 32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// CHECK-LABEL: func.func @scale_rows
func.func @scale_rows(%x: tensor<?x32xf32>, %s: tensor<?x1xf32>) {
  // CHECK: graph.scale_rows sigmoid %{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<?x1xf32>
  %0 = graph.scale_rows sigmoid %x, %s : tensor<?x32xf32>, tensor<?x1xf32>
  return
}
