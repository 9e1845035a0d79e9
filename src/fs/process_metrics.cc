// What the process uses, under the names that collectors of other programs give it, too.
#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/clock.h"
#include "fs/metrics.h"
#include "volume/format.h"

namespace zest::fs {
namespace {

struct ProcessUse {
  double cpu_s = 0;
  uint64_t resident = 0, virt = 0, threads = 0, fds = 0;
  rlim_t max_fds = 0, max_virt = 0;
  uint64_t received = 0, sent = 0;  // bytes of the network, of the process's whole network namespace
};

// /proc/net/netstat: a line of names, then a line of numbers, each beginning with the group.
void network_use(ProcessUse& use) {
  std::ifstream netstat("/proc/self/net/netstat");
  for (std::string names, values; std::getline(netstat, names) && std::getline(netstat, values);) {
    if (!names.starts_with("IpExt:")) continue;
    std::istringstream name(names), value(values);
    for (std::string key, number; name >> key && value >> number;) {
      if (key == "InOctets") use.received = std::strtoull(number.c_str(), nullptr, 10);
      if (key == "OutOctets") use.sent = std::strtoull(number.c_str(), nullptr, 10);
    }
  }
}

rlim_t soft_limit(__rlimit_resource of) {
  rlimit limit{};
  return getrlimit(of, &limit) == 0 ? limit.rlim_cur : 0;
}

ProcessUse process_use() {
  ProcessUse use;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  use.cpu_s = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
              static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0, resident = 0;
  if (statm >> pages >> resident) use.virt = pages * 4096, use.resident = resident * 4096;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;)
    if (word == "Threads:") status >> use.threads;
  if (auto* dir = opendir("/proc/self/fd")) {
    while (readdir(dir)) use.fds++;
    closedir(dir);
    use.fds -= std::min<uint64_t>(use.fds, 3);  // ".", ".." and this one
  }
  use.max_fds = soft_limit(RLIMIT_NOFILE);
  use.max_virt = soft_limit(RLIMIT_AS);
  network_use(use);
  return use;
}

}  // namespace

void add_process_metrics(Metrics& out, double uptime) {
  auto use = process_use();
  out.gauge("uptime", "Seconds since the start of the client.", uptime);
  out.gauge("cpu_usage", "Seconds of CPU used.", use.cpu_s);
  out.gauge("memory", "Resident memory in bytes.", number(use.resident));
  out.counter("process_cpu_seconds_total", "Seconds of CPU used.", use.cpu_s);
  out.gauge("process_resident_memory_bytes", "Resident memory.", number(use.resident));
  out.gauge("process_virtual_memory_bytes", "Virtual memory.", number(use.virt));
  out.gauge("process_virtual_memory_max_bytes", "Limit of virtual memory; -1: none.",
            use.max_virt == RLIM_INFINITY ? -1 : number(use.max_virt));
  out.gauge("process_open_fds", "Open file descriptors.", number(use.fds));
  out.gauge("process_max_fds", "Limit of open file descriptors.", number(use.max_fds));
  out.gauge("process_start_time_seconds", "Start of the process, in Unix time.",
            static_cast<double>(system_clock().now().sec) - std::floor(uptime));
  out.counter("process_network_receive_bytes_total", "Bytes from the network.", number(use.received));
  out.counter("process_network_transmit_bytes_total", "Bytes to the network.", number(use.sent));
  // Tools of the reference show these of its runtime; ours are the nearest things.
  out.gauge("go_goroutines", "Threads.", number(use.threads));
  out.gauge("go_threads", "Threads.", number(use.threads));
  auto heap = mallinfo2();
  const double in_use = number(heap.uordblks + heap.hblkhd), reserved = number(heap.arena + heap.hblkhd);
  out.gauge("go_memstats_alloc_bytes", "Heap in use.", in_use);
  out.gauge("go_memstats_heap_alloc_bytes", "Heap in use.", in_use);
  out.gauge("go_memstats_heap_inuse_bytes", "Heap in use.", in_use);
  out.gauge("go_memstats_heap_idle_bytes", "Heap reserved and not in use.", number(heap.fordblks));
  out.gauge("go_memstats_heap_sys_bytes", "Heap reserved.", reserved);
  out.gauge("go_memstats_sys_bytes", "Heap reserved.", reserved);
  out.gauge("go_sched_gomaxprocs_threads", "Processors.", number(std::thread::hardware_concurrency()));
  out.gauge("go_build_info", "1; what the program is.", 1,
            {{"checksum", ""}, {"path", "zestfs"}, {"version", std::string("v") + kCompatVersion}});
}

}  // namespace zest::fs
