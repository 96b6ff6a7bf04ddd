// RUN: mlc-opt %s -split-input-file -verify-diagnostics

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{takes 5 of 4 experts for a token}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 5 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{takes 0 of 4 experts}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 0 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{has 0 experts}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 0 : i64, top_k = 0 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x6xf32>) {
  // expected-error @+1 {{has logits of 6 columns for 4 experts}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x6xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x8xf32>) {
  // expected-error @+1 {{weight @in holds 4 experts, the op has 8}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 8 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x8xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
graph.weight @a : tensor<16x32xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{lists 2 weights for 4 experts}}
  %0 = graph.moe softmax_topk %x, %l into [[@a, @a]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{names @none, which is no graph.weight}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@none, @none, @none, @none] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{lists 0 weights for 4 experts}}
  %0 = graph.moe softmax_topk %x, %l into [[]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{weight @down has 8 columns, what it meets 32}}
  %0 = graph.moe softmax_topk %x, %l into [[@down]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{weight @down has 8 columns, what it meets 16}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x15x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{halves an odd number of rows, 15}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
graph.weight @up : tensor<4x8x32xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{has gates of 16 rows, what they multiply has 8}}
  %0 = graph.moe softmax_topk %x, %l into [[@in], [@up]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{takes one list of weights into the experts, or gate and up}}
  %0 = graph.moe softmax_topk %x, %l into [[@in], [@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{result has 16 columns, an expert gives 32}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x16xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{has groups, for which the router must be sigmoid}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, groups = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{takes 3 of 2 groups; they must divide the experts}}
  %0 = graph.moe sigmoid %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, groups = 2 : i64, top_groups = 3 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{takes 1 of 3 groups; they must divide the experts}}
  %0 = graph.moe sigmoid %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, groups = 3 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{takes 3 experts for a token, more than its groups hold}}
  %0 = graph.moe sigmoid %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 3 : i64, groups = 2 : i64, top_groups = 1 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{has a selection bias, which only the sigmoid router takes}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] bias @down {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
graph.weight @bias : tensor<3xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{selection bias @bias has 3 values for 4 experts}}
  %0 = graph.moe sigmoid %x, %l into [[@in]] down [@down] bias @bias {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{with bf16 products reads weight @in, which is not rounded}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, bf16, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{quantizes what is hidden with quantized rows only}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, hidden = !graph.quantized<?, 8, group = 32>, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: !graph.quantized<?, 32, group = 32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{which do not meet weight @in}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, activation = #graph<activation silu>} : !graph.quantized<?, 32, group = 32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

graph.weight @in : tensor<4x16x32xf32> stored f32
graph.weight @down : tensor<4x32x8xf32> stored f32
func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+1 {{scale must be finite}}
  %0 = graph.moe softmax_topk %x, %l into [[@in]] down [@down] {experts = 4 : i64, top_k = 2 : i64, gated, scale = 0x7F800000 : f32, activation = #graph<activation silu>} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %l: tensor<?x4xf32>) {
  // expected-error @+2 {{expected ::mlc::graph::RouterForm to be one of}}
  // expected-error @+1 {{failed to parse}}
  %0 = graph.moe hash %x, %l into [] down [] {} : tensor<?x32xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
  return
}

// -----

func.func @f(%x: tensor<?x32xf32>, %s: tensor<?x2xf32>) {
  // expected-error @+1 {{takes a matrix and one factor for each of its rows}}
  %0 = graph.scale_rows sigmoid %x, %s : tensor<?x32xf32>, tensor<?x2xf32>
  return
}
