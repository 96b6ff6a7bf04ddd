// Fusions keep the names of taps: of the value they compute, and of those that end inside it.
// RUN: mlc-opt %s -graph-fuse-gate -graph-fuse-residual | FileCheck %s

graph.extent @tokens
graph.weight @down : tensor<8x8xf32> stored f32

// CHECK-LABEL: func.func @gate
func.func @gate(%gate: tensor<?x8xf32> {graph.dims = ["tokens", ""]}, %up: tensor<?x8xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x8xf32> {
  %0 = graph.activation silu %gate {graph.tap = "post_act"} : tensor<?x8xf32>
  // CHECK: graph.gated_activation silu {{.*}} {graph.inner_taps = ["before", "post_act"], graph.tap = "product"}
  %1 = arith.mulf %0, %up {graph.tap = "product", graph.inner_taps = ["before"]} : tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}

// CHECK-LABEL: func.func @residual
func.func @residual(%x: tensor<?x8xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x8xf32> {
  %0 = graph.linear %x, [@down] {graph.tap = "mlp_out"} : tensor<?x8xf32> -> tensor<?x8xf32>
  // CHECK: graph.linear {{.*}} residual {{.*}} {graph.inner_taps = ["mlp_out"], graph.tap = "resid_post"}
  %1 = arith.addf %x, %0 {graph.tap = "resid_post"} : tensor<?x8xf32>
  return %1 : tensor<?x8xf32>
}
