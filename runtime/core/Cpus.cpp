//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/Cpus.h"

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <initializer_list>
#include <sys/syscall.h>
#include <unistd.h>

namespace mlc {

namespace {

/// A small text file; empty when it cannot be read or its path is too long.
struct SmallFile {
  char text[4096];

  __attribute__((format(printf, 2, 3))) explicit SmallFile(const char *format, ...) {
    text[0] = 0;
    char path[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    int file = length > 0 && size_t(length) < sizeof path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
      return;
    size_t size = 0;
    for (ssize_t got; size < sizeof text - 1 && (got = read(file, text + size, sizeof text - 1 - size)) > 0;)
      size += size_t(got);
    text[size] = 0;
    close(file);
  }
};

} // namespace

/// Whether `cpu` is the first allowed one of its core's.
static bool standsForCore(const CpuMask &allowed, unsigned cpu, const char *root) {
  SmallFile siblings("%s/sys/devices/system/cpu/cpu%u/topology/thread_siblings_list", root, cpu);
  // Ranges like "0-1,64".
  for (const char *at = siblings.text; *at >= '0' && *at <= '9';) {
    char *end;
    unsigned long first = strtoul(at, &end, 10), last = first;
    if (*end == '-')
      last = strtoul(end + 1, &end, 10);
    for (unsigned long other = first; other <= last && other < cpu; ++other)
      if (allowed.has(unsigned(other)))
        return false;
    at = *end == ',' ? end + 1 : end;
  }
  return true;
}

/// The path behind `label` ("0::" or ":cpu,cpuacct:") in /proc/self/cgroup as a span of its text; null when there is
/// none.
static const char *groupOf(const char *list, bool unified, size_t &length) {
  for (const char *line = list; *line;) {
    const char *end = strchr(line, '\n'), *names = strchr(line, ':');
    if (!end)
      end = line + strlen(line);
    const char *path = names ? strchr(names + 1, ':') : nullptr;
    if (path && path < end) {
      bool found = false;
      if (unified)
        found = path == names + 1;
      else
        for (const char *name = names + 1; name < path;) {
          const char *comma = static_cast<const char *>(memchr(name, ',', size_t(path - name)));
          const char *stop = comma ? comma : path;
          found |= stop - name == 3 && !memcmp(name, "cpu", 3);
          name = stop + 1;
        }
      if (found) {
        length = size_t(end - path - 1);
        return path + 1;
      }
    }
    line = *end ? end + 1 : end;
  }
  return nullptr;
}

/// Lowers `limit` to the whole CPUs that quota out of period allows.
static void applyQuota(const char *quota, const char *period, uint64_t &limit) {
  if (*quota < '0' || *quota > '9')
    return; // "max", -1 or no file: no quota.
  uint64_t share = strtoull(quota, nullptr, 10), whole = strtoull(period, nullptr, 10);
  if (!whole)
    return;
  // Rounded down: a thread that the quota stops in the middle keeps all others waiting.
  uint64_t cpus = share / whole ? share / whole : 1;
  limit = cpus < limit ? cpus : limit;
}

/// A group and its ancestors; inside a container, whose root is the group, the files lie at the top.
static void applyGroups(const char *root, const char *mount, const char *path, size_t length, bool unified,
                        uint64_t &limit) {
  for (;;) {
    while (length && path[length - 1] == '/')
      --length;
    if (unified) {
      SmallFile quota("%s/sys/fs/cgroup%s%.*s/cpu.max", root, mount, int(length), path);
      if (const char *space = strchr(quota.text, ' '))
        applyQuota(quota.text, space + 1, limit);
    } else {
      SmallFile quota("%s/sys/fs/cgroup%s%.*s/cpu.cfs_quota_us", root, mount, int(length), path);
      SmallFile period("%s/sys/fs/cgroup%s%.*s/cpu.cfs_period_us", root, mount, int(length), path);
      applyQuota(quota.text, period.text, limit);
    }
    if (!length)
      return;
    while (length && path[length - 1] != '/')
      --length;
  }
}

unsigned usableCores(const CpuMask &allowed, const char *root) {
  uint64_t cores = 0;
  for (unsigned cpu = 0; cpu < kMaxCpus; ++cpu)
    cores += allowed.has(cpu) && standsForCore(allowed, cpu, root);
  SmallFile groups("%s/proc/self/cgroup", root);
  size_t length;
  if (const char *path = groupOf(groups.text, /*unified=*/true, length))
    for (const char *mount : {"", "/unified"})
      applyGroups(root, mount, path, length, true, cores);
  if (const char *path = groupOf(groups.text, /*unified=*/false, length))
    for (const char *mount : {"/cpu", "/cpu,cpuacct"})
      applyGroups(root, mount, path, length, false, cores);
  return cores < 1 ? 1 : cores > 1024 ? 1024 : unsigned(cores);
}

unsigned usableCores() {
  CpuMask allowed;
  // The system call itself: glibc's cpu_set_t ends at 1024 CPUs.
  if (syscall(SYS_sched_getaffinity, 0, sizeof allowed.words, allowed.words) <= 0)
    return 1;
  return usableCores(allowed, "");
}

} // namespace mlc
