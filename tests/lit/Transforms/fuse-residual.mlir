// RUN: mlc-opt %s -graph-fuse-residual | FileCheck %s

graph.weight @w : tensor<16x16xf32> stored f32
graph.weight @b : tensor<16xf32> stored f32

// CHECK-LABEL: func.func @left
func.func @left(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) -> tensor<?x16xf32> {
  // CHECK-NEXT: %[[F:.*]] = graph.linear %arg0, [@w] bias [@b] residual %arg1 : tensor<?x16xf32> {graph.inner_taps = ["hook_attn_out"], graph.tap = "hook_resid_mid"} : tensor<?x16xf32> -> tensor<?x16xf32>
  // CHECK-NEXT: return %[[F]]
  %0 = graph.linear %x, [@w] bias [@b] {graph.tap = "hook_attn_out"} : tensor<?x16xf32> -> tensor<?x16xf32>
  %1 = arith.addf %0, %r {graph.tap = "hook_resid_mid"} : tensor<?x16xf32>
  return %1 : tensor<?x16xf32>
}

// The residual is made after the product: the fused op comes after both.
// CHECK-LABEL: func.func @right
func.func @right(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) -> tensor<?x16xf32> {
  // CHECK-NEXT: %[[R:.*]] = graph.activation relu %arg1
  // CHECK-NEXT: %[[F:.*]] = graph.linear %arg0, [@w] residual %[[R]]
  // CHECK-NEXT: return %[[F]]
  %0 = graph.linear %x, [@w] : tensor<?x16xf32> -> tensor<?x16xf32>
  %1 = graph.activation relu %r : tensor<?x16xf32>
  %2 = arith.addf %1, %0 : tensor<?x16xf32>
  return %2 : tensor<?x16xf32>
}

// A product that something else reads, or that has a residual already, stays.
// CHECK-LABEL: func.func @not_fused
func.func @not_fused(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>) {
  // CHECK-COUNT-3: arith.addf
  %0 = graph.linear %x, [@w] : tensor<?x16xf32> -> tensor<?x16xf32>
  %1 = arith.addf %0, %r : tensor<?x16xf32>
  %2 = graph.linear %x, [@w] residual %r : tensor<?x16xf32> : tensor<?x16xf32> -> tensor<?x16xf32>
  %3 = arith.addf %2, %r : tensor<?x16xf32>
  %4 = graph.linear %x, [@w] : tensor<?x16xf32> -> tensor<?x16xf32>
  %5 = arith.addf %4, %4 : tensor<?x16xf32>
  %6 = arith.mulf %0, %1 : tensor<?x16xf32>
  return %3, %5, %6 : tensor<?x16xf32>, tensor<?x16xf32>, tensor<?x16xf32>
}
