// RUN: mlc-opt %s -split-input-file -verify-diagnostics

graph.state @conv kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64}
graph.weight @w : tensor<20x4xf32> stored f32
graph.weight @bias : tensor<19xf32> stored f32
func.func @f(%x: tensor<?x20xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{names @conv, which is no graph.state of kind conv}}
  %0 = graph.conv1d_causal %x, %batch, @conv, @w : tensor<?x20xf32>
  return
}

// -----

graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @w : tensor<20x4xf32> stored f32
graph.weight @bias : tensor<19xf32> stored f32
func.func @f(%x: tensor<?x16xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{input must be [tokens, 20], the state's channels}}
  %0 = graph.conv1d_causal %x, %batch, @conv, @w : tensor<?x16xf32>
  return
}

// -----

graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @w : tensor<20x3xf32> stored f32
graph.weight @bias : tensor<19xf32> stored f32
func.func @f(%x: tensor<?x20xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{needs 80 values of @w, which holds 60}}
  %0 = graph.conv1d_causal %x, %batch, @conv, @w : tensor<?x20xf32>
  return
}

// -----

graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @w : tensor<4x20xf32> stored f32
graph.weight @bias : tensor<19xf32> stored f32
func.func @f(%x: tensor<?x20xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{weight @w must be [20, 4] or [20, 1, 4], as the state says}}
  %0 = graph.conv1d_causal %x, %batch, @conv, @w : tensor<?x20xf32>
  return
}

// -----

graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @w : tensor<20x4xf32> stored f32
graph.weight @bias : tensor<19xf32> stored f32
func.func @f(%x: tensor<?x20xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{needs 20 values of @bias, which holds 19}}
  %0 = graph.conv1d_causal %x, %batch, @conv, @w bias @bias : tensor<?x20xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{names @conv, which is no graph.state of kind ssm}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @conv a @a d @d dt_bias @d : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x8xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{x must have heads * head_dim, 12 columns}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a d @d dt_bias @d : tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x2xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{dt must have heads, 4 columns}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a d @d dt_bias @d : tensor<?x12xf32>, tensor<?x2xf32>, tensor<?x4xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x2xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{b and c must have groups * state_size, 4 columns}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a d @d dt_bias @d : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x2xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<2xf32> stored f32
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{needs 4 values of @a, which holds 2}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a d @d dt_bias @d : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<4x32xf32> stored f32 as <bits = 8, group = 32>
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{reads @a as floats; it cannot be quantized}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a d @d dt_bias @d : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{dt_min must be finite and not negative, dt_max not below it}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a d @d dt_bias @d {dt_min = -1.0 : f32} : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

graph.state @ssm ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
graph.state @conv conv sequence {channels = 20 : i64, kernel = 4 : i64}
graph.weight @a : tensor<4xf32> stored f32
graph.weight @d : tensor<4xf32> stored f32
func.func @f(%x: tensor<?x12xf32>, %dt: tensor<?x4xf32>, %b: tensor<?x4xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{dt_min must be finite and not negative, dt_max not below it}}
  %0 = graph.ssd %x, %dt, %b, %b, %batch, @ssm a @a d @d dt_bias @d {dt_min = 1.0 : f32, dt_max = 0.5 : f32} : tensor<?x12xf32>, tensor<?x4xf32>, tensor<?x4xf32>
  return
}

// -----

graph.weight @n : tensor<12xf32> stored f32
func.func @f(%x: tensor<?x12xf32>) {
  // expected-error @+1 {{group of 5 does not divide 12 columns}}
  %0 = graph.gated_rms_norm silu %x, %x, @n {eps = 1.0e-5 : f32, group = 5 : i64} : tensor<?x12xf32>
  return
}

// -----

graph.weight @n : tensor<12xf32> stored f32
func.func @f(%x: tensor<?x12xf32>) {
  // expected-error @+1 {{group of 0 does not divide 12 columns}}
  %0 = graph.gated_rms_norm silu %x, %x, @n {eps = 1.0e-5 : f32, group = 0 : i64} : tensor<?x12xf32>
  return
}

// -----

graph.weight @n : tensor<6xf32> stored f32
func.func @f(%x: tensor<?x12xf32>) {
  // expected-error @+1 {{needs 12 values of @n, which holds 6}}
  %0 = graph.gated_rms_norm silu %x, %x, @n {eps = 1.0e-5 : f32, group = 6 : i64} : tensor<?x12xf32>
  return
}

// -----

graph.weight @n : tensor<12xf32> stored f32
func.func @f(%x: tensor<?x12xf32>) {
  // expected-error @+1 {{eps must be finite and not negative}}
  %0 = graph.gated_rms_norm silu %x, %x, @n {eps = -1.0 : f32, group = 6 : i64} : tensor<?x12xf32>
  return
}
