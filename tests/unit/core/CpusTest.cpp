//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Usable cores of machines made of files: siblings, affinity, quotas of both kinds of control groups.
//
#include "runtime/core/Cpus.h"

#include "gtest/gtest.h"

#include <filesystem>
#include <fstream>

using namespace mlc;

namespace {

struct Machine {
  Machine() : root(testing::TempDir() + "cpus-" + std::to_string(getpid())) { std::filesystem::remove_all(root); }
  ~Machine() { std::filesystem::remove_all(root); }
  Machine &file(const std::string &path, const std::string &text) {
    std::filesystem::create_directories((root + path).substr(0, (root + path).rfind('/')));
    std::ofstream(root + path) << text;
    return *this;
  }
  Machine &siblings(unsigned cpu, const char *list) {
    return file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list", list);
  }
  unsigned cores(std::initializer_list<unsigned> cpus) {
    CpuMask mask;
    for (unsigned cpu : cpus)
      mask.add(cpu);
    return usableCores(mask, root.c_str());
  }
  std::string root;
};

} // namespace

TEST(Cpus, SiblingsAreOneCore) {
  Machine machine;
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 4u); // Nothing is known about them.
  machine.siblings(0, "0,4\n").siblings(1, "1,5\n").siblings(4, "0,4\n").siblings(5, "1,5\n");
  EXPECT_EQ(machine.cores({0, 1, 4, 5}), 2u);
  EXPECT_EQ(machine.cores({1, 4, 5}), 2u);
  EXPECT_EQ(machine.cores({4, 5}), 2u);
  EXPECT_EQ(machine.cores({4}), 1u);
  machine.siblings(6, "6-7\n").siblings(7, "6-7\n");
  EXPECT_EQ(machine.cores({6, 7}), 1u);
  EXPECT_EQ(machine.cores({7}), 1u);
  EXPECT_EQ(machine.cores({}), 1u);
  EXPECT_EQ(machine.cores({8191}), 1u);
}

TEST(Cpus, QuotasOfTheGroupAndItsAncestorsBound) {
  Machine machine;
  machine.file("/proc/self/cgroup", "0::/a/b\n").file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 4u);
  machine.file("/sys/fs/cgroup/a/cpu.max", "350000 100000\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 3u);
  EXPECT_EQ(machine.cores({0, 1}), 2u);
  machine.file("/sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 1u);
  machine.file("/sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 1u);
  // Seen from inside of a container.
  machine.file("/proc/self/cgroup", "0::/\n").file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 2u);
}

TEST(Cpus, QuotasOfTheFirstVersion) {
  Machine machine;
  machine.file("/proc/self/cgroup", "5:cpuset:/set\n4:cpu,cpuacct:/box\n0::/\n")
      .file("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "-1\n")
      .file("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 4u);
  machine.file("/sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us", "200000\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 2u);
  machine.file("/proc/self/cgroup", "5:cpuset:/box\n");
  EXPECT_EQ(machine.cores({0, 1, 2, 3}), 4u);
}

TEST(Cpus, DamagedFilesBoundNothing) {
  for (const char *text :
       {"", "x", "1", "100000", "100000 ", "100000 0", "9999999999999999999999 1", ":::\n::", "-5 3"}) {
    Machine machine;
    machine.file("/proc/self/cgroup", "0::/\n").file("/sys/fs/cgroup/cpu.max", text).siblings(1, text);
    EXPECT_GE(machine.cores({0, 1}), 1u) << text;
    machine.file("/proc/self/cgroup", text);
    EXPECT_GE(machine.cores({0, 1}), 1u) << text;
  }
  EXPECT_GE(usableCores(), 1u);
}
