// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include <lockstep/core/error.hpp>
#include <lockstep/core/fork_guard.hpp>
#include <lockstep/core/start_thread.hpp>
#include <lockstep/io/checkpoint.hpp>
#include <lockstep/io/checkpoint_folder.hpp>

/// \file
/// Checkpoints of a run that goes on, in a folder, and runs that go on from the newest of them.

namespace lockstep {

/// A file that should be a checkpoint, and what is wrong with it.
struct damaged_checkpoint {
  std::string path;
  std::string reason;
};

/// The newest checkpoint of a folder that is whole, and those after it that are not.
struct checkpoint_search {
  std::optional<checkpoint_info> found;  ///< none in a folder without checkpoints
  std::vector<damaged_checkpoint> damaged;
};

struct checkpoints_options {
  std::int64_t every = 500;  ///< steps from one checkpoint to the next
  int keep = 3;              ///< so many of the newest stay in the folder
  bool writes = true;        ///< false on all ranks but one: these only restore

  /// Throws value_error for options out of their domain.
  void check() const {
    if (every < 1) throw value_error("checkpoints", "one step or more from one to the next", std::to_string(every));
    if (keep < 1) throw value_error("checkpoints", "one or more to keep", std::to_string(keep));
  }
};

namespace detail {

/// The newest checkpoint that is whole, and its file.
struct opened_checkpoint {
  checkpoint_search search;
  std::optional<safetensors_file> file;
};

template <class = void>
[[nodiscard]] opened_checkpoint open_newest(const std::string& folder) {
  opened_checkpoint newest;
  for (const checkpoint_name& name : list_checkpoints(folder)) {
    try {
      auto file = read_checkpoint(name.path);
      newest.search.found = info_of(name.path, file.metadata());
      newest.file = std::move(file);
      return newest;
    } catch (const io_error& error) {
      if (!std::filesystem::exists(name.path)) continue;  // its run has removed it meanwhile
      if (::access(name.path.c_str(), R_OK) != 0) throw;  // nobody knows whether it is damaged
      newest.search.damaged.push_back({name.path, reason_of(error)});
    }
  }
  return newest;
}

/// Throws io_error for a folder all of whose checkpoints are damaged.
inline void require_whole(const std::string& folder, const checkpoint_search& search) {
  if (search.found || search.damaged.empty()) return;
  std::string list;
  for (const auto& [path, reason] : search.damaged)
    list.append(list.empty() ? "" : "; ").append(message({path.substr(folder.size() + 1), ": ", reason}));
  throw_io_error(folder, {"expected a checkpoint that is whole, got none: ", list});
}

}  // namespace detail

/// Looks for the newest checkpoint in a folder that is whole; reads it from beginning to end. Throws io_error when the
/// folder cannot be read.
[[nodiscard]] inline checkpoint_search find_checkpoint(const std::string& folder) {
  return detail::open_newest(folder).search;
}

/// Loads the newest checkpoint in a folder that is whole, as load_checkpoint does; does nothing when there is none at
/// all. Returns which newer ones are damaged. Throws io_error when all are, and as load_checkpoint does.
template <class Trainer, class Loader>
checkpoint_search restore_checkpoint(Trainer& trainer, Loader& loader, const std::string& folder) {
  auto newest = detail::open_newest(folder);
  detail::require_whole(folder, newest.search);
  if (newest.file) newest.search.found = detail::restore_image(trainer, loader, *newest.file);
  return std::move(newest.search);
}

/// Writes checkpoints of a run into a folder, each in a file `step-000001500.safetensors` of its own, and keeps the
/// newest.
///
///   ls::checkpoints keep{"run", {.every = 500, .keep = 3}};
///   keep.restore(trainer, loader);                       // goes on where an earlier process has ended
///   while (loader.next_epoch() < 10)
///     for (auto&& [images, labels] : loader) {
///       trainer.step(images, labels);
///       keep.after_step(trainer, loader);
///     }
///   keep.wait();
///
/// A save copies the state into memory that is kept for it, and a thread writes it while the run goes on; at most one
/// write is under way, and the next save waits for it. What the thread throws arrives at the next call. However the
/// process ends, the folder holds whole files alone, and at most the steps since the last one are lost.
///
/// One owner at a time may write to a folder: the constructor locks it, and the system ends the lock with the process.
/// One thread at a time may call into the object.
class checkpoints {
 public:
  /// Makes the folder, locks it, and removes temporary files of a process that was killed in a write. Throws
  /// value_error for options out of their domain, io_error when another owner has the folder or it cannot be written.
  explicit checkpoints(std::string folder, const checkpoints_options& options = {})
      : folder_(std::move(folder)), options_(checked(options)) {
    if (folder_.empty()) throw value_error("checkpoints", "the name of a folder", "nothing");
    while (folder_.size() > 1 && folder_.back() == '/') folder_.pop_back();
    if (!options_.writes) return;
    lock_ = detail::folder_lock(folder_);
    // Without a lock they may be those of another process that is at work.
    if (lock_.is_held())
      detail::each_checkpoint(folder_, [](std::int64_t, const std::string& path, bool is_temporary) {
        if (is_temporary) detail::remove_file(path);
      });
  }
  checkpoints(const checkpoints&) = delete;
  checkpoints& operator=(const checkpoints&) = delete;

