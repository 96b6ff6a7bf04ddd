// RUN: mlc-opt %s -split-input-file -verify-diagnostics

graph.state @kv kv sequence {kv_heads = 1 : i64, head_dim = 8 : i64, dtype = i8}
func.func @f(%q: tensor<?x8xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{takes products i8 of a state of i8, and of no other}}
  %0 = graph.attention %q, %q, %q, %batch, @kv {heads = 1 : i64, products = #graph<products bf16>, scale = 1.0 : f32} : tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

graph.state @kv kv sequence {kv_heads = 1 : i64, head_dim = 8 : i64, dtype = bf16}
func.func @f(%q: tensor<?x8xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{takes products i8 of a state of i8, and of no other}}
  %0 = graph.attention %q, %q, %q, %batch, @kv {heads = 1 : i64, products = #graph<products i8>, scale = 1.0 : f32} : tensor<?x8xf32>, tensor<?x8xf32>
  return
}

// -----

graph.state @kv kv sequence {kv_heads = 1 : i64, head_dim = 1028 : i64, dtype = i8}
func.func @f(%q: tensor<?x1028xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{takes products i8 of a head_dim of at most 1024}}
  %0 = graph.attention %q, %q, %q, %batch, @kv {heads = 1 : i64, products = #graph<products i8>, scale = 1.0 : f32} : tensor<?x1028xf32>, tensor<?x1028xf32>
  return
}

// -----

func.func @f(%q: tensor<?x32xf32>, %k: tensor<?x16xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{names @kv, which is no graph.state of kind kv}}
  %0 = graph.attention %q, %k, %k, %batch, @kv {heads = 4 : i64, scale = 1.0 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  return
}

// -----

graph.weight @kv : tensor<8xf32> stored f32
func.func @f(%q: tensor<?x32xf32>, %k: tensor<?x16xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{names @kv, which is no graph.state of kind kv}}
  %0 = graph.attention %q, %k, %k, %batch, @kv {heads = 4 : i64, scale = 1.0 : f32} : tensor<?x32xf32>, tensor<?x16xf32>
  return
}

// -----

graph.state @kv kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64}
func.func @f(%q: tensor<?x24xf32>, %k: tensor<?x16xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{heads must be a multiple of the state's 2 kv heads}}
  %0 = graph.attention %q, %k, %k, %batch, @kv {heads = 3 : i64, scale = 1.0 : f32} : tensor<?x24xf32>, tensor<?x16xf32>
  return
}

// -----

graph.state @kv kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64}
func.func @f(%q: tensor<?x24xf32>, %k: tensor<?x16xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{query must have heads * head_dim columns, key and value kv_heads * head_dim}}
  %0 = graph.attention %q, %k, %k, %batch, @kv {heads = 4 : i64, scale = 1.0 : f32} : tensor<?x24xf32>, tensor<?x16xf32>
  return
}

// -----

graph.state @kv kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64}
func.func @f(%q: tensor<?x32xf32>, %k: tensor<?x8xf32>, %batch: !graph.batch) {
  // expected-error @+1 {{query must have heads * head_dim columns, key and value kv_heads * head_dim}}
  %0 = graph.attention %q, %k, %k, %batch, @kv {heads = 4 : i64, scale = 1.0 : f32} : tensor<?x32xf32>, tensor<?x8xf32>
  return
}
