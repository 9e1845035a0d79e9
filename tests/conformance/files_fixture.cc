#include "files_fixture.h"

#include "recount.h"

namespace zest::meta {

namespace {

EngineOptions engine_options(const Options& options) {
  EngineOptions out;
  out.read_only = options.read_only;
  return out;
}

std::unique_ptr<Meta> open_meta(const std::string& url, const Options& options, const Client::Wrap& wrap = {}) {
  auto engine = open_engine(url, engine_options(options));
  if (!engine) {
    ADD_FAILURE() << url << ": " << why(engine);
    return nullptr;
  }
  return std::make_unique<Meta>(wrap ? wrap(std::move(*engine)) : std::move(*engine), system_clock(), options);
}

}  // namespace

Client::Client(const std::string& url, MemoryData& data, Options options, bool session, const Wrap& wrap)
    : data_(data) {
  meta_ = open_meta(url, options, wrap);
  if (!meta_) return;
  meta_->set_data_hooks(&data);
  EXPECT_OK(meta_->load());
  if (session) EXPECT_OK(meta_->start_session({}));
}

Client::~Client() {
  if (!meta_) return;
  EXPECT_OK(meta_->close_session());
}

Ino Client::file(std::string_view name, Ino parent, uint16_t mode) {
  auto made = meta_->mknod(Context{}, parent, name, FileType::kFile, mode, 0, 0);
  EXPECT_OK(made);
  return made ? made->ino : Ino{0};
}

Ino Client::dir(std::string_view name, Ino parent) {
  auto made = meta_->mkdir(Context{}, parent, name, 0755, 0);
  EXPECT_OK(made);
  return made ? made->ino : Ino{0};
}

Result<Attr> Client::put(Ino ino, uint64_t offset, std::string_view bytes) {
  std::vector<Meta::ChunkWrite> writes;
  while (!bytes.empty()) {
    uint64_t pos = offset % kChunkSize;
    auto part = bytes.substr(0, kChunkSize - pos);
    ZEST_ASSIGN(SliceId id, meta_->new_slice_id());
    data_.put(id, std::string(part));
    auto size = static_cast<uint32_t>(part.size());
    writes.push_back({static_cast<ChunkIndex>(offset / kChunkSize),
                      Slice{static_cast<uint32_t>(pos), id, size, 0, size}, system_clock().now()});
    offset += size;
    bytes.remove_prefix(size);
  }
  return meta_->write(ino, writes);
}

std::string Client::get(Ino ino, uint64_t offset, uint64_t size) {
  auto attr = meta_->getattr(Context{}, ino);
  EXPECT_OK(attr);
  if (!attr || offset >= attr->length) return "";
  uint64_t end = size > attr->length - offset ? attr->length : offset + size;
  std::string out;
  int missing = 0;
  while (offset + out.size() < end) {
    uint64_t at = offset + out.size(), pos = at % kChunkSize, want = std::min(kChunkSize - pos, end - at);
    auto view = meta_->read_chunk(ino, static_cast<ChunkIndex>(at / kChunkSize));
    EXPECT_OK(view);
    if (!view) return out;
    auto chunk = show(*view, pos, pos + want);
    if (!chunk && ++missing < 100) {
      meta_->forget_chunk(ino, static_cast<ChunkIndex>(at / kChunkSize));
      continue;
    }
    EXPECT_TRUE(chunk) << "a slice of inode " << raw(ino) << " is not there";
    if (!chunk) return out;
    out += *chunk;
  }
  return out;
}

// Bytes [begin, end) of a chunk; nothing when a slice is not there.
std::optional<std::string> Client::show(const ChunkView& view, uint64_t begin, uint64_t end) {
  std::string out(end - begin, '\0');
  for (Slice piece : view.pieces) {
    uint64_t from = std::max<uint64_t>(piece.pos, begin), to = std::min<uint64_t>(piece.pos + piece.len, end);
    if (from >= to || raw(piece.id) == 0) continue;
    piece.off += static_cast<uint32_t>(from - piece.pos);
    piece.len = static_cast<uint32_t>(to - from);
    std::string part = data_.get(piece);
    if (part.size() != piece.len) return {};
    out.replace(from - begin, piece.len, part);
  }
  return out;
}

Attr Client::attr(Ino ino) {
  Attr out;
  EXPECT_OK(state().read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(auto attr, txn.attr(ino));
    if (!attr) return fail(ENOENT);
    out = *attr;
    return {};
  }));
  return out;
}

std::string Client::records(Ino ino, ChunkIndex chunk) {
  std::string out;
  EXPECT_OK(state().read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(out, txn.chunk(ino, chunk));
    return {};
  }));
  return out;
}

int64_t Client::refs(SliceId id, uint32_t size) {
  int64_t out = state().engine->absent_ref();
  EXPECT_OK(state().read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(Key::slice_ref(id, size)));
    if (auto* refs = std::get_if<int64_t>(value)) out = *refs;
    return {};
  }));
  return out;
}

bool Client::exists(const Key& key) {
  bool out = false;
  EXPECT_OK(state().read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(const Value* value, txn.get(key));
    out = !std::holds_alternative<std::monostate>(*value);
    return {};
  }));
  return out;
}

int64_t Client::used_space() {
  EXPECT_OK(meta_->flush_ledgers());
  int64_t out = 0;
  EXPECT_OK(state().read([&](Txn& txn) -> Result<void> {
    ZEST_ASSIGN(out, txn.counter(counter::kUsedSpace));
    return {};
  }));
  return out;
}

void Client::settle() {
  state().compactor.drain();
  state().deleter.drain();
}

void FilesTest::SetUp() {
  database_ = GetParam().make();
  url_ = database_->url();
  keeper_ = open_meta(url_, {});
  ASSERT_TRUE(keeper_);
  Format format;
  format.name = "files-test";
  format.uuid = "ab6ad14a-aa63-4580-95ac-d1237fa3fa4d";
  format.bucket = "/nowhere/";
  format.trash_days = 0;
  ASSERT_OK(keeper_->format(format, false));
  ASSERT_OK(keeper_->load());
}

void FilesTest::TearDown() {
  if (first_) {
    EXPECT_OK((*first_)->flush_ledgers());
    first_->settle();
  }
  first_.reset();
  if (keeper_ && recount_at_end_ && !HasFatalFailure())
    for (auto& difference : conformance::recount(keeper_->engine())) ADD_FAILURE() << difference;
  keeper_.reset();
}

void FilesTest::set_format(const std::function<void(Format&)>& change) {
  auto format = keeper_->load();
  ASSERT_OK(format);
  change(*format);
  ASSERT_OK(keeper_->change_format(*format));
}

std::unique_ptr<Client> FilesTest::connect(Options options, bool session, const Client::Wrap& wrap) {
  return std::make_unique<Client>(url_, data_, options, session, wrap);
}

Client& FilesTest::client() {
  if (!first_) first_ = connect();
  return *first_;
}

}  // namespace zest::meta