  /// Waits for the write under way; what it throws is lost. Call wait() first.
  ~checkpoints() {
    if (!writer_.joinable()) return;
    if (fork_ && fork_->crossed())
      writer_.detach();  // in a forked child there is no such thread
    else
      writer_.join();
  }

  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

  /// Whether after_step would save: `every` steps are done, and have not been saved.
  template <class Trainer>
  [[nodiscard]] bool is_due(const Trainer& trainer) const noexcept {
    const std::int64_t steps = trainer.steps();
    return options_.writes && steps > 0 && steps % options_.every == 0 && steps != saved_;
  }

  /// To be called after each step: saves after every `every` steps. Throws as save does.
  template <class Trainer, class Loader>
  void after_step(Trainer& trainer, Loader& loader, const safetensors_metadata& notes = {}) {
    check();
    if (is_due(trainer)) save(trainer, loader, notes);
  }

  /// Copies the state of the run, and begins to write it; see save_checkpoint. Without `writes` does nothing. Throws
  /// what the last write threw, value_error as save_checkpoint does, resource_error when no thread can be started, and
  /// io_error when the folder has whole checkpoints of more steps, of a run that this one does not go on from.
  template <class Trainer, class Loader>
  void save(Trainer& trainer, Loader& loader, const safetensors_metadata& notes = {}) {
    if (!options_.writes) return;
    wait();
    if (!began_) require_own_folder(trainer.steps());
    began_ = true;
    detail::take_image(trainer, loader, notes, image_);
    begin_write(trainer.steps());
  }

  /// Throws what the last write threw, if it has ended; does not wait for one under way.
  void check() {
    if (finished_.load(std::memory_order_acquire)) wait();
  }

  /// Waits for the write under way, and throws what it threw.
  void wait() {
    if (fork_ && fork_->crossed())
      throw value_error("checkpoints", "a call in the process that made the object", "one in a forked child of it");
    if (writer_.joinable()) writer_.join();
    finished_.store(false, std::memory_order_relaxed);
    if (failure_) {
      saved_ = -1;
      std::rethrow_exception(std::exchange(failure_, nullptr));
    }
  }

  /// Loads the newest checkpoint that is whole into the trainer and the loader; does nothing in a folder without any.
  /// Returns what was found, and which newer ones are damaged: these make way as the run comes past them. Throws
  /// io_error when all are damaged, and as load_checkpoint does for one of another run.
  template <class Trainer, class Loader>
  checkpoint_search restore(Trainer& trainer, Loader& loader) {
    wait();
    checkpoint_search search = restore_checkpoint(trainer, loader, folder_);
    damaged_.clear();
    for (const auto& each : search.damaged) damaged_.push_back(each.path);
    if (search.found) saved_ = search.found->steps;
    return search;
  }

  /// Looks for the newest checkpoint that is whole, after the write under way.
  [[nodiscard]] checkpoint_search latest() {
    wait();
    return find_checkpoint(folder_);
  }

 private:
  [[nodiscard]] static const checkpoints_options& checked(const checkpoints_options& options) {
    options.check();
    return options;
  }

  [[nodiscard]] bool is_damaged(const std::string& path) const {
    return std::find(damaged_.begin(), damaged_.end(), path) != damaged_.end();
  }

  /// Throws io_error when the folder has checkpoints that this run has not come to and restore() has not found damaged:
  /// a later restore would take them for its own.
  void require_own_folder(std::int64_t steps) {
    for (const auto& file : detail::list_checkpoints(folder_)) {
      if (file.steps <= steps || is_damaged(file.path)) continue;
      detail::throw_io_error(
          folder_, {"expected the folder of this run, which is at step ", steps, ", got one with a checkpoint of step ",
                    file.steps, "; restore() goes on from it, or name another folder"});
    }
  }

  void begin_write(std::int64_t steps) {
    if (!fork_) fork_.emplace();
    writer_ = detail::start_thread(
        {"checkpoints", "the thread that writes them", "use save_checkpoint, which needs none"}, [this, steps] {
          try {
            write(steps);
          } catch (...) {
            failure_ = std::current_exception();
          }
          finished_.store(true, std::memory_order_release);
        });
    saved_ = steps;
  }

  /// Writes the image, and removes the files that it makes superfluous.
  void write(std::int64_t steps) {
    const std::string path = detail::checkpoint_path(folder_, steps);
    image_.write(path);
    std::erase(damaged_, path);
    int kept = 1;  // the one just written; the others come with the newest first
    for (const auto& file : detail::list_checkpoints(folder_)) {
      if (file.steps >= steps) continue;
      if (!is_damaged(file.path) && ++kept <= options_.keep) continue;
      detail::remove_file(file.path);
      std::erase(damaged_, file.path);
    }
  }

  std::string folder_;
  checkpoints_options options_;
  detail::folder_lock lock_;
  bool began_ = false;       ///< has saved
  std::int64_t saved_ = -1;  ///< the steps of the last save, or of the checkpoint that was restored

  // While a thread writes, these are the thread's.
  detail::checkpoint_image image_;
  std::vector<std::string> damaged_;  ///< files that restore() has found damaged
  std::exception_ptr failure_;

  std::atomic<bool> finished_{false};  ///< the thread is done with them
  std::optional<detail::fork_guard> fork_;
  std::thread writer_;
};

}  // namespace lockstep
