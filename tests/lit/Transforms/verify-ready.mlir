// RUN: mlc-opt %s -graph-verify-ready -split-input-file -verify-diagnostics

// expected-error @below {{has no bounds; run graph-set-bounds first}}
graph.model "llama" {vocab_size = 8 : i64, trained_context = 8 : i64}

// -----

// expected-error @below {{has no bound; run graph-set-bounds first}}
graph.extent @tokens

// -----

// expected-error @below {{has no dtype; run graph-set-state-types first}}
graph.state @kv kv sequence {kv_heads = 1 : i64, head_dim = 8 : i64}

// -----

func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  // expected-error @below {{has no kernel; let it be compiled with --code auto, or write it with other ops}}
  %0 = math.exp %x : tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// -----

// expected-error @below {{follows no extent}}
func.func @f(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  // expected-error @below {{axis 0 of a 'tensor<?x8xf32>' follows no extent}}
  %0 = arith.addf %x, %x : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}
