//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/xnnpack/Library.h"

#include <cstdio>
#include <cstring>
#ifndef MLC_STATIC
#include <dlfcn.h>
#include <limits.h>
#include <unistd.h>
#endif

namespace mlc::xnnpack {

#ifdef MLC_STATIC

Result<const Plugin *> load() {
  return Error(ErrorCode::Unsupported,
               "its kernels are XNNPACK's, of %s, which a static program cannot load: compile with --kernels own, or "
               "run the program of a build that is not static",
               kLibrary);
}

#else

/// Whether the library lies in the folder of `file`, or in the lib beside that folder; then its path.
static bool liesBeside(const char *file, char (&path)[PATH_MAX]) {
  const char *slash = strrchr(file, '/');
  for (const char *between : {"/", "/../lib/"})
    if (slash &&
        snprintf(path, sizeof path, "%.*s%s%s", int(slash - file), file, between, kLibrary) < int(sizeof path) &&
        access(path, F_OK) == 0)
      return true;
  return false;
}

/// The library beside the file with this code (libmlc.so), beside the program, or where the system looks.
static void *open() {
  char path[PATH_MAX], program[PATH_MAX];
  Dl_info here;
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  program[length > 0 ? length : 0] = 0;
  bool found = dladdr(reinterpret_cast<void *>(&load), &here) && here.dli_fname && liesBeside(here.dli_fname, path);
  found = found || liesBeside(program, path);
  return dlopen(found ? path : kLibrary, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

Result<const Plugin *> load() {
  void *library = open();
  if (!library)
    return Error(ErrorCode::Unsupported,
                 "its kernels are XNNPACK's, of %s, which cannot be loaded (%s): put it beside the program, or compile "
                 "with --kernels own",
                 kLibrary, dlerror());
  auto entry = reinterpret_cast<const Plugin *(*)()>(dlsym(library, kEntry));
  const Plugin *plugin = entry ? entry() : nullptr;
  if (!plugin || plugin->layout != kLayout || strcmp(plugin->version, MLC_VERSION) != 0)
    return Error(ErrorCode::Unsupported, "%s is of another version than this program: install both from one build",
                 kLibrary);
  MLC_TRY(plugin->start());
  return plugin;
}

#endif

} // namespace mlc::xnnpack
