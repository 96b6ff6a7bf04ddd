// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s

graph.weight @q : tensor<16x64xf32> stored f32
graph.weight @k : tensor<8x64xf32> stored bf16
graph.weight @kb : tensor<8xf32> stored f32
graph.weight @qb : tensor<16xf32> stored f32
graph.weight @q8 : tensor<16x64xf32> stored f32 as <bits = 8, group = 32>

// CHECK-LABEL: func.func @linear
func.func @linear(%x: tensor<?x64xf32>, %r: tensor<?x16xf32>) {
  // CHECK: graph.linear %{{.*}}, [@q] : tensor<?x64xf32> -> tensor<?x16xf32>
  %0 = graph.linear %x, [@q] : tensor<?x64xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %{{.*}}, [@q, @k, @k] bias [@qb, @kb, @kb] : tensor<?x64xf32> -> tensor<?x32xf32>
  %1 = graph.linear %x, [@q, @k, @k] bias [@qb, @kb, @kb] : tensor<?x64xf32> -> tensor<?x32xf32>
  // CHECK: graph.linear %{{.*}}, [@q] residual %{{.*}} : tensor<?x16xf32> : tensor<?x64xf32> -> tensor<?x16xf32>
  %2 = graph.linear %x, [@q] residual %r : tensor<?x16xf32> : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// CHECK-LABEL: func.func @quantized
func.func @quantized(%x: tensor<?x64xf32>, %r: tensor<?x16xf32>) {
  // CHECK: %[[Q:.*]] = graph.quantize_rows %{{.*}} : tensor<?x64xf32> -> <?, 64, group = 32>
  %0 = graph.quantize_rows %x : tensor<?x64xf32> -> !graph.quantized<?, 64, group = 32>
  // CHECK: graph.linear %[[Q]], [@q8] residual %{{.*}} : tensor<?x16xf32> : !graph.quantized<?, 64, group = 32> -> tensor<?x16xf32>
  %1 = graph.linear %0, [@q8] residual %r : tensor<?x16xf32> : !graph.quantized<?, 64, group = 32> -> tensor<?x16xf32>
  return
}
