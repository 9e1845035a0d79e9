#include "volume/attr.h"

#include "base/bytes.h"

namespace zest {

namespace {

void put_time(std::string& out, Time t) {
  put_be64(out, static_cast<uint64_t>(t.sec));
  put_be32(out, t.nsec);
}

Time read_time(ByteReader& in) {
  Time t;
  t.sec = static_cast<int64_t>(in.be64());
  t.nsec = in.be32();
  return t;
}

}  // namespace

std::string encode_attr(const Attr& attr) {
  std::string out;
  out.reserve(81);
  put_u8(out, attr.flags);
  put_be16(out, static_cast<uint16_t>(static_cast<unsigned>(attr.type) << 12 | (attr.mode & 0xFFF)));
  put_be32(out, attr.uid);
  put_be32(out, attr.gid);
  put_time(out, attr.atime);
  put_time(out, attr.mtime);
  put_time(out, attr.ctime);
  put_be32(out, attr.nlink);
  put_be64(out, attr.length);
  put_be32(out, attr.rdev);
  put_be64(out, raw(attr.parent));
  if (attr.access_acl != 0 || attr.default_acl != 0) {
    put_be32(out, attr.access_acl);
    put_be32(out, attr.default_acl);
  }
  if (attr.tier != 0) put_u8(out, attr.tier);
  put_u8(out, 0);  // the reference's records end in a byte it does not use
  return out;
}

Result<Attr> decode_attr(std::string_view record) {
  if (record.size() < 63) return fail(EIO, "attribute record of " + std::to_string(record.size()) + " bytes");
  ByteReader in(record);
  Attr attr;
  attr.flags = in.u8();
  uint16_t type_mode = in.be16();
  attr.type = static_cast<FileType>(type_mode >> 12);
  attr.mode = type_mode & 0xFFF;
  attr.uid = in.be32();
  attr.gid = in.be32();
  attr.atime = read_time(in);
  attr.mtime = read_time(in);
  attr.ctime = read_time(in);
  attr.nlink = in.be32();
  attr.length = in.be64();
  attr.rdev = in.be32();
  if (in.left() >= 8) attr.parent = Ino{in.be64()};
  if (in.left() >= 8) {
    attr.access_acl = in.be32();
    attr.default_acl = in.be32();
  }
  if (in.left() >= 1) attr.tier = in.u8();
  return attr;
}

std::string encode_entry(const Entry& entry) {
  std::string out;
  put_u8(out, static_cast<uint8_t>(entry.type));
  put_be64(out, raw(entry.ino));
  return out;
}

Result<Entry> decode_entry(std::string_view record) {
  if (record.size() != 9) return fail(EIO, "directory entry of " + std::to_string(record.size()) + " bytes");
  ByteReader in(record);
  Entry entry;
  entry.type = static_cast<FileType>(in.u8());
  entry.ino = Ino{in.be64()};
  return entry;
}

}  // namespace zest
