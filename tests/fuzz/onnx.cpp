//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ONNX files: imported to a graph that verifies, or refused in one line.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/Import.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Verifier.h"

#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!size)
    return 0;
  mlir::DialectRegistry registry;
  registry.insert<graph::GraphDialect, mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                  mlir::math::MathDialect, mlir::scf::SCFDialect, mlir::tensor::TensorDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  // A file without a name: the importer maps what it reads.
  int file = memfd_create("fuzz.onnx", MFD_CLOEXEC);
  if (file < 0 || write(file, data, size) != ssize_t(size))
    abort();
  std::string path = "/proc/self/fd/" + std::to_string(file);
  {
    auto network = onnx::importNetwork(path, context);
    if (!network) {
      if (llvm::toString(network.takeError()).find('\n') != std::string::npos)
        abort();
    } else if (failed(mlir::verify(*network->module))) {
      abort();
    }
  }
  close(file);
  return 0;
}
