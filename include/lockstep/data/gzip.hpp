// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <zlib.h>

#include <lockstep/io/message.hpp>

namespace lockstep::data {

/// Unpacks gzip archives for the readers that take an unpacker: `idx(folder, gzip{})`. This is the only header that
/// needs zlib: call `find_package(ZLIB)`, and link ZLIB::ZLIB (or -lz).
struct gzip {
  /// Returns the first `most` unpacked bytes, or all when there are fewer. Throws io_error when the archive cannot be
  /// opened, or is damaged or truncated before that point. Memory grows with the bytes unpacked, whatever a header
  /// claims.
  [[nodiscard]] std::vector<std::uint8_t> operator()(const std::string& path, std::size_t most) const {
    struct closer {
      void operator()(::gzFile file) const { static_cast<void>(::gzclose_r(file)); }
    };
    const std::unique_ptr<std::remove_pointer_t<::gzFile>, closer> file(::gzopen(path.c_str(), "rb"));
    if (file == nullptr) lockstep::detail::throw_io_error(path, {"cannot open for reading"});
    constexpr std::size_t at_once = std::size_t{1} << 20U;
    std::vector<std::uint8_t> bytes;
    while (bytes.size() < most) {
      const std::size_t before = bytes.size();
      bytes.resize(before + (std::min)(most - before, at_once));
      const int count = ::gzread(file.get(), bytes.data() + before, static_cast<unsigned>(bytes.size() - before));
      bytes.resize(before + static_cast<std::size_t>((std::max)(count, 0)));
      int code = Z_OK;
      const char* const reason = ::gzerror(file.get(), &code);
      if (count < 0 || code == Z_BUF_ERROR)
        lockstep::detail::throw_io_error(path, {"expected a whole gzip archive, got one that is ",
                                                code == Z_BUF_ERROR ? "truncated" : "damaged", " (", reason, ")"});
      if (count == 0) break;
    }
    return bytes;
  }
};

}  // namespace lockstep::data
