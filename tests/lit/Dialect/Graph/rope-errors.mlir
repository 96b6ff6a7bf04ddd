// RUN: mlc-opt %s -split-input-file -verify-diagnostics

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{rotary_dim must be even and positive}}
  %0 = graph.rope_angles %batch {rotary_dim = 7 : i64, theta = 1.0e4} : tensor<?x7xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{result must have rotary_dim columns}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4} : tensor<?x4xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{theta and factor must be positive}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 0.0} : tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{theta and factor must be positive}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, factor = 0x7FF8000000000000 : f64} : tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{scaling dynamic needs original_context}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling dynamic>} : tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{yarn needs beta_fast and beta_slow}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling yarn>, original_context = 8 : i64} : tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{llama3 needs low_freq_factor and high_freq_factor}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling llama3>, original_context = 8 : i64} : tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{longrope needs rotary_dim / 2 short_factors and long_factors}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling longrope>, original_context = 8 : i64,
    short_factors = array<f64: 1.0, 1.0, 1.0, 1.0>, long_factors = array<f64: 1.0>} : tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{factors must be rotary_dim / 2 values and come without scaling}}
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, factors = array<f64: 1.0>} : tensor<?x8xf32>
  return
}

// -----

func.func @f(%batch: !graph.batch) {
  // expected-error @+1 {{factors must be rotary_dim / 2 values and come without scaling}}
  %0 = graph.rope_angles %batch {rotary_dim = 4 : i64, theta = 1.0e4, factors = array<f64: 1.0, 1.0>, scaling = #graph<rope_scaling linear>} : tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %a: tensor<?x8xf32>) {
  // expected-error @+1 {{head_dim must divide the input's columns}}
  %0 = graph.rope %x, %a {head_dim = 12 : i64} : tensor<?x32xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %a: tensor<?x8xf32>) {
  // expected-error @+1 {{head_dim must divide the input's columns}}
  %0 = graph.rope %x, %a {head_dim = 0 : i64} : tensor<?x32xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %a: tensor<?x8xf32>) {
  // expected-error @+1 {{angles hold 8 columns; an even number up to head_dim is needed}}
  %0 = graph.rope %x, %a {head_dim = 4 : i64} : tensor<?x32xf32>, tensor<?x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %a: tensor<?x7xf32>) {
  // expected-error @+1 {{angles hold 7 columns; an even number up to head_dim is needed}}
  %0 = graph.rope %x, %a {head_dim = 8 : i64} : tensor<?x32xf32>, tensor<?x7xf32>
  return
}
