// RUN: mlc-opt %s -graph-set-bounds | FileCheck %s
// RUN: mlc-opt %s -graph-set-bounds='context=100 batch=7 sequences=2' | FileCheck %s --check-prefix=GIVEN
// RUN: mlc-opt %s -graph-set-bounds='context=4 batch=512 sequences=2' | FileCheck %s --check-prefix=SMALL
// RUN: not mlc-opt %s -graph-set-bounds='context=20000' 2>&1 | FileCheck %s --check-prefix=BEYOND
// RUN: not mlc-opt %s -graph-set-bounds='batch=0' 2>&1 | FileCheck %s --check-prefix=ZERO

// The context is at most 8192 unless asked for; a step never asks for more than 64 rows of logits.
// CHECK: graph.model {{.*}}max_batch = 512 : i64, max_context = 8192 : i64, max_rows = 64 : i64, max_sequences = 8 : i64
// GIVEN: graph.model {{.*}}max_batch = 7 : i64, max_context = 100 : i64, max_rows = 7 : i64, max_sequences = 2 : i64
// All sequences together hold 8 positions, so no step has more tokens.
// SMALL: graph.model {{.*}}max_batch = 8 : i64, max_context = 4 : i64, max_rows = 8 : i64, max_sequences = 2 : i64
// BEYOND: error: --context 20000 is beyond the 16384 positions that the model covers; lower it or stretch them with --rope
// ZERO: error: context, batch and sequences must be positive
graph.model "llama" {vocab_size = 8 : i64, trained_context = 16384 : i64}

// CHECK: graph.extent @tokens at_most 512
// CHECK: graph.extent @rows at_most 64
// CHECK: graph.extent @frames at_most 3
// GIVEN: graph.extent @tokens at_most 7
// GIVEN: graph.extent @rows at_most 7
graph.extent @tokens
graph.extent @rows
graph.extent @frames at_most 3
