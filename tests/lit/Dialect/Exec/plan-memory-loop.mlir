// RUN: mlc-opt %s -exec-plan-memory -exec-verify-planned | FileCheck %s

exec.model "llama" {vocab_size = 16 : i64, trained_context = 64 : i64, max_context = 64 : i64, max_batch = 8 : i64,
  max_sequences = 2 : i64, max_rows = 8 : i64}

// What a loop reads of outside survives all of its iterations, even where no op after the read touches it.
// CHECK: exec.func @loop
exec.func @loop {
  // CHECK: exec.slot [32] at [[OX:[0-9]+]] {tap = "x"}
  %x = exec.slot [32] {tap = "x"} : memref<32xf32>
  // CHECK-NOT: exec.slot [32] at [[OX]] {tap = "y"}
  // CHECK: exec.slot [32] at {{[0-9]+}} {tap = "y"}
  %y = exec.slot [32] {tap = "y"} : memref<32xf32>
  exec.kernel "fill" version 1 {}() -> (%x) : () -> memref<32xf32>
  exec.loop trips 4 at_most 4 {
    exec.kernel "a" version 1 {}(%x) -> () : (memref<32xf32>) -> ()
    exec.kernel "fill" version 1 {}() -> (%y) : () -> memref<32xf32>
  }
  exec.return
}
