#include "meta/calls.h"

namespace zest::meta {
namespace {

constexpr const char* kNames[kCalls] = {
    "StatFS",      "Lookup",        "Resolve", "GetAttr",       "SetAttr",  "Mknod",    "Link",
    "ReadLink",    "Unlink",        "Rmdir",   "Rename",        "Read",     "Write",    "Truncate",
    "Fallocate",   "CopyFileRange", "Readdir", "NewDirHandler", "SetXattr", "GetXattr", "ListXattr",
    "RemoveXattr", "Clone",         "SetFacl", "GetFacl",       "Other",
};

thread_local Calling* calling = nullptr;

int64_t since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

const char* name_of(Call call) { return kNames[static_cast<size_t>(call)]; }

void CallStats::ended(Call call, int64_t ns) {
  auto& mine = counts_.mine();
  auto& of = mine.calls[static_cast<size_t>(call)];
  of.count.fetch_add(1, std::memory_order_relaxed);
  of.ns.fetch_add(static_cast<uint64_t>(ns), std::memory_order_relaxed);
  mine.call_seconds.add(static_cast<double>(ns) / 1e9);
}

void CallStats::sum(Counts& into) const {
  counts_.each([&](const Counts& from) {
    for (size_t i = 0; i < kCalls; i++) {
      auto& to = into.calls[i];
      auto& of = from.calls[i];
      to.count += of.count.load(std::memory_order_relaxed);
      to.ns += of.ns.load(std::memory_order_relaxed);
      to.restarts += of.restarts.load(std::memory_order_relaxed);
    }
    into.call_seconds.add_all(from.call_seconds);
    into.txn_seconds.add_all(from.txn_seconds);
  });
}

Calling::Calling(CallStats& stats, Call call) : stats_(stats), call_(call), nested_(calling != nullptr) {
  if (nested_) return;
  calling = this;
  begin_ = std::chrono::steady_clock::now();
}

Calling::~Calling() {
  if (nested_) return;
  calling = nullptr;
  if (reached_) stats_.ended(call_, since(begin_));
}

Calling::Engine::Engine() {
  if (calling) calling->reached_ = true;
}

Call Calling::current() { return calling ? calling->call_ : Call::kOther; }

}  // namespace zest::meta
