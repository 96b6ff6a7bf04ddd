// RUN: mlc-opt %s -graph-set-bounds -split-input-file -verify-diagnostics

// expected-error @below {{needs exactly one graph.model}}
module {
}

// -----

// expected-error @below {{needs exactly one graph.model}}
module {
  graph.model "llama" {vocab_size = 8 : i64, trained_context = 8 : i64}
  graph.model "llama" {vocab_size = 8 : i64, trained_context = 8 : i64}
}

// -----

graph.model "llama" {vocab_size = 8 : i64, trained_context = 8 : i64}
// expected-error @below {{extent @frames has no bound; give one with --dim}}
graph.extent @frames
