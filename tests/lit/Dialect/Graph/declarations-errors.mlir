// RUN: mlc-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{vocab_size must be positive and fit 31 bits}}
graph.model "llama" {vocab_size = 0 : i64, trained_context = 8 : i64}

// -----

// expected-error @+1 {{vocab_size must be positive and fit 31 bits}}
graph.model "llama" {vocab_size = 2147483648 : i64, trained_context = 8 : i64}

// -----

// expected-error @+1 {{trained_context must be positive}}
graph.model "llama" {vocab_size = 8 : i64, trained_context = -1 : i64}

// -----

// expected-error @+1 {{end token 8 lies outside the vocabulary}}
graph.model "llama" {vocab_size = 8 : i64, trained_context = 8 : i64, end_tokens = array<i32: 7, 8>}

// -----

// expected-error @+1 {{end token -1 lies outside the vocabulary}}
graph.model "llama" {vocab_size = 8 : i64, trained_context = 8 : i64, end_tokens = array<i32: -1>}

// -----

// expected-error @+1 {{max_context, max_batch, max_sequences and max_rows must be positive}}
graph.model "llama" {vocab_size = 8 : i64, trained_context = 8 : i64, max_batch = 0 : i64}

// -----

// expected-error @+1 {{requires attribute 'vocab_size'}}
"graph.model"() {architecture = "llama", trained_context = 8 : i64} : () -> ()

// -----

// expected-error @+1 {{bound must be positive}}
graph.extent @tokens at_most 0

// -----

// expected-error @+1 {{needs a static shape of at least one axis}}
graph.weight @w : tensor<?x8xf32> stored f32

// -----

// expected-error @+1 {{needs a static shape of at least one axis}}
graph.weight @w : tensor<f32> stored f32

// -----

// expected-error @+1 {{shape is empty or absurdly large}}
graph.weight @w : tensor<0x8xf32> stored f32

// -----

// expected-error @+1 {{shape is empty or absurdly large}}
graph.weight @w : tensor<1073741824x1073741824xf32> stored f32

// -----

// expected-error @+1 {{shape is empty or absurdly large}}
graph.weight @w : tensor<4294967296x4294967296x4294967296xf32> stored f32

// -----

// expected-error @+1 {{of type 'tensor<8x8xi8>' cannot be stored f32}}
graph.weight @w : tensor<8x8xi8> stored f32

// -----

// expected-error @+1 {{stored q4_0, whose blocks of 32 do not divide 48 columns}}
graph.weight @w : tensor<8x48xf32> stored q4_0

// -----

// expected-error @+1 {{stored q6_k, whose blocks of 256 do not divide 128 columns}}
graph.weight @w : tensor<8x128xf32> stored q6_k

// -----

// expected-error @+2 {{expected ::mlc::graph::Storage to be one of}}
// expected-error @+3 {{failed to parse Graph_StorageAttr}}
graph.weight @w : tensor<8x32xf32> stored iq4_nl

// -----

// expected-error @+1 {{only a matrix, or one for each expert, can be quantized}}
graph.weight @w : tensor<64xf32> stored f32 as <bits = 8, group = 32>

// -----

// expected-error @+1 {{importance needs one value for each column of a matrix}}
graph.weight @w : tensor<8x3xf32> stored f32 {importance = array<f32: 1.0, 2.0>}

// -----

// expected-error @+1 {{importance needs one value for each column of a matrix}}
graph.weight @w : tensor<2xf32> stored f32 {importance = array<f32: 1.0, 2.0>}

// -----

// expected-error @+1 {{importance needs one value for each column of a matrix, or of one for each expert}}
graph.weight @w : tensor<2x8x2xf32> stored f32 {importance = array<f32: 1.0, 2.0>}

// -----

// expected-error @+1 {{importance must be finite and not negative}}
graph.weight @w : tensor<8x2xf32> stored f32 {importance = array<f32: 1.0, -2.0>}

// -----

// expected-error @+1 {{importance must be finite and not negative}}
graph.weight @w : tensor<8x2xf32> stored f32 {importance = array<f32: 1.0, 0x7F800000>}

// -----

// expected-error @+1 {{bits must be 4 or 8, not 3}}
graph.weight @w : tensor<8x64xf32> stored f32 as <bits = 3, group = 32>

// -----

// expected-error @+1 {{group must be 32, 64 or 128, not 16}}
graph.weight @w : tensor<8x64xf32> stored f32 as <bits = 4, group = 16>

// -----

// expected-error @+1 {{only 4-bit weights may be asymmetric}}
graph.weight @w : tensor<8x64xf32> stored f32 as <bits = 8, group = 32, asymmetric = true>

// -----

// expected-error @+1 {{kind membrane is not available yet; kv, conv and ssm are}}
graph.state @s membrane sequence {kv_heads = 1 : i64, head_dim = 8 : i64}

// -----

// expected-error @+1 {{of kind ssm has no kv_heads}}
graph.state @s ssm sequence {kv_heads = 1 : i64, head_dim = 8 : i64}

// -----

// expected-error @+1 {{a kv state belongs to a sequence}}
graph.state @s kv model {kv_heads = 1 : i64, head_dim = 8 : i64}

// -----

// expected-error @+1 {{kv_heads and head_dim must be positive, window not negative}}
graph.state @s kv sequence {kv_heads = 0 : i64, head_dim = 8 : i64}

// -----

// expected-error @+1 {{kv_heads and head_dim must be positive, window not negative}}
graph.state @s kv sequence {kv_heads = 1 : i64, head_dim = 8 : i64, window = -1 : i64}

// -----

// expected-error @+1 {{dtype must be f32, f16, bf16 or i8}}
graph.state @s kv sequence {kv_heads = 1 : i64, head_dim = 8 : i64, dtype = f64}

// -----

// expected-note @+1 {{see existing symbol definition here}}
graph.weight @w : tensor<8xf32> stored f32
// expected-error @+1 {{redefinition of symbol named 'w'}}
graph.weight @w : tensor<8xf32> stored f32

// -----

// expected-error @+1 {{channels must be positive, kernel from 2 to 17}}
graph.state @s conv sequence {channels = 8 : i64, kernel = 1 : i64}

// -----

// expected-error @+1 {{channels must be positive, kernel from 2 to 17}}
graph.state @s conv sequence {kernel = 4 : i64}

// -----

// expected-error @+1 {{dtype must be f32}}
graph.state @s conv sequence {channels = 8 : i64, kernel = 4 : i64, dtype = bf16}

// -----

// expected-error @+1 {{groups must divide the 6 heads}}
graph.state @s ssm sequence {heads = 6 : i64, head_dim = 8 : i64, groups = 4 : i64, state_size = 16 : i64}

// -----

// expected-error @+1 {{heads, head_dim and state_size must be positive, and their product at most 2^32}}
graph.state @s ssm sequence {heads = 65536 : i64, head_dim = 65536 : i64, groups = 1 : i64, state_size = 16 : i64}

// -----

// expected-error @+1 {{dtype must be f32 or bf16}}
graph.state @s ssm sequence {heads = 6 : i64, head_dim = 8 : i64, groups = 1 : i64, state_size = 16 : i64, dtype = f16}

// -----

// expected-error @+1 {{checkpoint_every must be a positive multiple of 16}}
graph.model "m" {vocab_size = 4 : i64, trained_context = 8 : i64, checkpoint_every = 24 : i64}
