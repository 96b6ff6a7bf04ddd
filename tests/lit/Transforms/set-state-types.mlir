// RUN: mlc-opt %s -graph-set-state-types | FileCheck %s -DTYPE=f32
// RUN: mlc-opt %s -graph-set-state-types=kv=f16 | FileCheck %s -DTYPE=f16
// RUN: mlc-opt %s -graph-set-state-types=kv=bf16 | FileCheck %s -DTYPE=bf16
// RUN: mlc-opt %s -graph-set-state-types=kv=int8 | FileCheck %s -DTYPE=i8
// RUN: not mlc-opt %s -graph-set-state-types=kv=int4 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: error: --kv int4: choose f32, f16, bf16 or int8
// CHECK: graph.state @a kv sequence {dtype = [[TYPE]],
graph.state @a kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64}
// CHECK: graph.state @b kv sequence {dtype = [[TYPE]],
graph.state @b kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64, window = 4 : i64}
