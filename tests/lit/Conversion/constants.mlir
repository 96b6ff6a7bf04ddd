// Constants are shared by what they hold, not by what they are called.
// RUN: mlc-opt %s -graph-set-bounds -graph-set-state-types -convert-graph-to-exec | FileCheck %s

graph.model "net" {vocab_size = 4 : i64, trained_context = 16 : i64}
graph.extent @tokens
// A weight that has the name of a table the compiler makes.
graph.weight @rope.inv_freq : tensor<2xf32> stored f32

// CHECK-DAG: exec.constant @rope.inv_freq : memref<1x2xf32> values
// CHECK-DAG: exec.constant @rope.inv_freq.1 : memref<2xf32> from ["rope.inv_freq"]
// CHECK-NOT: exec.constant
func.func @step(%batch: !graph.batch, %x: tensor<?x4xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x4xf32> {
  %a = graph.rope_angles %batch {rotary_dim = 4 : i64, theta = 1.0e4} : tensor<?x4xf32>
  %n = graph.rms_norm %x, @rope.inv_freq {eps = 1.0e-5 : f32} : tensor<?x4xf32>
  %b = graph.rope_angles %batch {rotary_dim = 4 : i64, theta = 1.0e4} : tensor<?x4xf32>
  // CHECK: exec.weight @rope.inv_freq.1 : memref<2xf32>
  %m = graph.rms_norm %n, @rope.inv_freq {eps = 1.0e-5 : f32} : tensor<?x4xf32>
  %r = graph.rope %m, %a {head_dim = 4 : i64} : tensor<?x4xf32>, tensor<?x4xf32>
  %s = graph.rope %r, %b {head_dim = 4 : i64} : tensor<?x4xf32>, tensor<?x4xf32>
  return %s : tensor<?x4xf32>
}
