// Decoders of bytes from outside (volume, network, files, users) fed with valid bytes and mutations of them. What a
// decoder makes of nonsense is its business; it must come back, soon, without a fault and without asking for memory
// that the input does not justify. A target may check more: what is decoded must come out the same once encoded and
// decoded.
//
// Mutations follow from a seed alone, so a failure repeats. libFuzzer would guide them by coverage, but Debian 12's
// clang cannot compile std::expected.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace zest::fuzz {

struct Target {
  std::string name;  // "group.decoder"
  std::vector<std::string> seeds;
  std::function<void(std::string_view)> run;
  unsigned share = 1;  // one of so many of the usual number of inputs: for slow targets
};

// Each gives the targets of its group. golden: a folder with the unpacked volume etcd-plain of the reference.
std::vector<Target> record_targets();
std::vector<Target> engine_targets(const std::string& golden);
std::vector<Target> object_targets();
std::vector<Target> dump_targets();
std::vector<Target> control_targets();

// Ends the program, naming the input, if it does not hold.
void require(bool holds, const char* what);

}  // namespace zest::fuzz
