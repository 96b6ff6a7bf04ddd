//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/driver/Driver.h"

#include <dlfcn.h>

namespace mlc::cuda {

Result<Driver> Driver::load() {
  // The driver keeps threads of its own: once opened it stays.
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library)
    return Error(ErrorCode::Unsupported, "no NVIDIA driver: %s", dlerror());
  Driver driver;
#define MLC_CUDA_SYMBOL(NAME, SYMBOL, PARAMETERS)                                                                      \
  if (driver.NAME = reinterpret_cast<CuResult(*) PARAMETERS>(dlsym(library, #SYMBOL)); !driver.NAME)                   \
    return Error(ErrorCode::Unsupported, "the NVIDIA driver is too old: it lacks %s; CUDA %d.%d is needed", #SYMBOL,   \
                 kDriverVersion / 1000, kDriverVersion % 1000 / 10);
  MLC_CUDA_CALLS(MLC_CUDA_SYMBOL)
#undef MLC_CUDA_SYMBOL
  if (CuResult started = driver.init(0); started == CUDA_ERROR_NO_DEVICE)
    return Error(ErrorCode::Unsupported, "the NVIDIA driver sees no GPU; see nvidia-smi and CUDA_VISIBLE_DEVICES");
  else
    MLC_TRY(driver.check(started, "the NVIDIA driver does not start"));
  int version = 0;
  MLC_TRY(driver.check(driver.driverGetVersion(&version), "the driver's version"));
  if (version < kDriverVersion)
    return Error(ErrorCode::Unsupported, "the NVIDIA driver is too old: it runs CUDA %d.%d, %d.%d is needed",
                 version / 1000, version % 1000 / 10, kDriverVersion / 1000, kDriverVersion % 1000 / 10);
  return driver;
}

Status Driver::check(CuResult result, const char *what) const {
  if (result == CUDA_SUCCESS)
    return {};
  const char *name = nullptr;
  if (getErrorName(result, &name) != CUDA_SUCCESS || !name)
    name = "unknown error";
  return Error(result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorCode::OutOfMemory : ErrorCode::Unsupported, "%s: %s (%d)",
               what, name, int(result));
}

} // namespace mlc::cuda
