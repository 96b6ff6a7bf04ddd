// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s

// CHECK-LABEL: func.func @activation
func.func @activation(%x: tensor<?x16xf32>) {
  // CHECK: graph.activation silu %{{.*}} : tensor<?x16xf32>
  %0 = graph.activation silu %x : tensor<?x16xf32>
  // CHECK: graph.activation gelu_tanh
  %1 = graph.activation gelu_tanh %x : tensor<?x16xf32>
  // CHECK: graph.activation gelu_erf
  %2 = graph.activation gelu_erf %x : tensor<?x16xf32>
  // CHECK: graph.activation relu %
  %3 = graph.activation relu %x : tensor<?x16xf32>
  // CHECK: graph.activation relu2
  %4 = graph.activation relu2 %x : tensor<?x16xf32>
  // CHECK: graph.activation tanh
  %5 = graph.activation tanh %x : tensor<?x16xf32>
  // CHECK: graph.activation sigmoid
  %6 = graph.activation sigmoid %x : tensor<?x16xf32>
  return
}

// CHECK-LABEL: func.func @gated_activation
func.func @gated_activation(%x: tensor<?x16xf32>, %y: tensor<?x16xf32>) {
  // CHECK: graph.gated_activation silu %{{.*}}, %{{.*}} : tensor<?x16xf32>
  %0 = graph.gated_activation silu %x, %y : tensor<?x16xf32>
  return
}

// CHECK-LABEL: func.func @softcap
func.func @softcap(%x: tensor<?x16xf32>) {
  // CHECK: graph.softcap %{{.*}} {cap = 3.000000e+01 : f32} : tensor<?x16xf32>
  %0 = graph.softcap %x {cap = 30.0 : f32} : tensor<?x16xf32>
  return
}

// CHECK-LABEL: func.func @scale
func.func @scale(%x: tensor<?x16xf32>) {
  // CHECK: graph.scale %{{.*}} {factor = 2.500000e-01 : f32} : tensor<?x16xf32>
  %0 = graph.scale %x {factor = 0.25 : f32} : tensor<?x16xf32>
  return
}

// CHECK-LABEL: func.func @scale_columns
func.func @scale_columns(%x: tensor<?x16xf32>) {
  // CHECK: graph.scale_columns %{{.*}} {columns = array<i64: 4, 12>, factors = array<f32: 2.000000e+00, 5.000000e-01>} : tensor<?x16xf32>
  %0 = graph.scale_columns %x {factors = array<f32: 2.0, 0.5>, columns = array<i64: 4, 12>} : tensor<?x16xf32>
  return
}
