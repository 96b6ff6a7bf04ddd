// RUN: mlc-opt %s -graph-fuse-norm | FileCheck %s

graph.weight @w : tensor<16xf32> stored f32
graph.weight @head : tensor<8xf32> stored f32

// CHECK-LABEL: func.func @sum_and_norm
func.func @sum_and_norm(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
  // CHECK-NEXT: %[[S:.*]], %[[N:.*]] = graph.add_rms_norm %arg0, %arg1, @w {eps = 9.99999974E-6 : f32, graph.inner_taps = ["ln2.hook_normalized"], graph.tap = "hook_resid_mid", offset = 1.000000e+00 : f32} : tensor<?x16xf32>
  // CHECK-NEXT: return %[[S]], %[[N]]
  %0 = arith.addf %x, %r {graph.tap = "hook_resid_mid"} : tensor<?x16xf32>
  %1 = graph.rms_norm %0, @w {eps = 1.0e-5 : f32, offset = 1.0 : f32, graph.tap = "ln2.hook_normalized"} : tensor<?x16xf32>
  return %0, %1 : tensor<?x16xf32>, tensor<?x16xf32>
}

// A reader of the sum between the addition and the norm still comes after the fused op.
// CHECK-LABEL: func.func @reader_between
func.func @reader_between(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
  // CHECK-NEXT: %[[S:.*]], %[[N:.*]] = graph.add_rms_norm
  // CHECK-NEXT: graph.softcap %[[S]]
  %0 = arith.addf %x, %r : tensor<?x16xf32>
  %1 = graph.softcap %0 {cap = 1.0 : f32} : tensor<?x16xf32>
  %2 = graph.rms_norm %0, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return %1, %2 : tensor<?x16xf32>, tensor<?x16xf32>
}

// Two norms of one sum: the first is fused and gives the sum to the second.
// CHECK-LABEL: func.func @two_norms
func.func @two_norms(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
  // CHECK-NEXT: %[[S:.*]], %{{.*}} = graph.add_rms_norm
  // CHECK-NEXT: graph.rms_norm %[[S]], @w
  %0 = arith.addf %x, %r : tensor<?x16xf32>
  %1 = graph.rms_norm %0, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  %2 = graph.rms_norm %0, @w {eps = 1.0e-6 : f32} : tensor<?x16xf32>
  return %1, %2 : tensor<?x16xf32>, tensor<?x16xf32>
}

// Norms of heads are not of the whole row.
// CHECK-LABEL: func.func @per_head
func.func @per_head(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) -> tensor<?x16xf32> {
  // CHECK-NEXT: arith.addf
  // CHECK-NEXT: graph.rms_norm
  %0 = arith.addf %x, %r : tensor<?x16xf32>
  %1 = graph.rms_norm %0, @head {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return %1 : tensor<?x16xf32>
}
