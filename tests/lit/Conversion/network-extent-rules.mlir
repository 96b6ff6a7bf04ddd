// RUN: mlc-opt %s --network-decompose --network-fuse --network-bufferize --convert-graph-to-exec='isas=x86-64-v2' --exec-plan-memory --exec-verify-planned | FileCheck %s

// An extent that follows from others has a rule, its least value and its bound: t - 4 of 0 to 8.
module {
  graph.network "net"
  graph.extent @t at_most 12
  // CHECK: exec.extent @t at_most 12
  // CHECK-LABEL: exec.func @main
  // CHECK: exec.slot ["t"] input 0
  // CHECK: exec.slot ["t + -4"]
  // CHECK: exec.extent @"t + -4" at_most 8 is add "t" -4
  func.func @main(%x: tensor<?xf32> {graph.dims = ["t"], graph.name = "x"}) -> (tensor<?xf32> {graph.name = "y"}) {
    %c0 = arith.constant 0 : index
    %less = arith.constant -4 : index
    %t = tensor.dim %x, %c0 : tensor<?xf32>
    %rest = arith.addi %t, %less : index
    %part = tensor.extract_slice %x[4] [%rest] [1] : tensor<?xf32> to tensor<?xf32>
    %y = math.exp %part : tensor<?xf32>
    return %y : tensor<?xf32>
  }
}
