// RUN: mlc-opt %s -split-input-file -verify-diagnostics

func.func @f(%ids: tensor<?xi32>) -> tensor<?x16xf32> {
  // expected-error @+1 {{names @embed, which is no graph.weight}}
  %0 = graph.embedding %ids, @embed : tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

graph.extent @embed
func.func @f(%ids: tensor<?xi32>) -> tensor<?x16xf32> {
  // expected-error @+1 {{names @embed, which is no graph.weight}}
  %0 = graph.embedding %ids, @embed : tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

graph.weight @embed : tensor<16xf32> stored f32
func.func @f(%ids: tensor<?xi32>) -> tensor<?x16xf32> {
  // expected-error @+1 {{needs @embed to have 2 axes}}
  %0 = graph.embedding %ids, @embed : tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

graph.weight @embed : tensor<100x8xf32> stored f32
func.func @f(%ids: tensor<?xi32>) -> tensor<?x16xf32> {
  // expected-error @+1 {{result has 16 columns, the weight 8}}
  %0 = graph.embedding %ids, @embed : tensor<?xi32> -> tensor<?x16xf32>
  return %0 : tensor<?x16xf32>
}

// -----

func.func @f(%x: tensor<?x16xf32>, %rows: tensor<?xi32>) -> tensor<?x8xf32> {
  // expected-error @+1 {{result must be [rows, columns of the input]}}
  %0 = graph.gather_rows %x, %rows : tensor<?x16xf32>, tensor<?xi32> -> tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}

// -----

func.func @f(%x: tensor<?x16xf32>, %rows: tensor<3xi32>) -> tensor<4x16xf32> {
  // expected-error @+1 {{result must be [rows, columns of the input]}}
  %0 = graph.gather_rows %x, %rows : tensor<?x16xf32>, tensor<3xi32> -> tensor<4x16xf32>
  return %0 : tensor<4x16xf32>
}

// -----

func.func @f(%x: tensor<?x16xf32>, %rows: tensor<?x?xi32>) {
  // expected-error @+1 {{operand #1 must be 1D tensor of 32-bit signless integer values}}
  %0 = "graph.gather_rows"(%x, %rows) : (tensor<?x16xf32>, tensor<?x?xi32>) -> tensor<?x16xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{pieces hold 12 columns, the input 16}}
  %0:2 = graph.split %x : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{every piece must have the input's leading axes and a static last one}}
  %0:2 = graph.split %x : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<4x8xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{result #1 must be variadic of f32 tensor whose last axis is static}}
  %0:2 = graph.split %x : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x?xf32>
  return
}

// -----

func.func @f(%x: tensor<?x16xf32>) {
  // expected-error @+1 {{needs an axis to cut and a piece}}
  "graph.split"(%x) : (tensor<?x16xf32>) -> ()
  return
}

// -----

func.func @f(%x: tensor<f32>) {
  // expected-error @+1 {{operand #0 must be f32 tensor whose last axis is static}}
  %0 = graph.split %x : tensor<f32> -> tensor<8xf32>
  return
}

// -----

graph.weight @embed : tensor<100x8xf32> stored f32
func.func @f(%ids: tensor<?xi32>) {
  // expected-error @+1 {{result #0 must be f32 tensor whose last axis is static}}
  %0 = graph.embedding %ids, @embed : tensor<?xi32> -> tensor<f32>
  return
}
