//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/MappedFile.h"

#include "llvm/ADT/Twine.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;

namespace mlc {

Expected<std::unique_ptr<MappedFile>> MappedFile::open(StringRef path) {
  std::unique_ptr<MappedFile> file(new MappedFile);
  file->name = path.str();
  auto fail = [&](const Twine &what) { return createStringError(inconvertibleErrorCode(), path + ": " + what); };
  // O_NONBLOCK: opening a FIFO by mistake must not wait for a writer.
  int descriptor = ::open(file->name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return fail(Twine("cannot be opened: ") + strerror(errno));
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size <= 0) {
    close(descriptor);
    return fail("is empty or no regular file");
  }
  file->device = status.st_dev;
  file->inode = status.st_ino;
  file->size = size_t(status.st_size);
  void *memory = mmap(nullptr, file->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  int problem = errno;
  close(descriptor);
  if (memory == MAP_FAILED)
    return fail(Twine("cannot be mapped: ") + strerror(problem));
  file->memory = static_cast<const uint8_t *>(memory);
  return file;
}

MappedFile::~MappedFile() {
  if (memory)
    munmap(const_cast<uint8_t *>(memory), size);
}

void MappedFile::discard(const uint8_t *begin, uint64_t count) const {
  // Only whole pages inside the range: its neighbours may still be in use.
  const size_t page = size_t(sysconf(_SC_PAGESIZE));
  size_t offset = size_t(begin - memory), first = (offset + page - 1) / page * page;
  size_t last = (offset + count) / page * page;
  if (first < last)
    madvise(const_cast<uint8_t *>(memory) + first, last - first, MADV_DONTNEED);
}

Expected<std::string> readSmallFile(StringRef path, uint64_t limit) {
  auto file = MappedFile::open(path);
  if (!file)
    return file.takeError();
  ArrayRef<uint8_t> bytes = (*file)->bytes();
  if (bytes.size() > limit)
    return createStringError(inconvertibleErrorCode(), path + ": holds " + Twine(bytes.size()) +
                                                           " bytes, more than the " + Twine(limit) +
                                                           " that such a file may have");
  return std::string(reinterpret_cast<const char *>(bytes.data()), bytes.size());
}

} // namespace mlc
