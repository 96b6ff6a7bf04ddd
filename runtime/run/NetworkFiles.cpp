//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/NetworkFiles.h"
#include "runtime/artifact/Checks.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

namespace mlc::cli {

using ull = unsigned long long;

static constexpr size_t kMostInputBytes = sizeof(size_t) > 4 ? size_t(1) << 32 : size_t(1) << 30;

static Printable text(std::string_view name) { return Printable(name.data(), name.size()); }

static Error noMemory() { return Error(ErrorCode::OutOfMemory, "--input: no memory"); }

/// "a, b, c" of the ports that `wanted` takes, as far as a message has room.
template <typename F> static Status listNames(std::span<const FilePort> ports, const F &wanted, Buffer<char> &list) {
  for (size_t i = 0; i < ports.size(); ++i) {
    if (!wanted(i))
      continue;
    if (list.size() > 300) {
      if (!list.append(", ...", 5))
        return noMemory();
      break;
    }
    Printable name = text(ports[i].name);
    if ((list.size() && !list.append(", ", 2)) || !list.append(name.c_str(), strlen(name.c_str())))
      return noMemory();
  }
  return list.append('\0') ? Status() : Status(noMemory());
}

const NetworkInputs::File *NetworkInputs::file(size_t port) const {
  for (unsigned i = 0; i < count; ++i)
    if (files[i].port == port)
      return &files[i];
  return nullptr;
}

Status NetworkInputs::read(const char *network, std::span<const FilePort> ports, const TextList &given, bool streams,
                           bool complete) {
  Buffer<char> names;
  for (const char *argument : given.span()) {
    const char *equals = strrchr(argument, '=');
    if (!equals || !equals[1])
      return Error(ErrorCode::InvalidArgument, "%s: --input %.200s: write NAME=F.npy", network, argument);
    std::string_view name(argument, size_t(equals - argument));
    size_t port = 0;
    while (port < ports.size() && name != ports[port].name)
      ++port;
    if (port == ports.size()) {
      MLC_TRY(listNames(ports, [](size_t) { return true; }, names));
      return Error(ErrorCode::InvalidArgument, "%s: --input: there is no input '%.60s'; there are: %s", network,
                   text(name).c_str(), names.view().data());
    }
    if (file(port))
      return Error(ErrorCode::InvalidArgument, "%s: --input: gives '%.60s' twice", network, text(name).c_str());
    files[count].port = port;
    MLC_TRY(readFile(ports, equals + 1, streams, files[count]));
    // Compared with those before it, so counted afterwards.
    MLC_TRY(checkShape(ports, equals + 1, files[count]));
    ++count;
  }
  if (!complete)
    return {};
  MLC_TRY(listNames(ports, [&](size_t port) { return !file(port); }, names));
  if (names.size() > 1)
    return Error(ErrorCode::InvalidArgument, "%s: give the inputs %s with --input NAME=F.npy", network,
                 names.view().data());
  return {};
}

Status NetworkInputs::readFile(std::span<const FilePort> ports, const char *path, bool streams, File &file) {
  const FilePort &port = ports[file.port];
  MLC_TRY(readAll(path, kMostInputBytes, file.bytes));
  NpyHeader &header = file.header;
  if (Status parsed = parseNpy(file.bytes.span(), header); !parsed)
    return Error(parsed.error().code(), "%s: %s", path, parsed.error().message());
  if (header.kind != port.kind || header.size != port.size)
    return Error(ErrorCode::InvalidArgument, "%s: holds %s, input '%.60s' is %s", path,
                 npyTypeName(header.kind, header.size), text(port.name).c_str(), port.typeName);
  file.stream = streams && header.axes == port.axes.size() + 1;
  if (header.axes - file.stream != port.axes.size())
    return Error(ErrorCode::InvalidArgument, "%s: has %u axes, input '%.60s' has %zu%s", path, header.axes,
                 text(port.name).c_str(), port.axes.size(), streams ? " (or one more in front, a run a row)" : "");
  if (!file.stream)
    return {};
  if (!header.shape[0] || (streamRuns && streamRuns != header.shape[0]))
    return Error(ErrorCode::InvalidArgument, "%s: is for %llu runs, other inputs for %llu", path, ull(header.shape[0]),
                 ull(streamRuns ? streamRuns : 1));
  streamRuns = header.shape[0];
  return {};
}

Status NetworkInputs::checkShape(std::span<const FilePort> ports, const char *path, const File &file) {
  const FilePort &port = ports[file.port];
  for (size_t i = 0; i < port.axes.size(); ++i) {
    const PortAxis &axis = port.axes[i];
    uint64_t elements = file.shape()[i];
    if (axis.name.empty()) {
      if (elements != axis.factor)
        return Error(ErrorCode::InvalidArgument, "%s: axis %zu has %llu elements, input '%.60s' has %llu", path, i,
                     ull(elements), text(port.name).c_str(), ull(axis.factor));
      continue;
    }
    // What the name stands for already, by this file or one before it.
    uint64_t known = 0;
    auto look = [&](const File &other, size_t upTo) {
      const FilePort &at = ports[other.port];
      for (size_t k = 0; k < upTo && !known; ++k)
        if (at.axes[k].name == axis.name)
          known = other.shape()[k] / at.axes[k].factor;
    };
    look(file, i);
    for (unsigned k = 0; k < count && !known; ++k)
      look(files[k], ports[files[k].port].axes.size());
    bool inside = elements >= 1 && elements % axis.factor == 0 && (!axis.most || elements <= axis.most);
    if (inside && (!known || known == elements / axis.factor))
      continue;
    Printable name = text(axis.name);
    if (known)
      return Error(ErrorCode::InvalidArgument, "%s: axis %zu has %llu elements; '%.60s' is %llu in this run", path, i,
                   ull(elements), name.c_str(), ull(known * axis.factor));
    return Error(ErrorCode::InvalidArgument, "%s: axis %zu has %llu elements; '%.60s' is %llu to %llu%s", path, i,
                 ull(elements), name.c_str(), ull(axis.factor), ull(axis.most),
                 axis.factor > 1 ? " in steps of the least" : "");
  }
  return {};
}

/// mkdir -p.
static Status makeDirectories(const char *path) {
  Buffer<char> part;
  for (const char *at = path;; ++at) {
    if ((!*at || *at == '/') && part.size()) {
      if (!part.append('\0'))
        return noMemory();
      struct stat info;
      if (mkdir(part.view().data(), 0777) &&
          (errno != EEXIST || stat(part.view().data(), &info) || !S_ISDIR(info.st_mode)))
        return Error(ErrorCode::Io, "%s: %s", path, errno == EEXIST ? "not a directory" : strerror(errno));
      part.truncate(part.size() - 1);
    }
    if (!*at)
      return {};
    if (!part.append(*at))
      return noMemory();
  }
}

Status NetworkOutputs::check(const char *network, std::span<const FilePort> ports) {
  for (const FilePort &port : ports) {
    if (!port.kind)
      return Error(ErrorCode::Unsupported, "%s: output '%.60s' is of %s, which .npy files lack", network,
                   text(port.name).c_str(), port.typeName);
    if (port.axes.size() >= kNpyMostAxes)
      return Error(ErrorCode::Unsupported, "%s: output '%.60s' has more than %u axes", network, text(port.name).c_str(),
                   kNpyMostAxes - 1);
  }
  return {};
}

Status NetworkOutputs::begin(const char *where, bool wantJson) {
  asJson = wantJson;
  directory = where && *where ? where : nullptr;
  if (directory)
    MLC_TRY(makeDirectories(directory));
  if (asJson) {
    json.open(nullptr, '{');
    json.open("outputs", '{');
  }
  return {};
}

JsonWriter &NetworkOutputs::end() {
  if (asJson)
    json.close('}');
  return json;
}

Status NetworkOutputs::finish() {
  if (!asJson)
    return flushOutput();
  json.close('}');
  return json.finish();
}

// NAME.npy, every other character as _; a number where two outputs would share it.
Status NetworkOutputs::path(std::string_view name, Buffer<char> &path) {
  auto append = [&](std::string_view part) { return path.append(part.data(), part.size()); };
  bool room = append(directory) && append("/");
  size_t begin = path.size();
  for (size_t i = 0; i < name.size() && i < 200; ++i) {
    char c = name[i];
    bool kept =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' || c == '-';
    room = room && path.append(kept ? c : '_');
  }
  size_t base = path.size();
  for (unsigned number = 0; room; ++number) {
    path.truncate(base);
    char digits[16] = "";
    if (number)
      snprintf(digits, sizeof digits, "%u", number);
    room = append(digits) && append("/");
    // Between slashes, as in `taken`.
    std::string_view framed = path.view().substr(begin - 1);
    if (taken.view().find(framed) != std::string_view::npos)
      continue;
    room = room && taken.append(framed.data(), framed.size());
    path.truncate(path.size() - 1);
    room = room && append(".npy") && path.append('\0');
    break;
  }
  return room ? Status() : Status(Error(ErrorCode::OutOfMemory, "%s: no memory", directory));
}

Status NetworkOutputs::add(const FilePort &port, std::span<const uint64_t> shape, std::span<const char> values) {
  Buffer<char> file;
  if (directory) {
    NpyHeader header;
    header.kind = port.kind;
    header.size = port.size;
    header.axes = unsigned(shape.size());
    for (size_t i = 0; i < shape.size(); ++i)
      header.shape[i] = shape[i];
    MLC_TRY(path(port.name, file));
    MLC_TRY(writeNpy(file.view().data(), header, values));
  }
  if (!asJson) {
    printf("%s %s [", text(port.name).c_str(), port.typeName);
    for (size_t i = 0; i < shape.size(); ++i)
      printf("%s%llu", i ? ", " : "", ull(shape[i]));
    printf("]%s%s\n", directory ? " " : "", directory ? file.view().data() : "");
    return {};
  }
  json.open(port.name, '{');
  if (directory)
    json.text("file", file.view().data());
  json.text("dtype", port.typeName);
  json.open("shape", '[');
  for (uint64_t extent : shape)
    json.count(nullptr, extent);
  json.close(']');
  json.close('}');
  return {};
}

} // namespace mlc::cli
