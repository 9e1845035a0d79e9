// The key layout of docs/format/tkv.md over an ordered map in memory: the model for tests, and what reads volumes that
// KV engines wrote.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "meta/txn.h"

namespace zest::meta {

// "memkv://NAME": one store per NAME in this process, shared by all engines opened on it, gone when the last is.
Result<std::unique_ptr<Engine>> open_memory_engine(const std::string& url, const EngineOptions& options);

// For tests: all pairs of a store, and filling one (golden etcd volumes). Keys without the volume's prefix.
std::map<std::string, std::string> dump_memory_store(const std::string& url);
void load_memory_store(const std::string& url, std::map<std::string, std::string> pairs);

}  // namespace zest::meta
