// Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#pragma once

#include <lockstep/core/config.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lockstep/io/file.hpp>
#include <lockstep/observe/summary.hpp>
#include <lockstep/parallel/timeline.hpp>

namespace lockstep {

struct trace_options {
  int replicas = 0;                          ///< number of tracks of replicas; 0: replica_tracks() finds it
  std::string process = "lockstep";          ///< the name above the tracks
  std::vector<std::int64_t> bucket_bytes{};  ///< bytes of each bucket, when known
};

namespace detail {

/// Appends `text` in quotes, escaped as JSON requires.
inline void append_json(std::string& json, std::string_view text) {
  constexpr std::string_view digits = "0123456789abcdef";
  json += '"';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      (json += '\\') += c;
    else if (code < 0x20)
      ((json.append("\\u00")) += digits[code >> 4U]) += digits[code & 15U];
    else
      json += c;
  }
  json += '"';
}

inline void append_json(std::string& json, std::int64_t number) {
  char digits[24];
  json.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

/// Appends nanoseconds (zero or more) as microseconds with three decimals.
inline void append_microseconds(std::string& json, std::int64_t nanoseconds) {
  append_json(json, nanoseconds / 1000);
  const auto rest = static_cast<int>(nanoseconds % 1000);
  json += '.';
  for (const int digit : {rest / 100, rest / 10 % 10, rest % 10}) json += static_cast<char>('0' + digit);
}

/// Names of tracks and of their events. Those of nodes are put into JSON once.
class trace_names {
 public:
  trace_names(std::span<const plan_row> nodes, const trace_options& options) : options_(options) {
    for (const plan_row& node : nodes) {
      forward_.push_back(event(node, activity::forward, node.forward_flops));
      backward_.push_back(event(node, activity::backward, node.backward_flops));
    }
  }

  [[nodiscard]] static std::string track(int at, int replicas, int tracks) {
    if (at < replicas) return "replica " + std::to_string(at);
    return at == tracks - 1 ? std::string("communication") : "track " + std::to_string(at);
  }

  /// Appends `"name":...,"cat":...,"args":{...`, to which the caller adds the step and the closing brackets.
  void append_to(std::string& json, const timeline_event& event) const {
    const auto at = static_cast<std::size_t>(std::max<int>(event.index, 0));
    const bool node = event.what == activity::forward || event.what == activity::backward;
    if (node && event.index >= 0 && at < forward_.size()) {
      json.append(event.what == activity::forward ? forward_[at] : backward_[at]);
      return;
    }
    std::string name(event.what == activity::communicate ? "bucket" : to_string(event.what));
    if (event.index >= 0) {
      if (node) name.insert(0, "node " + std::to_string(event.index) + " ");
      if (!node) name.append(" ").append(std::to_string(event.index));
    }
    begin(json, name, event.what);
    if (event.what == activity::communicate && event.index >= 0 && at < options_.bucket_bytes.size())
      argument(json, "bytes", options_.bucket_bytes[at]);
  }

 private:
  static void begin(std::string& json, std::string_view name, activity what) {
    json.append("\"name\":");
    append_json(json, name);
    json.append(",\"cat\":");
    append_json(json, to_string(what));
    json.append(",\"args\":{");
  }

  static void argument(std::string& json, std::string_view name, std::int64_t value) {
    append_json(json, name);
    json += ':';
    append_json(json, value);
    json += ',';
  }

  static std::string event(const plan_row& node, activity what, std::int64_t flops) {
    std::string json;
    begin(json, std::string(node.name()).append(" ").append(to_string(what)), what);
    json.append("\"kind\":");
    append_json(json, node.kind);
    json += ',';
    if (flops > 0) argument(json, "flops_per_sample", flops);
    argument(json, "output_bytes_per_sample", node.output_bytes);
    if (node.parameter_bytes > 0) argument(json, "parameter_bytes", node.parameter_bytes);
    return json;
  }

  const trace_options& options_;
  std::vector<std::string> forward_;
  std::vector<std::string> backward_;
};

/// Text that is written to a file in large pieces.
class trace_file {
 public:
  explicit trace_file(std::string path) : file_(std::move(path)) {}

  [[nodiscard]] std::string& text() noexcept { return text_; }

  /// Writes the text to the file once a piece is full; call after each event.
  void next() {
    if (text_.size() < piece) return;
    flush();
  }

  void commit() {
    flush();
    file_.commit();
  }

 private:
  static constexpr std::size_t piece = std::size_t{1} << 20U;

  void flush() {
    file_.write(std::as_bytes(std::span<const char>(text_)));
    text_.clear();
  }

  atomic_file_writer file_;
  std::string text_;
};

/// Appends an entry that describes a track.
template <class Value>
void append_metadata(std::string& json, std::string_view what, int track, std::string_view key, const Value& value) {
  json.append(",\n{\"ph\":\"M\",\"pid\":1,\"tid\":");
  append_json(json, std::int64_t{track} + 1);
  json.append(",\"name\":");
  append_json(json, what);
  json.append(",\"args\":{");
  append_json(json, key);
  json += ':';
  append_json(json, value);
  json.append("}}");
}

/// Appends the events of one track in order of their begin, an enclosing event before those that it encloses.
inline void write_track(trace_file& file, const timeline& recorded, int track, std::int64_t origin,
                        const trace_names& names) {
  const auto events = recorded.events(track);
  std::vector<std::size_t> order(events.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return events[a].begin != events[b].begin ? events[a].begin < events[b].begin : events[a].end > events[b].end;
  });
  std::int64_t last = origin;
  for (const std::size_t i : order) {
    const timeline_event& event = events[i];
    last = (std::max)(last, event.end);
    std::string& json = file.text();
    json.append(",\n{\"ph\":\"X\",\"pid\":1,\"tid\":");
    append_json(json, std::int64_t{track} + 1);
    json.append(",\"ts\":");
    append_microseconds(json, event.begin - origin);
    json.append(",\"dur\":");
    append_microseconds(json, std::max<std::int64_t>(event.end - event.begin, 0));
    json += ',';
    names.append_to(json, event);
    json.append("\"step\":");
    append_json(json, std::int64_t{event.step});
    json.append("}}");
    file.next();
  }
  if (recorded.dropped(track) == 0) return;
  // A mark on the track itself, so that nobody takes the rest of the run for idle time.
  std::string& json = file.text();
  json.append(",\n{\"ph\":\"i\",\"s\":\"t\",\"pid\":1,\"tid\":");
  append_json(json, std::int64_t{track} + 1);
  json.append(",\"ts\":");
  append_microseconds(json, last - origin);
  json.append(R"(,"name":"no room: events dropped","args":{"dropped":)");
  append_json(json, recorded.dropped(track));
  json.append("}}");
}

inline void write_trace(const std::string& path, const timeline& recorded, std::span<const plan_row> nodes,
                        const trace_options& options) {
  const int tracks = recorded.tracks();
  const int replicas = checked_replicas("write_trace", recorded, options.replicas);
  const std::int64_t origin = recorded_range(recorded).begin;
  const trace_names names(nodes, options);
  std::int64_t dropped = 0;

  trace_file file(path);
  file.text().append(
      "{\"displayTimeUnit\":\"ms\",\n\"traceEvents\":[\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\"");
  file.text().append(R"(,"args":{"name":)");
  append_json(file.text(), options.process);
  file.text().append("}}");
  for (int t = 0; t < tracks; ++t) {
    dropped += recorded.dropped(t);
    append_metadata(file.text(), "thread_name", t, "name", trace_names::track(t, replicas, tracks));
    append_metadata(file.text(), "thread_sort_index", t, "sort_index", std::int64_t{t});
  }
  for (int t = 0; t < tracks; ++t) write_track(file, recorded, t, origin, names);
  file.text().append("\n],\n\"otherData\":{\"written_by\":\"lockstep\",\"replicas\":");
  append_json(file.text(), std::int64_t{replicas});
  file.text().append(",\"dropped_events\":");
  append_json(file.text(), dropped);
  for (int t = 0; t < tracks; ++t) {
    if (recorded.dropped(t) == 0) continue;
    file.text() += ',';
    append_json(file.text(), "dropped_events of " + trace_names::track(t, replicas, tracks));
    file.text() += ':';
    append_json(file.text(), recorded.dropped(t));
  }
  file.text().append("}}\n");
  file.commit();
}

}  // namespace detail

/// Writes a timeline as Trace Event JSON, which ui.perfetto.dev and chrome://tracing open. Each replica has a track,
/// and so has the communication thread if there is one; their events carry the step, flops and bytes. Times count from
/// the first event. The file appears whole or not at all.
/// Throws value_error when there are fewer tracks than replicas, io_error when the file cannot be written.
/// Format: "Trace Event Format", Duff and Sinclair, 2016; complete events ("X") in microseconds.
template <class Model, class Backend>
void write_trace(const std::string& path, const timeline& recorded, const trace_options& options = {}) {
  detail::write_trace(path, recorded, plan_rows<Model, Backend>(), options);
}

}  // namespace lockstep
