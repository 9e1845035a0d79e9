// What any user of a mount may write to .control (docs/behaviour/control.md section 5).
#include <fcntl.h>
#include <unistd.h>

#include "base/bytes.h"
#include "data/testing.h"
#include "fs/filesystem.h"
#include "fs/virtual_files.h"
#include "fuzz.h"

namespace zest::fuzz {

namespace {

using data::testing::Volume;

struct Mounted {
  Mounted() {
    require(volume.meta->start_session({}).has_value(), "a session starts");
    fs = std::make_unique<fs::FileSystem>(*volume.meta, *volume.data, system_clock(), fs::Options{});
  }
  // What requests ask about, again after each that may have removed it.
  void fill() {
    auto dir = fs->mkdir({}, kRootIno, "dir", 0755, 0);
    if (!dir) return;
    if (auto made = fs->create({}, dir->ino, "f", 0644, 0, O_RDWR)) {
      (void)fs->write({}, made->entry.ino, made->fh, 0, std::string(5000, 'x'), false);
      fs->release({}, made->entry.ino, made->fh);
    }
  }
  Volume volume;
  std::unique_ptr<fs::FileSystem> fs;
};

Mounted& mounted() {
  static Mounted instance;
  return instance;
}

// Waits for the reply as a tool does; a request that is not complete has none.
void use_control(std::string_view input) {
  auto& fs = *mounted().fs;
  mounted().fill();
  auto open = fs.open({}, fs::kControlIno, O_RDWR);
  require(open.has_value(), ".control opens");
  (void)fs.write({}, fs::kControlIno, open->fh, 0, input, false);
  ByteReader head(input);
  head.be32();
  const bool complete = head.be32() == head.left() && head.ok();
  std::string reply(4096, '\0');
  uint64_t offset = input.size();  // requests are in the log, too
  while (complete) {
    auto got = fs.read({}, fs::kControlIno, open->fh, offset, reply);
    if (!got || (*got > 0 && static_cast<uint8_t>(reply[0]) != 0xFE)) break;
    offset += *got > 0 ? 17 : 0;
    usleep(100);
  }
  fs.release({}, fs::kControlIno, open->fh);
}

std::string request(uint32_t op, const std::string& body) {
  std::string out;
  put_be32(out, op);
  put_be32(out, static_cast<uint32_t>(body.size()));
  return out + body;
}

std::string number(uint64_t value) {
  std::string out;
  put_be64(out, value);
  return out;
}

std::vector<std::string> requests() {
  const std::string root = number(1), file = number(3);
  return {
      request(1002, root + std::string("\3dir\0\0", 6)),       // remove
      request(1004, std::string("\0\0\0\4/dir\0\2\0\0", 12)),  // warm up
      request(1004, std::string("\0\0\0\4/dir\0\2\0\2", 12)),  // look at the cache
      request(1005, root + std::string("\1\0\1", 3)),
      request(1005, file + std::string("\0\1", 2)),                               // info
      request(1006, number(2) + root + root + std::string("\4copy\0\022\2", 8)),  // clone
      request(1003, file + std::string("\1", 1)),                                 // info as text
      request(1007, root + std::string("\3\12\0", 3)),                            // summary
      request(1008, root + std::string("\0\2", 2)),                               // compact
  };
}

}  // namespace

std::vector<Target> control_targets() { return {{"control.request", requests(), use_control, 8}}; }

}  // namespace zest::fuzz
