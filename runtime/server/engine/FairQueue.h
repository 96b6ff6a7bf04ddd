//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Requests that wait, in turns among the keys of their clients. Not thread-safe.
//
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <unordered_map>

namespace mlc::server {

/// `T` has a member `fairnessKey`.
template <typename T> class FairQueue {
public:
  void push(std::shared_ptr<T> job) {
    auto [client, fresh] = clients.try_emplace(job->fairnessKey);
    if (fresh)
      turns.push_back(job->fairnessKey);
    client->second.push_back(std::move(job));
  }

  /// The first job of the first client that has one for which `ready` holds; its client is the last one then. The job
  /// stays in the queue.
  template <typename Ready> std::shared_ptr<T> next(Ready &&ready) {
    for (auto turn = turns.begin(); turn != turns.end(); ++turn)
      for (const std::shared_ptr<T> &job : clients[*turn])
        if (ready(*job)) {
          std::shared_ptr<T> found = job;
          turns.splice(turns.end(), turns, turn);
          return found;
        }
    return nullptr;
  }

  void remove(const T &job) {
    auto client = clients.find(job.fairnessKey);
    if (client == clients.end())
      return;
    std::erase_if(client->second, [&](const std::shared_ptr<T> &other) { return other.get() == &job; });
    if (!client->second.empty())
      return;
    turns.remove(job.fairnessKey);
    clients.erase(client);
  }

private:
  std::unordered_map<uint64_t, std::deque<std::shared_ptr<T>>> clients;
  std::list<uint64_t> turns;
};

} // namespace mlc::server
