// RUN: mlc-opt %s -graph-fuse-linear | FileCheck %s

graph.weight @q : tensor<16x64xf32> stored f32
graph.weight @k : tensor<8x64xf32> stored f32
graph.weight @v : tensor<8x64xf32> stored f32
graph.weight @half : tensor<8x64xf32> stored f16
graph.weight @tied : tensor<8x64xf32> stored f32
graph.weight @bq : tensor<16xf32> stored f32
graph.weight @bk : tensor<8xf32> stored f32
graph.weight @q1 : tensor<16x64xf32> stored f32
graph.weight @k1 : tensor<8x64xf32> stored f32
graph.weight @v1 : tensor<8x64xf32> stored f32
graph.weight @i8 : tensor<8x64xf32> stored f32 as <bits = 8, group = 32>
graph.weight @i4 : tensor<8x64xf32> stored f32 as <bits = 4, group = 32>

// CHECK-LABEL: func.func @qkv
func.func @qkv(%x: tensor<?x64xf32>) -> (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK: %[[M:.*]] = graph.linear %arg0, [@q, @k, @v] {graph.inner_taps = ["hook_q", "hook_v"]} : tensor<?x64xf32> -> tensor<?x32xf32>
  // CHECK: %[[P:.*]]:3 = graph.split %[[M]] : tensor<?x32xf32> -> tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>
  // CHECK: return %[[P]]#0, %[[P]]#1, %[[P]]#2
  %q = graph.linear %x, [@q] {graph.tap = "hook_q"} : tensor<?x64xf32> -> tensor<?x16xf32>
  %k = graph.linear %x, [@k] : tensor<?x64xf32> -> tensor<?x8xf32>
  %v = graph.linear %x, [@v] {graph.tap = "hook_v"} : tensor<?x64xf32> -> tensor<?x8xf32>
  return %q, %k, %v : tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// Those with a bias merge among themselves.
// CHECK-LABEL: func.func @biases
func.func @biases(%x: tensor<?x64xf32>) -> (tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>) {
  // CHECK: graph.linear %arg0, [@q1, @k1] bias [@bq, @bk] : tensor<?x64xf32> -> tensor<?x24xf32>
  // CHECK: graph.linear %arg0, [@v1] : tensor<?x64xf32> -> tensor<?x8xf32>
  %q = graph.linear %x, [@q1] bias [@bq] : tensor<?x64xf32> -> tensor<?x16xf32>
  %k = graph.linear %x, [@k1] bias [@bk] : tensor<?x64xf32> -> tensor<?x8xf32>
  %v = graph.linear %x, [@v1] : tensor<?x64xf32> -> tensor<?x8xf32>
  return %q, %k, %v : tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x8xf32>
}

// Weights that are stored differently, that are read elsewhere too, or whose inputs differ stay alone.
// CHECK-LABEL: func.func @apart
func.func @apart(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>, %ids: tensor<?xi32>) {
  // CHECK-NOT: graph.split
  %e = graph.embedding %ids, @tied : tensor<?xi32> -> tensor<?x64xf32>
  %0 = graph.linear %x, [@half] : tensor<?x64xf32> -> tensor<?x8xf32>
  %1 = graph.linear %x, [@tied] : tensor<?x64xf32> -> tensor<?x8xf32>
  %2 = graph.linear %x, [@i8] : tensor<?x64xf32> -> tensor<?x8xf32>
  %3 = graph.linear %x, [@i4] : tensor<?x64xf32> -> tensor<?x8xf32>
  return
}
