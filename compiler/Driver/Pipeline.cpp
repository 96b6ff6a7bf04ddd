//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Driver/Pipeline.h"

#include "compiler/Conversion/GraphToExec/GraphToExec.h"
#include "compiler/Dialect/Exec/Transforms/Passes.h"
#include "compiler/Transforms/Network/Passes.h"
#include "compiler/Transforms/Passes.h"

#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlc;

void mlc::buildTransforms(mlir::PassManager &passes, const PipelineOptions &options) {
  graph::SetBoundsOptions bounds;
  bounds.context = options.context;
  bounds.batch = options.batch;
  bounds.sequences = options.sequences;
  passes.addPass(graph::createSetBounds(bounds));
  passes.addPass(graph::createSetStateTypes({options.kv, options.ssm, options.checkpointEvery}));
  passes.addPass(mlir::createInlinerPass());
  passes.addPass(mlir::createCSEPass());
  passes.addPass(graph::createGatherEarly());
  if (options.ranks > 1)
    passes.addPass(graph::createShardTensors({options.ranks}));
  graph::QuantizeOptions quantize;
  quantize.mode = options.quant;
  quantize.group = options.group;
  quantize.asymmetric = options.asymmetric;
  quantize.head = options.head;
  passes.addPass(graph::createQuantize(quantize));
  passes.addPass(graph::createFuseLinear());
  passes.addPass(graph::createFuseGate());
  passes.addPass(graph::createFuseResidual());
  passes.addPass(graph::createFuseNorm());
  if (options.fast) {
    if (options.quantizeRows)
      passes.addPass(graph::createQuantizeActivations({/*experts=*/!options.device}));
    passes.addPass(graph::createRoundProducts({options.device}));
    passes.addPass(graph::createFuseLinearGate({options.device}));
    passes.addPass(graph::createRoundAttention());
    passes.addPass(graph::createRoundScan());
  }
  if (options.code != "none")
    passes.addPass(graph::createOutlineElementwise({/*all=*/options.code == "all"}));
  passes.addPass(graph::createVerifyReady());
}

void mlc::buildNetworkDecomposition(mlir::PassManager &passes, const PipelineOptions &options, bool folds) {
  passes.addPass(mlir::createInlinerPass());
  passes.addPass(mlir::createCanonicalizerPass());
  passes.addPass(mlir::createCSEPass());
  graph::ChooseKernelsOptions choice;
  choice.kernels = options.kernels;
  choice.xnnpack = options.xnnpack;
  choice.folds = folds;
  choice.isas = options.cpus;
  passes.addPass(graph::createChooseKernels(choice));
  passes.addPass(graph::createDecomposeNetwork());
  passes.addPass(mlir::memref::createResolveShapedTypeResultDimsPass());
  passes.addPass(mlir::createCanonicalizerPass());
  passes.addPass(mlir::createCSEPass());
}

void mlc::buildNetworkTransforms(mlir::PassManager &passes) {
  passes.addPass(graph::createFuseStructured());
  passes.addPass(mlir::memref::createResolveShapedTypeResultDimsPass());
  passes.addPass(mlir::createCanonicalizerPass());
  passes.addPass(mlir::createCSEPass());
  passes.addPass(mlir::bufferization::createEmptyTensorEliminationPass());
  passes.addPass(graph::createBufferizeNetwork());
  passes.addPass(mlir::createCanonicalizerPass());
  passes.addPass(mlir::createCSEPass());
}

void mlc::buildConversion(mlir::PassManager &passes, const PipelineOptions &options) {
  ConvertGraphToExecOptions conversion;
  conversion.triple = options.triple;
  conversion.isas = options.cpus;
  conversion.device = options.device;
  conversion.kernels = options.kernels;
  passes.addPass(createConvertGraphToExec(conversion));
  if (options.device)
    passes.addPass(exec::createFuseNormLinear());
  passes.addPass(exec::createPlanMemory());
  passes.addPass(exec::createVerifyPlanned());
}
