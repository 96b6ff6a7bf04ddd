// RUN: mlc-opt %s --convert-graph-to-exec='isas=x86-64-v2' --exec-plan-memory --exec-verify-planned | FileCheck %s

// Zeros that nothing reads but the caller.
module {
  graph.network "net"
  // CHECK: exec.func @main
  // CHECK: exec.slot [4] input 0
  // CHECK: %[[Y:[0-9]+]] = exec.slot [4] at
  // CHECK: exec.call_code @{{.*}}(%[[Y]])
  // CHECK: exec.return %[[Y]]
  func.func @main(%x: memref<4xf32> {graph.name = "x"}) -> (memref<4xf32> {graph.name = "y"}) {
    %zero = arith.constant 0.0 : f32
    %y = memref.alloc() : memref<4xf32>
    linalg.fill ins(%zero : f32) outs(%y : memref<4xf32>)
    return %y : memref<4xf32>
  }
}
