// What an error in an expert's columns costs goes with each matrix: a half has its expert's, an expert without has 1 for all.
// RUN: mlc-opt %s -graph-set-bounds='batch=32' -convert-graph-to-exec | FileCheck %s

graph.model "net" {vocab_size = 4 : i64, trained_context = 16 : i64}
graph.extent @tokens
graph.weight @router : tensor<2x2xf32> stored f32
// CHECK-DAG: exec.constant @halves : {{.*}}count = 4 : i64, importance = array<f32: 1.000000e+00, 2.000000e+00, 1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00, 3.000000e+00, 4.000000e+00>
graph.weight @halves : tensor<2x32x2xf32> stored f32 as <bits = 8, group = 32> {importance = array<f32: 1.0, 2.0, 3.0, 4.0>}
// CHECK-DAG: exec.constant @d0 : {{.*}}count = 2 : i64, importance = array<f32: 5.000000e+00, {{.*}}5.000000e+00, 1.000000e+00, {{.*}}1.000000e+00>
graph.weight @d0 : tensor<2x16xf32> stored f32 as <bits = 8, group = 32> {importance = array<f32: 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0>}
graph.weight @d1 : tensor<2x16xf32> stored f32 as <bits = 8, group = 32>
// Where nothing weighs them, or nothing packs them anew, they have none.
// CHECK-DAG: exec.constant @plain : {{.*}}count = 4 : i64}
graph.weight @plain : tensor<2x32x2xf32> stored f32 as <bits = 8, group = 32>
// CHECK-DAG: exec.constant @floats : {{.*}}count = 2 : i64}
graph.weight @floats : tensor<2x2x16xf32> stored f32 {importance = array<f32: 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0>}

func.func @step(%x: tensor<?x2xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x2xf32> {
  %l = graph.linear %x, [@router] : tensor<?x2xf32> -> tensor<?x2xf32>
  %a = graph.moe softmax_topk %x, %l into [[@halves]] down [@d0, @d1] {experts = 2 : i64, top_k = 1 : i64, gated, activation = #graph<activation silu>} : tensor<?x2xf32>, tensor<?x2xf32> -> tensor<?x2xf32>
  %b = graph.moe softmax_topk %a, %l into [[@plain]] down [@floats] {experts = 2 : i64, top_k = 1 : i64, gated, activation = #graph<activation silu>} : tensor<?x2xf32>, tensor<?x2xf32> -> tensor<?x2xf32>
  return %b : tensor<?x2xf32>
}
