// RUN: mlc-opt %s -exec-verify-planned -split-input-file -verify-diagnostics

// expected-error @below {{has no offset; run exec-plan-memory first}}
exec.constant @w : memref<1xf32> values [1.0]

// -----

exec.func @f {
  // expected-error @below {{has no offset; run exec-plan-memory first}}
  %0 = exec.slot [8] : memref<8xf32>
  exec.return
}

// -----

exec.model "llama" {vocab_size = 16 : i64, trained_context = 64 : i64, max_context = 64 : i64, max_batch = 8 : i64,
  max_sequences = 2 : i64, max_rows = 8 : i64, arena_size = 64 : i64}
exec.func @f {
  // expected-error @below {{reaches beyond the arena}}
  %0 = exec.slot [32] at 0 : memref<32xf32>
  exec.return
}

// -----

// expected-error @below {{is left of a former level}}
graph.extent @tokens

// -----

exec.model "llama" {vocab_size = 16 : i64, trained_context = 64 : i64, max_context = 64 : i64, max_batch = 8 : i64,
  max_sequences = 2 : i64, max_rows = 8 : i64, arena_size = 256 : i64}
exec.func @f {
  %x = exec.slot [32] at 0 : memref<32xf32>
  // expected-error @below {{shares bytes with a slot that lives at the same time}}
  %y = exec.slot [32] at 64 : memref<32xf32>
  exec.kernel "a" version 1 {}(%x) -> (%y) : (memref<32xf32>) -> memref<32xf32>
  exec.return
}
