//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Time to load an artifact, verified, against the time to read() the file once; both from the page cache. Prints one
// JSON object. Usage: artifact_load_bench [MEBIBYTES [THREADS]], or FILE.mlca instead of the size.
//
#include "runtime/artifact/Artifact.h"
#include "tests/unit/support/TinyArtifact.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <unistd.h>

using namespace mlc;

static double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static double readOnce(const char *path, std::vector<uint8_t> &buffer) {
  double start = seconds();
  int descriptor = open(path, O_RDONLY);
  while (read(descriptor, buffer.data(), buffer.size()) > 0) {
  }
  close(descriptor);
  return seconds() - start;
}

int main(int argc, char **argv) {
  std::string path = argc > 1 ? argv[1] : "256";
  unsigned threads = argc > 2 ? unsigned(atoi(argv[2])) : 1;
  if (size_t mebibytes = strtoull(path.c_str(), nullptr, 10)) {
    test::TinyModel model = test::makeTinyModel();
    model.weights.resize(mebibytes << 20, 0x5a);
    model.metadata.segments[0]->size = model.weights.size();
    path = test::temporaryPath("load.mlca");
    test::writeModel(model, path);
  }
  auto pool = WorkerPool::create(threads);
  LoadOptions options;
  options.pool = threads > 1 && pool ? *pool : nullptr;
  std::vector<uint8_t> buffer(1 << 20);
  readOnce(path.c_str(), buffer);
  std::vector<double> reads, loads;
  uint64_t size = 0;
  for (int i = 0; i < 9; ++i) {
    reads.push_back(readOnce(path.c_str(), buffer));
    double start = seconds();
    auto artifact = Artifact::open(path.c_str(), options);
    if (!artifact) {
      fprintf(stderr, "%s\n", artifact.error().message());
      return 1;
    }
    loads.push_back(seconds() - start);
    size = artifact->fileSize();
  }
  std::sort(reads.begin(), reads.end());
  std::sort(loads.begin(), loads.end());
  printf("{\"bytes\": %llu, \"threads\": %u, \"read_ms\": %.3f, \"load_ms\": %.3f, \"ratio\": %.3f}\n",
         static_cast<unsigned long long>(size), threads, reads[4] * 1e3, loads[4] * 1e3, loads[4] / reads[4]);
  if (pool)
    WorkerPool::destroy(*pool);
  return 0;
}
