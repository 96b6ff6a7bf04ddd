// RUN: not mlc-opt %s -graph-shard-tensors=ranks=3 2>&1 | FileCheck %s
// CHECK: no product of this model can be spread over 3 ranks: heads, key and value heads, and columns between products, must divide by them
graph.weight @up : tensor<20x12xf32> stored f32
graph.weight @down : tensor<12x20xf32> stored f32
func.func @step(%x: tensor<?x12xf32>) -> tensor<?x12xf32> {
  %0 = graph.linear %x, [@up] : tensor<?x12xf32> -> tensor<?x20xf32>
  %1 = graph.activation silu %0 : tensor<?x20xf32>
  %2 = graph.linear %1, [@down] : tensor<?x20xf32> -> tensor<?x12xf32>
  return %2 : tensor<?x12xf32>
}
