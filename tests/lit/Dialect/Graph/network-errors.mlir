// RUN: mlc-opt %s -split-input-file -verify-diagnostics

// What the verifiers of the ops of networks refuse.

// expected-error @below {{cannot be stored f32}}
graph.weight @w : tensor<4xi8> stored f32

// -----

graph.weight @w : tensor<4xf32> stored f32
func.func @main() {
  // expected-error @below {{weight @w is 'tensor<4xf32>'}}
  %0 = graph.read @w : tensor<5xf32>
  return
}

// -----

func.func @main(%x: tensor<1x4x9xf32>, %w: tensor<6x3x3xf32>) {
  // expected-error @below {{which do not fit}}
  %0 = graph.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>} : (tensor<1x4x9xf32>, tensor<6x3x3xf32>) -> tensor<1x6x7xf32>
  return
}

// -----

func.func @main(%x: tensor<1x4x9xf32>, %w: tensor<6x4x3xf32>) {
  // expected-error @below {{does not follow from the window}}
  %0 = graph.conv %x, %w {strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>} : (tensor<1x4x9xf32>, tensor<6x4x3xf32>) -> tensor<1x6x8xf32>
  return
}

// -----

func.func @main(%x: tensor<1x4x9xf32>, %w: tensor<6x4x3xf32>) {
  // expected-error @below {{must be positive}}
  %0 = graph.conv %x, %w {strides = array<i64: 0>, dilations = array<i64: 1>, pads = array<i64: 0, 0>} : (tensor<1x4x9xf32>, tensor<6x4x3xf32>) -> tensor<1x6x7xf32>
  return
}

// -----

func.func @main(%a: tensor<2x3xf32>, %b: tensor<4x5xf32>) {
  // expected-error @below {{takes [m, k] and [k, n] to [m, n]}}
  %0 = graph.matmul %a, %b : (tensor<2x3xf32>, tensor<4x5xf32>) -> tensor<2x5xf32>
  return
}

// -----

// expected-error @below {{graph.unsigned goes with a tensor of integers}}
func.func @main(%x: tensor<3xf32> {graph.unsigned}) {
  return
}
