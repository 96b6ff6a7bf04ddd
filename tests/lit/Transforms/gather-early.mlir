// RUN: mlc-opt %s -graph-gather-early | FileCheck %s

graph.weight @w : tensor<64x64xf32> stored f32
graph.weight @n : tensor<64xf32> stored f32
graph.weight @head : tensor<96x64xf32> stored f32

// The residual stream is taken once, as soon as nobody wants its other rows.
// CHECK-LABEL: func.func @last_layer
func.func @last_layer(%x: tensor<?x64xf32>, %a: tensor<?x64xf32>, %rows: tensor<?xi32>) -> tensor<?x96xf32> {
  // CHECK-NEXT: %[[A:.*]] = graph.gather_rows %arg1, %arg2
  // CHECK-NEXT: %[[O:.*]] = graph.linear %[[A]], [@w]
  // CHECK-NEXT: %[[X:.*]] = graph.gather_rows %arg0, %arg2
  // CHECK-NEXT: %[[M:.*]] = arith.addf %[[O]], %[[X]] {graph.inner_taps = ["hook_mid"]}
  // CHECK-NEXT: %[[N:.*]] = graph.rms_norm %[[M]], @n
  // CHECK-NEXT: %[[D:.*]] = graph.linear %[[N]], [@w]
  // CHECK-NEXT: %[[R:.*]] = arith.addf %[[D]], %[[M]]
  // CHECK-NEXT: %[[L:.*]] = graph.linear %[[R]], [@head]
  // CHECK-NEXT: return %[[L]]
  %o = graph.linear %a, [@w] : tensor<?x64xf32> -> tensor<?x64xf32>
  %m = arith.addf %o, %x {graph.tap = "hook_mid"} : tensor<?x64xf32>
  %n = graph.rms_norm %m, @n {eps = 1.0e-5 : f32} : tensor<?x64xf32>
  %d = graph.linear %n, [@w] : tensor<?x64xf32> -> tensor<?x64xf32>
  %r = arith.addf %d, %m : tensor<?x64xf32>
  %g = graph.gather_rows %r, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %l = graph.linear %g, [@head] : tensor<?x64xf32> -> tensor<?x96xf32>
  return %l : tensor<?x96xf32>
}

// A value that is read whole stays whole.
// CHECK-LABEL: func.func @read_whole
func.func @read_whole(%x: tensor<?x64xf32>, %rows: tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x64xf32>) {
  // CHECK: %[[O:.*]] = graph.linear %arg0, [@w]
  // CHECK-NEXT: graph.gather_rows %[[O]], %arg1
  %o = graph.linear %x, [@w] : tensor<?x64xf32> -> tensor<?x64xf32>
  %g = graph.gather_rows %o, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %o, %g : tensor<?x64xf32>, tensor<?x64xf32>
}
