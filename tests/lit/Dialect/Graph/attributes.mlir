// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s

graph.extent @tokens
graph.weight @w : tensor<16x8xf32> stored f32

// CHECK: func.func @step(%{{.*}}: !graph.batch, %{{.*}}: tensor<?xi32> {graph.dims = ["tokens"]}, %{{.*}}: tensor<?x8xf32> {graph.dims = ["tokens", ""]})
func.func @step(%batch: !graph.batch, %tokens: tensor<?xi32> {graph.dims = ["tokens"]},
                %x: tensor<?x8xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x16xf32> {
  // CHECK: graph.linear {{.*}} {graph.inner_taps = ["blocks.0.ln1.hook_normalized", "blocks.0.hook_resid_pre"], graph.tap = "blocks.0.hook_mlp_out"}
  %0 = graph.linear %x, [@w] {graph.tap = "blocks.0.hook_mlp_out",
    graph.inner_taps = ["blocks.0.ln1.hook_normalized", "blocks.0.hook_resid_pre"]} : tensor<?x8xf32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}
