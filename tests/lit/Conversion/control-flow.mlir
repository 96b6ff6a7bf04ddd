// RUN: mlc-opt %s -convert-graph-to-exec | FileCheck %s
// RUN: mlc-opt %s -convert-graph-to-exec -exec-plan-memory -exec-verify-planned | FileCheck %s --check-prefix=PLANNED

// PLANNED: arena_size = {{[1-9]}}
graph.model "llama" {vocab_size = 8 : i64, trained_context = 64 : i64, max_context = 64 : i64, max_batch = 8 : i64,
  max_sequences = 1 : i64, max_rows = 8 : i64}
graph.extent @tokens at_most 8

// CHECK: exec.func @branch
func.func @branch(%c: tensor<i1>, %x: tensor<?x16xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x16xf32> {
  // CHECK: %[[C:.*]] = exec.slot [] input 0 : memref<i1>
  // CHECK: %[[X:.*]] = exec.slot ["tokens", 16] input 1
  %condition = tensor.extract %c[] : tensor<i1>
  // CHECK: %[[Y:.*]] = exec.slot ["tokens", 16] : memref<?x16xf32>
  // CHECK: exec.if %[[C]] : memref<i1> {
  %y = scf.if %condition -> tensor<?x16xf32> {
    // CHECK: exec.kernel "unary" {{.*}}(%[[X]]) -> (%[[R:.*]]) :
    // CHECK: exec.kernel "copy" {{.*}}(%[[R]]) -> (%[[Y]])
    %r = graph.activation relu %x : tensor<?x16xf32>
    scf.yield %r : tensor<?x16xf32>
  } else {
    // CHECK: } else {
    // CHECK-NEXT: exec.kernel "copy" {{.*}}(%[[X]]) -> (%[[Y]])
    scf.yield %x : tensor<?x16xf32>
  }
  // CHECK: exec.return %[[Y]]
  return %y : tensor<?x16xf32>
}

// What a loop reads of outside is never overwritten: the next iteration reads it again.
// CHECK: exec.func @loop
func.func @loop(%x: tensor<?x16xf32> {graph.dims = ["tokens", ""]}) -> tensor<?x16xf32> {
  %from = arith.constant 0 : index
  %to = arith.constant 5 : index
  %by = arith.constant 2 : index
  // CHECK: exec.kernel "unary" {{.*}} -> (%[[OUTER:.*]]) :
  %outer = graph.activation relu %x : tensor<?x16xf32>
  // CHECK: %[[CARRIED:.*]] = exec.slot ["tokens", 16]
  // CHECK: exec.kernel "copy" {{.*}} -> (%[[CARRIED]])
  // CHECK: exec.loop trips 3 at_most 3 {
  %y = scf.for %i = %from to %to step %by iter_args(%a = %x) -> tensor<?x16xf32> {
    // CHECK-NOT: -> (%[[OUTER]])
    %t = graph.activation tanh %outer : tensor<?x16xf32>
    %s = arith.addf %a, %t : tensor<?x16xf32>
    // CHECK: exec.kernel "copy" {{.*}} -> (%[[CARRIED]])
    scf.yield %s : tensor<?x16xf32>
  }
  // CHECK: exec.return %[[CARRIED]]
  return %y : tensor<?x16xf32>
}
