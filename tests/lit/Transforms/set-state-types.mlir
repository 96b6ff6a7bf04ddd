// RUN: mlc-opt %s -graph-set-state-types | FileCheck %s -DTYPE=f32
// RUN: mlc-opt %s -graph-set-state-types=kv=f16 | FileCheck %s -DTYPE=f16
// RUN: mlc-opt %s -graph-set-state-types=kv=bf16 | FileCheck %s -DTYPE=bf16
// RUN: mlc-opt %s -graph-set-state-types=kv=int8 | FileCheck %s -DTYPE=i8
// RUN: not mlc-opt %s -graph-set-state-types=kv=int4 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: mlc-opt %s -graph-set-state-types='ssm=bf16 checkpoint-every=512' | FileCheck %s --check-prefix=SSM
// RUN: not mlc-opt %s -graph-set-state-types=ssm=f16 2>&1 | FileCheck %s --check-prefix=UNKNOWN-SSM
// RUN: not mlc-opt %s -graph-set-state-types=checkpoint-every=24 2>&1 | FileCheck %s --check-prefix=EVERY
// RUN: sed '/^graph.state @[cs] /d' %s > %t.mlir
// RUN: not mlc-opt %t.mlir -graph-set-state-types=checkpoint-every=32 2>&1 | FileCheck %s --check-prefix=NONE

// SSM: graph.model "m" {checkpoint_every = 512 : i64
graph.model "m" {vocab_size = 4 : i64, trained_context = 8 : i64}
// UNKNOWN-SSM: error: --ssm f16: choose f32 or bf16
// EVERY: error: --checkpoint-every 24: a multiple of 16 positions is expected
// NONE: error: --checkpoint-every 32: the model has no recurrent state; leave it out
// UNKNOWN: error: --kv int4: choose f32, f16, bf16 or int8
// CHECK: graph.state @a kv sequence {dtype = [[TYPE]],
graph.state @a kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64}
// CHECK: graph.state @b kv sequence {dtype = [[TYPE]],
graph.state @b kv sequence {kv_heads = 2 : i64, head_dim = 8 : i64, window = 4 : i64}
// SSM: graph.state @c conv sequence {{.*}}dtype = f32
graph.state @c conv sequence {channels = 20 : i64, kernel = 4 : i64}
// SSM: graph.state @s ssm sequence {dtype = bf16
graph.state @s ssm sequence {heads = 4 : i64, head_dim = 3 : i64, groups = 2 : i64, state_size = 2 : i64}
