// Lets a thread that others depend on (one that listens for requests) serve short work itself and hear about it when
// the work turns out to wait: for a disk, the network, or another thread. Whoever is about to wait calls before_wait().
#pragma once

namespace zest {

class WaitNotice {
 public:
  virtual ~WaitNotice() = default;
  virtual void about_to_wait() = 0;  // on the thread that set it; perhaps several times
};

namespace wait_notice_detail {
inline thread_local WaitNotice* current = nullptr;
}

// Of this thread; null: nobody wants to know.
inline void set_wait_notice(WaitNotice* notice) { wait_notice_detail::current = notice; }
inline bool wait_is_noticed() { return wait_notice_detail::current != nullptr; }
inline void before_wait() {
  if (wait_notice_detail::current) wait_notice_detail::current->about_to_wait();
}

}  // namespace zest
