// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s

graph.weight @embed : tensor<100x16xf32> stored f16

// CHECK-LABEL: func.func @embedding
func.func @embedding(%ids: tensor<?xi32>) -> tensor<?x16xf32> {
  // CHECK: graph.embedding %{{.*}}, @embed : tensor<?xi32> -> tensor<?x16xf32>
  %0 = graph.embedding %ids, @embed : tensor<?xi32> -> tensor<?x16xf32>
  // CHECK: graph.embedding %{{.*}}, @embed {scale = 4.000000e+00 : f32} : tensor<?xi32> -> tensor<?x16xf32>
  %1 = graph.embedding %ids, @embed {scale = 4.0 : f32} : tensor<?xi32> -> tensor<?x16xf32>
  return %1 : tensor<?x16xf32>
}

// CHECK-LABEL: func.func @gather_rows
func.func @gather_rows(%x: tensor<?x16xf32>, %rows: tensor<?xi32>) -> tensor<?x16xf32> {
  // CHECK: graph.gather_rows %{{.*}}, %{{.*}} : tensor<?x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
  %0 = graph.gather_rows %x, %rows : tensor<?x16xf32>, tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// CHECK-LABEL: func.func @split
func.func @split(%x: tensor<?x16xf32>) -> tensor<?x4xf32> {
  // CHECK: %{{.*}}:3 = graph.split %{{.*}} : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  %0:3 = graph.split %x : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return %0#2 : tensor<?x4xf32>
}
