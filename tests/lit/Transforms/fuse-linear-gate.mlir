// RUN: mlc-opt %s -graph-fuse-linear-gate | FileCheck %s
// RUN: mlc-opt %s -graph-fuse-linear-gate=device=true | FileCheck %s --check-prefix=DEVICE

graph.weight @gate : tensor<32x64xf32> stored f32 as <bits = 4, group = 32>
graph.weight @up : tensor<32x64xf32> stored f32 as <bits = 4, group = 32>
graph.weight @bias : tensor<32xf32> stored f32
graph.weight @odd : tensor<24x64xf32> stored f32 as <bits = 4, group = 32>

// CHECK-LABEL: func.func @quantized
// DEVICE-LABEL: func.func @quantized
func.func @quantized(%x: !graph.quantized<?, 64, group = 32>) -> !graph.quantized<?, 32, group = 32> {
  // CHECK-NEXT: %[[Y:.*]] = graph.linear %arg0, [@gate, @up] gate silu {graph.inner_taps = ["hook_post"]} : !graph.quantized<?, 64, group = 32> -> !graph.quantized<?, 32, group = 32>
  // CHECK-NEXT: return %[[Y]]
  // A GPU's kernels give rows of f32.
  // DEVICE-NEXT: %[[Y:.*]] = graph.linear %arg0, [@gate, @up] gate silu {graph.tap = "hook_post"} : !graph.quantized<?, 64, group = 32> -> tensor<?x32xf32>
  // DEVICE-NEXT: graph.quantize_rows %[[Y]]
  %p = graph.linear %x, [@gate, @up] : !graph.quantized<?, 64, group = 32> -> tensor<?x64xf32>
  %s:2 = graph.split %p : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  %g = graph.gated_activation silu %s#0, %s#1 {graph.tap = "hook_post"} : tensor<?x32xf32>
  %q = graph.quantize_rows %g : tensor<?x32xf32> -> <?, 32, group = 32>
  return %q : !graph.quantized<?, 32, group = 32>
}

// Read as f32, too.
// CHECK-LABEL: func.func @float
func.func @float(%x: !graph.quantized<?, 64, group = 32>) -> tensor<?x32xf32> {
  // CHECK-NEXT: graph.linear %arg0, [@gate, @up] gate gelu_tanh {graph.tap = "hook_post"} : !graph.quantized<?, 64, group = 32> -> tensor<?x32xf32>
  %p = graph.linear %x, [@gate, @up] : !graph.quantized<?, 64, group = 32> -> tensor<?x64xf32>
  %s:2 = graph.split %p : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  %g = graph.gated_activation gelu_tanh %s#0, %s#1 {graph.tap = "hook_post"} : tensor<?x32xf32>
  return %g : tensor<?x32xf32>
}

// Halves that are no whole panels, or swapped, stay.
// CHECK-LABEL: func.func @kept
func.func @kept(%x: !graph.quantized<?, 64, group = 32>) -> (tensor<?x24xf32>, tensor<?x32xf32>) {
  // CHECK-COUNT-2: graph.gated_activation
  %p = graph.linear %x, [@odd, @odd] : !graph.quantized<?, 64, group = 32> -> tensor<?x48xf32>
  %s:2 = graph.split %p : tensor<?x48xf32> -> tensor<?x24xf32>, tensor<?x24xf32>
  %g = graph.gated_activation silu %s#0, %s#1 : tensor<?x24xf32>
  %r = graph.linear %x, [@gate, @up] : !graph.quantized<?, 64, group = 32> -> tensor<?x64xf32>
  %t:2 = graph.split %r : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  %h = graph.gated_activation silu %t#1, %t#0 : tensor<?x32xf32>
  return %g, %h : tensor<?x24xf32>, tensor<?x32xf32>
}

// Of a GPU, bf16 products have gates too, but none with a bias.
// CHECK-LABEL: func.func @rounded
// DEVICE-LABEL: func.func @rounded
func.func @rounded(%x: tensor<?x64xf32>) -> (tensor<?x32xf32>, tensor<?x32xf32>) {
  // CHECK-COUNT-2: graph.gated_activation
  // DEVICE: graph.linear %arg0, [@gate, @up] gate silu bf16 : tensor<?x64xf32> -> tensor<?x32xf32>
  // DEVICE: graph.gated_activation
  %p = graph.linear %x, [@gate, @up] bf16 : tensor<?x64xf32> -> tensor<?x64xf32>
  %s:2 = graph.split %p : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  %g = graph.gated_activation silu %s#0, %s#1 : tensor<?x32xf32>
  %r = graph.linear %x, [@gate, @up] bias [@bias, @bias] bf16 : tensor<?x64xf32> -> tensor<?x64xf32>
  %t:2 = graph.split %r : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
  %h = graph.gated_activation silu %t#0, %t#1 : tensor<?x32xf32>
  return %g, %h : tensor<?x32xf32>, tensor<?x32xf32>
}
