//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/driver/Nccl.h"

#include <dlfcn.h>

namespace mlc::cuda {

Result<Nccl> Nccl::load() {
  void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library)
    return Error(ErrorCode::Unsupported,
                 "several GPUs need NCCL: %s; install libnccl2, or name its directory in "
                 "LD_LIBRARY_PATH",
                 dlerror());
  Nccl nccl;
  int version = 0;
#define MLC_NCCL_SYMBOL(NAME, SYMBOL, RESULT, PARAMETERS)                                                              \
  nccl.NAME = reinterpret_cast<RESULT(*) PARAMETERS>(dlsym(library, #SYMBOL));
  MLC_NCCL_CALLS(MLC_NCCL_SYMBOL)
#undef MLC_NCCL_SYMBOL
  // What later versions lack is nothing of these.
  if (!nccl.getVersion || nccl.getVersion(&version) != ncclSuccess || version < kNcclVersion || !nccl.allGather ||
      !nccl.commInitAll || !nccl.commAbort || !nccl.commDestroy || !nccl.getErrorString)
    return Error(ErrorCode::Unsupported, "libnccl.so.2 is too old: version %d, 2.10 is needed", version);
  return nccl;
}

Status Nccl::check(NcclResult result, const char *what) const {
  if (result == ncclSuccess)
    return {};
  const char *name = getErrorString(result);
  return Error(ErrorCode::Unsupported, "%s: NCCL: %s (%d)", what, name ? name : "unknown error", int(result));
}

} // namespace mlc::cuda
