// RUN: mlc-opt %s -graph-quantize-activations | FileCheck %s

graph.weight @a : tensor<16x64xf32> stored f32 as <bits = 8, group = 32>
graph.weight @b : tensor<16x64xf32> stored f32 as <bits = 4, group = 32>
graph.weight @c : tensor<16x64xf32> stored f32 as <bits = 4, group = 64>
graph.weight @d : tensor<16x64xf32> stored f32
graph.weight @q4_0 : tensor<16x64xf32> stored q4_0
graph.weight @q4_k : tensor<16x256xf32> stored q4_k
graph.weight @q6_k : tensor<16x256xf32> stored q6_k
graph.weight @f32 : tensor<16x64xf32> stored q4_0 expanded

// CHECK-LABEL: func.func @f(%arg0: tensor<?x64xf32>)
func.func @f(%x: tensor<?x64xf32>) {
  // One quantized form for each group; float weights read the rows themselves.
  // CHECK-DAG: %[[Q32:.*]] = graph.quantize_rows %arg0 : tensor<?x64xf32> -> <?, 64, group = 32>
  // CHECK-DAG: %[[Q64:.*]] = graph.quantize_rows %arg0 : tensor<?x64xf32> -> <?, 64, group = 64>
  // CHECK-NOT: graph.quantize_rows
  // CHECK: graph.linear %[[Q32]], [@a] : !graph.quantized<?, 64, group = 32> -> tensor<?x16xf32>
  %0 = graph.linear %x, [@a] : tensor<?x64xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %[[Q32]], [@b]
  %1 = graph.linear %x, [@b] : tensor<?x64xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %[[Q64]], [@c]
  %2 = graph.linear %x, [@c] : tensor<?x64xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %arg0, [@d] : tensor<?x64xf32> -> tensor<?x16xf32>
  %3 = graph.linear %x, [@d] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// Rows have a scale for 128 columns where those divide them, and the sums of the weights' own groups.
// CHECK-LABEL: func.func @blocks
func.func @blocks(%x: tensor<?x64xf32>, %y: tensor<?x256xf32>) {
  // CHECK-DAG: %[[X:.*]] = graph.quantize_rows %arg0 : tensor<?x64xf32> -> <?, 64, group = 32>
  // CHECK-DAG: %[[Y:.*]] = graph.quantize_rows %arg1 : tensor<?x256xf32> -> <?, 256, group = 128, sums = 32>
  // CHECK-DAG: %[[Z:.*]] = graph.quantize_rows %arg1 : tensor<?x256xf32> -> <?, 256, group = 128, sums = 16>
  // CHECK: graph.linear %[[X]], [@q4_0]
  %0 = graph.linear %x, [@q4_0] : tensor<?x64xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %[[Y]], [@q4_k]
  %1 = graph.linear %y, [@q4_k] : tensor<?x256xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %[[Z]], [@q6_k]
  %2 = graph.linear %y, [@q6_k] : tensor<?x256xf32> -> tensor<?x16xf32>
  // CHECK: graph.linear %arg0, [@f32]
  %3 = graph.linear %x, [@f32] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}
