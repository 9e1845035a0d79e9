#include "fs/state_table.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/log.h"

namespace zest::fs {
namespace {

constexpr char kMagic[8] = {'z', 'e', 's', 't', 's', 't', 'a', 't'};
constexpr uint32_t kLayout = 2;  // grows with every change of Record or Header
constexpr size_t kHeaderSize = 4096;
constexpr size_t kRecords = 1 << 20;  // memory is used for those in use only
constexpr size_t kSize = kHeaderSize + kRecords * sizeof(Record);
constexpr size_t kHashes = 6;  // in a record

static_assert(sizeof(StateTable::Header) <= kHeaderSize);
static_assert(std::atomic<uint64_t>::is_always_lock_free);

std::string layout_text(uint32_t layout, uint32_t record_size) { return fmt::format("{}/{}", layout, record_size); }

}  // namespace

Result<std::unique_ptr<StateTable>> StateTable::create() {
  Fd fd(memfd_create("zestfs-state", MFD_CLOEXEC));
  if (!fd || ftruncate(fd.get(), kSize) != 0) return fail(errno, "shared memory");
  std::unique_ptr<StateTable> table(new StateTable(std::move(fd)));
  ZEST_TRY(table->map());
  table->set_up();
  return table;
}

std::unique_ptr<StateTable> StateTable::unshared() {
  std::unique_ptr<StateTable> table(new StateTable(Fd()));
  if (!table->map()) std::abort();  // as new does
  table->set_up();
  return table;
}

std::string StateTable::layout() { return layout_text(kLayout, sizeof(Record)); }

std::string StateTable::own_layout() const { return layout_text(header_->layout, header_->record_size); }

void StateTable::set_up() {
  std::memcpy(header_->magic, kMagic, sizeof(kMagic));
  header_->layout = kLayout;
  header_->record_size = sizeof(Record);
  header_->next_handle = 1;
}

Result<std::unique_ptr<StateTable>> StateTable::attach(Fd fd) {
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return fail(errno, "shared memory");
  if (st.st_size != static_cast<off_t>(kSize)) return fail(EPROTO, "state of another version");
  std::unique_ptr<StateTable> table(new StateTable(std::move(fd)));
  ZEST_TRY(table->map());
  auto& header = table->header();
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) return fail(EPROTO, "no state of a mount");
  if (table->own_layout() != layout())
    return fail(EPROTO,
                fmt::format("the mount's state has layout {}, this program's {}", table->own_layout(), layout()));
  if (header.used > kRecords || header.init_size > kMaxInit) return fail(EPROTO, "the mount's state is damaged");
  for (uint64_t number = header.used; number > 0; number--)
    if (table->at(number)->kind == Record::kFree) table->free_.push_back(table->at(number));
  return table;
}

Result<void> StateTable::map() {
  int flags = MAP_NORESERVE | (fd_ ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, flags, fd_.get(), 0);
  if (memory == MAP_FAILED) return fail(errno, "shared memory");
  header_ = static_cast<Header*>(memory);
  records_ = reinterpret_cast<Record*>(static_cast<char*>(memory) + kHeaderSize);
  return {};
}

StateTable::~StateTable() {
  if (header_) munmap(header_, kSize);
}

Result<void> StateTable::set_identity(std::string_view text) {
  if (text.size() >= kMaxIdentity) return fail(E2BIG, "the options of the mount are too long to be kept");
  std::memcpy(header_->identity, text.data(), text.size());
  header_->identity[text.size()] = 0;
  return {};
}

bool StateTable::is_shared(const Record* record) const { return record >= records_ && record < records_ + kRecords; }

Record* StateTable::take(Record::Kind kind) {
  std::lock_guard lock(mutex_);
  Record* record;
  if (!free_.empty()) {
    record = free_.back();
    free_.pop_back();
  } else if (header_->used < kRecords) {
    record = at(header_->used.fetch_add(1) + 1);
  } else {
    if (!std::exchange(told_full_, true))
      log_warning("too many files are open to remember all of them: a crash would close the rest");
    record = new Record;
  }
  std::memset(static_cast<void*>(record), 0, sizeof(*record));
  std::atomic_ref(record->kind).store(kind, std::memory_order_release);
  return record;
}

void StateTable::give_back(Record* record) {
  if (!is_shared(record)) {
    delete record;
    return;
  }
  std::atomic_ref(record->kind).store(Record::kFree, std::memory_order_release);
  std::lock_guard lock(mutex_);
  free_.push_back(record);
}

void StateTable::each(const std::function<void(Record&)>& visit) {
  uint64_t used = header_->used;
  for (uint64_t number = 1; number <= used; number++)
    if (at(number)->kind != Record::kFree) visit(*at(number));
}

void StateTable::add_names(Record& directory, const std::vector<uint64_t>& hashes) {
  if (!is_shared(&directory)) return;
  auto& first = directory.handle.names;
  Record* last = first ? at(first) : nullptr;
  while (last && last->names.next) last = at(last->names.next);
  for (uint64_t hash : hashes) {
    if (!last || last->flags == kHashes) {
      Record* more = take(Record::kNames);
      if (!is_shared(more)) return give_back(more);
      (last ? last->names.next : first) = number_of(more);
      last = more;
    }
    last->names.hashes[last->flags] = hash;
    std::atomic_ref(last->flags).fetch_add(1, std::memory_order_release);
  }
}

std::vector<uint64_t> StateTable::names(const Record& directory) const {
  std::vector<uint64_t> out;
  for (uint64_t number = directory.handle.names; number != 0 && number <= header_->used;) {
    const Record* record = at(number);
    if (record->kind != Record::kNames || record->flags > kHashes) break;
    out.insert(out.end(), record->names.hashes, record->names.hashes + record->flags);
    number = record->names.next;
  }
  return out;
}

void StateTable::clear_names(Record& directory) {
  if (!is_shared(&directory)) return;
  for (uint64_t number = std::exchange(directory.handle.names, 0); number != 0;) {
    Record* record = at(number);
    number = record->names.next;
    give_back(record);
  }
}

}  // namespace zest::fs
