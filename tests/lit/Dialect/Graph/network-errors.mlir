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

// -----

func.func @main(%x: tensor<4x3xf32>, %i: tensor<2x3xi64>, %u: tensor<2xf32>) {
  // expected-error @below {{R static and not above the rank}}
  %0 = graph.scatter %x, %i, %u {kind = #graph<scatter_kind replace>} : (tensor<4x3xf32>, tensor<2x3xi64>, tensor<2xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @main(%x: tensor<4x3xf32>, %i: tensor<2x1xi64>, %u: tensor<2x4xf32>) {
  // expected-error @below {{axis 1 of the updates does not agree}}
  %0 = graph.scatter %x, %i, %u {kind = #graph<scatter_kind replace>} : (tensor<4x3xf32>, tensor<2x1xi64>, tensor<2x4xf32>) -> tensor<4x3xf32>
  return
}

// -----

func.func @main(%x: tensor<4x3xf32>) {
  // expected-error @below {{has no axis 2}}
  %0, %1 = graph.sort %x {axis = 2 : i64} : (tensor<4x3xf32>) -> (tensor<4x3xf32>, tensor<4x3xi64>)
  return
}

// -----

func.func @main(%x: tensor<4x3xf32>) {
  // expected-error @below {{gives i64 [rank, N]}}
  %0 = graph.nonzero %x : (tensor<4x3xf32>) -> tensor<3x?xi64>
  return
}

// -----

func.func @main(%b: tensor<1x6x3xf32>, %s: tensor<1x2x6xf32>, %most: tensor<i64>, %overlap: tensor<f32>) {
  // expected-error @below {{takes boxes [B, K, 4] and scores [B, classes, K] of floats}}
  %0 = graph.non_max_suppression %b, %s, %most, %overlap : (tensor<1x6x3xf32>, tensor<1x2x6xf32>, tensor<i64>, tensor<f32>) -> tensor<?x3xi64>
  return
}

// -----

func.func @main(%x: tensor<1x3x8x6xf32>) {
  // expected-error @below {{takes floats [B, C, D, E] to [B, C, O, P]}}
  %0 = graph.resize %x {coordinates = #graph<resize_coordinates half_pixel>} : (tensor<1x3x8x6xf32>) -> tensor<1x4x8x6xf32>
  return
}

// -----

func.func @main(%x: tensor<1x3x8x?xf32>) {
  // expected-error @below {{resizes axes of 1 to 2^31 values}}
  %0 = graph.resize %x {coordinates = #graph<resize_coordinates half_pixel>} : (tensor<1x3x8x?xf32>) -> tensor<1x3x8x6xf32>
  return
}

// -----

func.func @main(%c: tensor<5x32xi8>, %s: tensor<5x2xf32>, %z: tensor<5x1xi8>) {
  // expected-error @below {{takes 2, 4 or 8 bits, and blocks of whole bytes}}
  %0 = graph.dequantize_blocks %c, %s {bits = 3 : i64, block = 32 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<64x5xf32>
  return
}

// -----

func.func @main(%c: tensor<5x32xi8>, %s: tensor<5x2xf32>, %z: tensor<5x1xi8>) {
  // expected-error @below {{takes codes i8 [N, blocks * block * bits / 8] and scales [N, blocks]}}
  %0 = graph.dequantize_blocks %c, %s {bits = 4 : i64, block = 64 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<64x5xf32>
  return
}

// -----

func.func @main(%c: tensor<5x32xi8>, %s: tensor<5x2xf32>, %z: tensor<5x1xi8>) {
  // expected-error @below {{takes zeros i8 [N, (blocks * bits + 7) / 8], or [N, blocks]}}
  %0 = graph.dequantize_blocks %c, %s, %z {bits = 8 : i64, block = 16 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>, tensor<5x1xi8>) -> tensor<32x5xf32>
  return
}

// -----

func.func @main(%c: tensor<5x32xi8>, %s: tensor<5x2xf32>, %z: tensor<5x1xi8>) {
  // expected-error @below {{rounds products of 4 bits without zeros, in whole blocks}}
  %0 = graph.dequantize_blocks %c, %s {bits = 4 : i64, block = 32 : i64, rounds} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<50x5xf32>
  return
}

// -----

func.func @main(%c: tensor<5x32xi8>, %s: tensor<5x2xf32>, %z: tensor<5x1xi8>) {
  // expected-error @below {{gives floats [K, N]}}
  %0 = graph.dequantize_blocks %c, %s {bits = 4 : i64, block = 32 : i64} : (tensor<5x32xi8>, tensor<5x2xf32>) -> tensor<?x5xf32>
  return
}
