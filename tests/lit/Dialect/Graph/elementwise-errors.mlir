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
