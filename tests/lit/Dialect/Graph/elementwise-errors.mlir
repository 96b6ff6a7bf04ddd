// RUN: mlc-opt %s -split-input-file -verify-diagnostics

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{cap must be positive}}
  %0 = graph.softcap %x {cap = 0.0 : f32} : tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{cap must be positive}}
  %0 = graph.softcap %x {cap = 0x7FC00000 : f32} : tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+2 {{expected ::mlc::graph::Activation to be one of}}
  // expected-error @+1 {{failed to parse}}
  %0 = graph.activation swish %x : tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>, %y: tensor<?x8xf32>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %0 = "graph.gated_activation"(%x, %y) {function = #graph<activation silu>} : (tensor<?x16xf32>, tensor<?x8xf32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{factor must be finite}}
  %0 = graph.scale %x {factor = 0x7FC00000 : f32} : tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{needs a factor for each piece of columns, and pieces that fill the input's}}
  %0 = graph.scale_columns %x {factors = array<f32: 2.0, 0.5>, columns = array<i64: 4, 11>} : tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{needs a factor for each piece of columns, and pieces that fill the input's}}
  %0 = graph.scale_columns %x {factors = array<f32: 2.0>, columns = array<i64: 4, 12>} : tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{columns must be positive}}
  %0 = graph.scale_columns %x {factors = array<f32: 2.0, 0.5>, columns = array<i64: 16, 0>} : tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{factors must be finite}}
  %0 = graph.scale_columns %x {factors = array<f32: 2.0, 0x7FC00000>, columns = array<i64: 4, 12>} : tensor<?x16xf32>
  return
}
