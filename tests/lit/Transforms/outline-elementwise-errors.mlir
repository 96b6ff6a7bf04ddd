// RUN: mlc-opt %s -graph-outline-elementwise -split-input-file -verify-diagnostics

func.func @boolean(%x: tensor<4x8xf32>) -> tensor<4x8xi1> {
  // expected-error @below {{is 'tensor<4x8xi1>', but a compiled region reads and writes f32 alone; write it with f32}}
  %c = arith.cmpf ogt, %x, %x : tensor<4x8xf32>
  return %c : tensor<4x8xi1>
}

// -----

func.func @constant() -> tensor<4x8xf32> {
  %c = arith.constant dense<2.0> : tensor<4x8xf32>
  // expected-error @below {{is computed from constants alone; write the result as one constant}}
  %e = math.exp %c : tensor<4x8xf32>
  return %e : tensor<4x8xf32>
}
