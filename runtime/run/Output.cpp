//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Output.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace mlc::cli {

Status readAll(const char *path, size_t limit, Buffer<char> &bytes) {
  const char *name = path ? path : "standard input";
  struct stat info;
  FILE *file = path ? fopen(path, "rbe") : stdin;
  if (!file)
    return Error(errno == ENOENT ? ErrorCode::NotFound : ErrorCode::Io, "%s: %s", name, strerror(errno));
  if (path && !fstat(fileno(file), &info) && S_ISDIR(info.st_mode)) {
    fclose(file);
    return Error(ErrorCode::InvalidArgument, "%s: is a directory", name);
  }
  char chunk[65536];
  Status status;
  for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;) {
    bool tooLong = got > limit - bytes.size();
    if (!tooLong && bytes.append(chunk, got))
      continue;
    if (path)
      fclose(file);
    if (tooLong)
      return Error(ErrorCode::OutOfRange, "%s: longer than %zu bytes", name, limit);
    return Error(ErrorCode::OutOfMemory, "%s: no memory for %zu bytes", name, bytes.size() + got);
  }
  int failure = ferror(file) ? errno : 0;
  if (path)
    fclose(file);
  if (failure)
    return Error(ErrorCode::Io, "%s: %s", name, strerror(failure));
  return {};
}

Status flushOutput() {
  if (fflush(stdout) || ferror(stdout))
    return Error(ErrorCode::Io, "standard output: %s", strerror(errno));
  return {};
}

void JsonWriter::quote(std::string_view value) {
  fputc('"', out);
  for (unsigned char c : value)
    if (c == '"' || c == '\\')
      fprintf(out, "\\%c", c);
    else if (c == '\n')
      fputs("\\n", out);
    else if (c < 0x20)
      fprintf(out, "\\u%04x", c);
    else
      fputc(c, out);
  fputc('"', out);
}

void JsonWriter::begin(const char *key) {
  if (!first)
    fputc(',', out);
  first = false;
  if (key) {
    quote(key);
    fputc(':', out);
  }
}

void JsonWriter::open(const char *key, char bracket) {
  begin(key);
  fputc(bracket, out);
  first = true;
}

void JsonWriter::close(char bracket) {
  fputc(bracket, out);
  first = false;
}

void JsonWriter::text(const char *key, std::string_view value) {
  begin(key);
  quote(value);
}

void JsonWriter::number(const char *key, double value) {
  begin(key);
  if (isfinite(value))
    fprintf(out, "%.9g", value);
  else
    fputs("null", out);
}

void JsonWriter::count(const char *key, uint64_t value) {
  begin(key);
  fprintf(out, "%llu", (unsigned long long)value);
}

void JsonWriter::boolean(const char *key, bool value) {
  begin(key);
  fputs(value ? "true" : "false", out);
}

void JsonWriter::null(const char *key) {
  begin(key);
  fputs("null", out);
}

Status JsonWriter::finish() {
  fputc('\n', out);
  // A file's errors are seen when it is committed.
  return out == stdout ? flushOutput() : Status();
}

PartFile::~PartFile() {
  if (!file)
    return;
  fclose(file);
  unlink(temporary);
}

Error PartFile::failed() const { return Error(ErrorCode::Io, "%s: %s", path, strerror(errno)); }

Status PartFile::create(const char *target) {
  path = target;
  // The rename at the end would put a file in a device's place.
  struct stat info;
  if (!stat(target, &info) && !S_ISREG(info.st_mode))
    return Error(ErrorCode::Io, "%s: is not a regular file; name another output", target);
  if (snprintf(temporary, sizeof temporary, "%s.%d.part", target, int(getpid())) >= int(sizeof temporary))
    return Error(ErrorCode::Io, "%s: the path is too long", target);
  file = fopen(temporary, "wbxe");
  if (!file)
    return failed();
  return {};
}

Status PartFile::commit() {
  if (fflush(file) || ferror(file))
    return failed();
  int closed = fclose(file);
  file = nullptr;
  if (closed || rename(temporary, path)) {
    Error error = failed();
    unlink(temporary);
    return error;
  }
  return {};
}

// Version 1.0: magic, version, header length, then a dictionary padded with spaces to a fixed 128 bytes.
static constexpr size_t kNpyHeader = 128;

Status NpyWriter::create(const char *path, size_t width) {
  columns = width;
  MLC_TRY(file.create(path));
  return header();
}

Status NpyWriter::header() {
  char text[kNpyHeader];
  memset(text, ' ', sizeof text);
  memcpy(text, "\x93NUMPY\x01\x00\x76\x00", 10);
  int size = snprintf(text + 10, sizeof text - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }",
                      rows, columns);
  text[10 + size] = ' ';
  text[kNpyHeader - 1] = '\n';
  if (fwrite(text, 1, sizeof text, file.stream()) != sizeof text)
    return file.failed();
  return {};
}

Status NpyWriter::row(std::span<const float> values) {
  if (fwrite(values.data(), sizeof(float), values.size(), file.stream()) != values.size())
    return file.failed();
  ++rows;
  return {};
}

Status NpyWriter::commit() {
  // Rewound, the head now knows how many rows follow it.
  if (fseek(file.stream(), 0, SEEK_SET))
    return file.failed();
  MLC_TRY(header());
  return file.commit();
}

} // namespace mlc::cli
