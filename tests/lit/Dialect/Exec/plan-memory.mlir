// RUN: mlc-opt %s -exec-plan-memory -exec-verify-planned | FileCheck %s

// CHECK: exec.model {{.*}}arena_size = 1088 : i64
exec.model "llama" {vocab_size = 16 : i64, trained_context = 64 : i64, max_context = 64 : i64, max_batch = 8 : i64,
  max_sequences = 2 : i64, max_rows = 8 : i64}
exec.extent @tokens at_most 8

// Constants follow one another at multiples of 64 bytes.
// CHECK: exec.constant @a : memref<3xf32> values {{.*}} at 0
exec.constant @a : memref<3xf32> values [1.0, 2.0, 3.0]
// CHECK: exec.constant @b : memref<1xf32> values {{.*}} at 64
exec.constant @b : memref<1xf32> values [1.0]

// CHECK: exec.func @chain
exec.func @chain {
  // x lives until the second kernel, y from the first to the third: z may take x's place.
  // CHECK: %[[X:.*]] = exec.slot ["tokens", 16] input 0 at [[OX:[0-9]+]]
  %x = exec.slot ["tokens", 16] input 0 : memref<?x16xf32>
  // CHECK: exec.slot ["tokens", 16] at {{[0-9]+}} {tap = "y"}
  %y = exec.slot ["tokens", 16] {tap = "y"} : memref<?x16xf32>
  // CHECK: exec.slot ["tokens", 16] at [[OX]] {tap = "z"}
  %z = exec.slot ["tokens", 16] {tap = "z"} : memref<?x16xf32>
  // A slot that nothing touches goes away.
  // CHECK-NOT: exec.slot ["tokens", 999]
  %unused = exec.slot ["tokens", 999] : memref<?x999xf32>
  exec.kernel "a" version 1 {}(%x) -> (%y) : (memref<?x16xf32>) -> memref<?x16xf32>
  exec.kernel "b" version 1 {}(%y) -> (%z) : (memref<?x16xf32>) -> memref<?x16xf32>
  exec.return %z : memref<?x16xf32>
}

// Functions do not share.
// CHECK: exec.func @second
exec.func @second {
  // CHECK: exec.slot [] at 1024
  %s = exec.slot [] : memref<i64>
  exec.kernel "a" version 1 {}() -> (%s) : () -> memref<i64>
  exec.return
}
