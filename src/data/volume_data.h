// Puts the parts together behind data.h.
#pragma once

#include <memory>
#include <optional>

#include "base/threads.h"
#include "data/block_store.h"
#include "data/buffer.h"
#include "data/cache/block_cache.h"
#include "data/data.h"
#include "data/group_sync.h"
#include "data/reader.h"
#include "data/staging.h"
#include "data/writer.h"

namespace zest::data {

class VolumeData : public Data {
 public:
  VolumeData(meta::Meta& meta, std::unique_ptr<object::Storage> storage, const Clock& clock,
             const DataOptions& options);
  ~VolumeData() override;
  Result<void> close() override;

  std::unique_ptr<ReadHandle> open_reader(Ino ino) override { return reader_->open(ino); }
  Result<size_t> read(ReadHandle& handle, uint64_t length, uint64_t offset, std::span<char> into,
                      const std::atomic<bool>* cancelled, Lent* lent) override;
  Result<void> write(Ino ino, uint64_t offset, std::span<const char> data, const std::atomic<bool>* cancelled) override;
  Result<void> flush(Ino ino, const std::atomic<bool>* cancelled) override;
  Result<void> flush_all() override { return writer_->flush_all(); }
  Result<void> sync(Ino ino) override;
  uint64_t length(Ino ino, uint64_t meta_length) const override;
  bool clean(Ino ino) const override;
  Time mtime(Ino ino, Time meta_mtime) const override;
  void set_mtime(Ino ino, Time mtime) override;
  void invalidate(Ino ino, uint64_t offset, uint64_t size) override;
  void release(Ino ino) override { writer_->release(ino); }
  Result<CacheState> cache_file(Ino ino, uint64_t length, CacheAction action) override;

  Result<void> delete_slice(SliceId id, uint32_t size) override;
  Result<void> compact(const CompactionPlan& plan, SliceId id, uint8_t tier) override;

  object::Storage& storage() override { return *storage_; }
  Budget& budget() override { return budget_; }
  const DataStats& stats() const override { return stats_; }
  std::string cache_dir() const override { return cache_dir_; }
  std::pair<uint64_t, uint64_t> cached() const override;

 private:
  void make_cache();
  object::Placement placement_of_tier(uint8_t tier) const;
  object::Placement placement(Ino ino);  // where the file's blocks go
  void tick();
  void warm_up(const std::vector<BlockId>& blocks);
  void look_up(const BlockId& id, CacheState& state);

  meta::Meta& meta_;
  std::unique_ptr<object::Storage> storage_;
  const Clock& clock_;
  DataOptions options_;
  const Format format_;
  GroupSync meta_sync_{[this] { return meta_.engine().sync(); }};
  DataStats stats_;
  Budget budget_;
  BufferPool pool_;
  std::unique_ptr<BlockCache> cache_;
  std::string cache_dir_;
  std::unique_ptr<BlockStore> blocks_;
  std::unique_ptr<Staging> staging_;
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Reader> reader_;
  std::unique_ptr<Periodic> ticker_;
  std::atomic<bool> closed_{false};
  uint64_t last_activity_ = 0;
};

}  // namespace zest::data
