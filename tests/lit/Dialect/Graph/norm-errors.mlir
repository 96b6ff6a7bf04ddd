// RUN: mlc-opt %s -split-input-file -verify-diagnostics

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{names @w, which is no graph.weight}}
  %0 = graph.rms_norm %x, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<4x4xf32> stored f32
func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{needs @w to have 1 axes}}
  %0 = graph.rms_norm %x, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<5xf32> stored f32
func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{weight @w of 5 values does not fit 16 columns}}
  %0 = graph.rms_norm %x, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<8xf32> stored f32
func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{weight @w of 8 values does not fit 16 columns}}
  %0, %1 = graph.add_rms_norm %x, %x, @w {eps = 1.0e-5 : f32} : tensor<?x16xf32>
  return
}

// -----

graph.weight @w : tensor<16xf32> stored f32
func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{requires attribute 'eps'}}
  %0 = graph.rms_norm %x, @w : tensor<?x16xf32>
  return
}
