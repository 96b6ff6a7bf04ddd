// RUN: mlc-opt %s -graph-round-products | FileCheck %s

// CHECK: graph.weight @a : tensor<16x64xf32> stored f16 rounded
graph.weight @a : tensor<16x64xf32> stored f16
// CHECK: graph.weight @q : tensor<16x64xf32> stored f16 as <bits = 4, group = 32>{{$}}
graph.weight @q : tensor<16x64xf32> stored f16 as <bits = 4, group = 32>
// CHECK: graph.weight @e : tensor<16x64xf32> stored f32{{$}}
graph.weight @e : tensor<16x64xf32> stored f32

// CHECK-LABEL: func.func @f
func.func @f(%x: tensor<?x64xf32>, %y: !graph.quantized<?, 64, group = 32>, %ids: tensor<?xi32>) {
  // CHECK: graph.linear %arg0, [@a] bf16 : tensor<?x64xf32> -> tensor<?x16xf32>
  %0 = graph.linear %x, [@a] : tensor<?x64xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %arg1, [@q] : !graph.quantized
  %1 = graph.linear %y, [@q] : !graph.quantized<?, 64, group = 32> -> tensor<?x16xf32>
  // CHECK: graph.linear %arg0, [@q] : tensor
  %2 = graph.linear %x, [@q] : tensor<?x64xf32> -> tensor<?x16xf32>
  %3 = graph.embedding %ids, @e : tensor<?xi32> -> tensor<?x64xf32>
  return
}
