// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s

graph.weight @w : tensor<16xf32> stored f32
graph.weight @head : tensor<8xf32> stored f32

// CHECK-LABEL: func.func @rms_norm
func.func @rms_norm(%x: tensor<?x16xf32>) {
  // CHECK: graph.rms_norm %{{.*}}, @w {eps = 9.99999974E-6 : f32} : tensor<?x16xf32>
  %0 = graph.rms_norm %x, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  // CHECK: graph.rms_norm %{{.*}}, @w {eps = 9.99999974E-6 : f32, offset = 1.000000e+00 : f32} : tensor<?x16xf32>
  %1 = graph.rms_norm %x, @w {eps = 1.0e-5 : f32, offset = 1.0 : f32} : tensor<?x16xf32>
  // A weight of half the row: two groups are normed each on its own.
  // CHECK: graph.rms_norm %{{.*}}, @head
  %2 = graph.rms_norm %x, @head {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return
}

// CHECK-LABEL: func.func @add_rms_norm
func.func @add_rms_norm(%x: tensor<?x16xf32>, %r: tensor<?x16xf32>) {
  // CHECK: %{{.*}}, %{{.*}} = graph.add_rms_norm %{{.*}}, %{{.*}}, @w {eps = 9.99999974E-6 : f32} : tensor<?x16xf32>
  %0, %1 = graph.add_rms_norm %x, %r, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return
}
