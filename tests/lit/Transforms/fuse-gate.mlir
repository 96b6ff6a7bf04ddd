// RUN: mlc-opt %s -graph-fuse-gate | FileCheck %s

// CHECK-LABEL: func.func @left
func.func @left(%g: tensor<?x16xf32>, %u: tensor<?x16xf32>) -> tensor<?x16xf32> {
  // CHECK-NEXT: %[[F:.*]] = graph.gated_activation silu %arg0, %arg1 {graph.inner_taps = ["hook_act"], graph.tap = "hook_post"} : tensor<?x16xf32>
  // CHECK-NEXT: return %[[F]]
  %0 = graph.activation silu %g {graph.tap = "hook_act"} : tensor<?x16xf32>
  %1 = arith.mulf %0, %u {graph.tap = "hook_post"} : tensor<?x16xf32>
  return %1 : tensor<?x16xf32>
}

// CHECK-LABEL: func.func @right
func.func @right(%g: tensor<?x16xf32>, %u: tensor<?x16xf32>) -> tensor<?x16xf32> {
  // CHECK-NEXT: %[[F:.*]] = graph.gated_activation gelu_tanh %arg0, %arg1 : tensor<?x16xf32>
  // CHECK-NEXT: return %[[F]]
  %0 = graph.activation gelu_tanh %g : tensor<?x16xf32>
  %1 = arith.mulf %u, %0 : tensor<?x16xf32>
  return %1 : tensor<?x16xf32>
}

// CHECK-LABEL: func.func @read_twice
func.func @read_twice(%g: tensor<?x16xf32>, %u: tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
  // CHECK-NOT: graph.gated_activation
  %0 = graph.activation silu %g : tensor<?x16xf32>
  %1 = arith.mulf %0, %u : tensor<?x16xf32>
  %2 = graph.activation silu %u : tensor<?x16xf32>
  %3 = arith.mulf %2, %2 : tensor<?x16xf32>
  %4 = arith.addf %0, %3 : tensor<?x16xf32>
  return %1, %4 : tensor<?x16xf32>, tensor<?x16xf32>
}
