// RUN: mlc-opt %s | mlc-opt | FileCheck %s
// RUN: mlc-opt %s --mlir-print-op-generic | mlc-opt | FileCheck %s

// CHECK-LABEL: func.func @rope_angles
func.func @rope_angles(%batch: !graph.batch) {
  // CHECK: graph.rope_angles %{{.*}} {rotary_dim = 8 : i64, theta = 1.000000e+04 : f64} : tensor<?x8xf32>
  %0 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 10000.0 : f64} : tensor<?x8xf32>
  // CHECK: scaling = #graph<rope_scaling linear>
  %1 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling linear>, factor = 4.0} : tensor<?x8xf32>
  // CHECK: scaling = #graph<rope_scaling dynamic>
  %2 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling dynamic>, factor = 2.0,
    original_context = 64 : i64} : tensor<?x8xf32>
  // CHECK: attention_factor = 1.200000e+00 : f64, beta_fast = 3.200000e+01 : f64, beta_slow = 1.000000e+00 : f64, factor = 4.000000e+00 : f64, original_context = 64 : i64, rotary_dim = 8 : i64, scaling = #graph<rope_scaling yarn>, theta = 1.000000e+04 : f64, truncate = false
  %3 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling yarn>, factor = 4.0,
    original_context = 64 : i64, beta_fast = 32.0, beta_slow = 1.0, truncate = false, attention_factor = 1.2} : tensor<?x8xf32>
  // CHECK: long_factors = array<f64: 4.000000e+00, 5.000000e+00, 6.000000e+00, 7.000000e+00>
  // CHECK-SAME: scaling = #graph<rope_scaling longrope>
  // CHECK-SAME: short_factors = array<f64: 1.000000e+00, 1.100000e+00, 1.200000e+00, 1.300000e+00>
  %4 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling longrope>,
    original_context = 64 : i64, short_factors = array<f64: 1.0, 1.1, 1.2, 1.3>, long_factors = array<f64: 4.0, 5.0, 6.0, 7.0>} : tensor<?x8xf32>
  // CHECK: high_freq_factor = 4.000000e+00 : f64, low_freq_factor = 1.000000e+00 : f64
  // CHECK-SAME: scaling = #graph<rope_scaling llama3>
  %5 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, scaling = #graph<rope_scaling llama3>, factor = 8.0,
    original_context = 64 : i64, low_freq_factor = 1.0, high_freq_factor = 4.0} : tensor<?x8xf32>
  // CHECK: factors = array<f64: 1.000000e+00, 1.000000e+00, 2.000000e+00, 8.000000e+00>
  %6 = graph.rope_angles %batch {rotary_dim = 8 : i64, theta = 1.0e4, factors = array<f64: 1.0, 1.0, 2.0, 8.0>} : tensor<?x8xf32>
  return
}

// CHECK-LABEL: func.func @rope
func.func @rope(%x: tensor<?x32xf32>, %a: tensor<?x8xf32>) {
  // CHECK: graph.rope %{{.*}}, %{{.*}} {head_dim = 16 : i64} : tensor<?x32xf32>, tensor<?x8xf32>
  %0 = graph.rope %x, %a {head_dim = 16 : i64} : tensor<?x32xf32>, tensor<?x8xf32>
  // CHECK: graph.rope %{{.*}}, %{{.*}} {head_dim = 8 : i64, interleaved} : tensor<?x32xf32>, tensor<?x8xf32>
  %1 = graph.rope %x, %a {head_dim = 8 : i64, interleaved} : tensor<?x32xf32>, tensor<?x8xf32>
  return
}
