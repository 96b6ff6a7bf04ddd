// RUN: mlc-opt %s -split-input-file -verify-diagnostics

func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{needs a weight}}
  %0 = graph.linear %x, [] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{names @w, which is no graph.weight}}
  %0 = graph.linear %x, [@w] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16xf32> stored f32
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{needs @w to have 2 axes}}
  %0 = graph.linear %x, [@w] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x32xf32> stored f32
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{input has 64 columns, weight @w 32}}
  %0 = graph.linear %x, [@w] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{result has 17 columns, the weights 16 rows}}
  %0 = graph.linear %x, [@w] : tensor<?x64xf32> -> tensor<?x17xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32
graph.weight @b : tensor<16xf32> stored f32
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{needs a bias for each weight or none}}
  %0 = graph.linear %x, [@w] bias [@b, @b] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{attribute 'biases' failed to satisfy constraint: weights}}
  %0 = graph.linear %x, [@w] bias ["b"] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{needs @w to have 1 axes}}
  %0 = graph.linear %x, [@w] bias [@w] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32
graph.weight @b : tensor<8xf32> stored f32
func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{bias @b has 8 values, its weight 16 rows}}
  %0 = graph.linear %x, [@w] bias [@b] : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32
func.func @f(%x: tensor<?x64xf32>, %r: tensor<4x16xf32>) {
  // expected-error @+1 {{residual must have the result's type}}
  %0 = graph.linear %x, [@w] residual %r : tensor<4x16xf32> : tensor<?x64xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32
func.func @f(%x: !graph.quantized<?, 64, group = 32>) {
  // expected-error @+1 {{which does not meet weight @w}}
  %0 = graph.linear %x, [@w] : !graph.quantized<?, 64, group = 32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16x64xf32> stored f32 as <bits = 8, group = 64>
func.func @f(%x: !graph.quantized<?, 64, group = 32>) {
  // expected-error @+1 {{which does not meet weight @w}}
  %0 = graph.linear %x, [@w] : !graph.quantized<?, 64, group = 32> -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x64xf32>) {
  // expected-error @+1 {{result must have the input's columns}}
  %0 = graph.quantize_rows %x : tensor<?x64xf32> -> !graph.quantized<?, 32, group = 32>
  return
}
