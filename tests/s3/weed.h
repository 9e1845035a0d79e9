// A SeaweedFS server of the test's own: own ports, own folder, ended with the test.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "object/test_dir.h"

namespace zest::object {

class Weed {
 public:
  static constexpr char kAccess[] = "zestaccess", kSecret[] = "zestsecret/+=";

  // False when the program is missing or does not start.
  bool start() {
    std::string program = find_program();
    if (program.empty()) {
      std::cerr << "weed is not installed: run ./dev setup\n";
      return false;
    }
    std::string make_cert =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext "
        "subjectAltName=IP:127.0.0.1 -keyout '" +
        dir_.path() + "/key.pem' -out '" + cert_file() + "' 2>/dev/null";
    if (std::system(make_cert.c_str()) != 0) return false;
    // Between choosing ports and using them another program may take one: then once more.
    for (int attempt = 0; attempt < 3; attempt++) {
      launch(program);
      if (wait_ready()) return true;
      stop();
      std::ifstream log(log_file());
      std::cerr << "weed did not start:\n" << log.rdbuf() << "\n";
    }
    return false;
  }
  ~Weed() { stop(); }

  std::string tls_url() const { return "https://127.0.0.1:" + std::to_string(tls_port_); }
  std::string cert_file() const { return dir_.path() + "/cert.pem"; }
  // The whole server stands still, its connections stay.
  void pause() {
    ::kill(pid_, SIGSTOP);
    ::waitpid(pid_, nullptr, WUNTRACED);
  }
  void resume() { ::kill(pid_, SIGCONT); }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

 private:
  static std::string find_program() {
    std::vector<std::string> places;
    if (const char* named = std::getenv("ZEST_WEED")) places.push_back(named);
    places.push_back(std::string(ZEST_SOURCE_DIR) + "/build-tools/bin/weed");
    std::string path = std::getenv("PATH") ? std::getenv("PATH") : "";
    for (size_t begin = 0; begin < path.size();) {
      size_t end = std::min(path.find(':', begin), path.size());
      places.push_back(path.substr(begin, end - begin) + "/weed");
      begin = end + 1;
    }
    for (auto& place : places)
      if (::access(place.c_str(), X_OK) == 0) return place;
    return {};
  }

  // All bound at once, so that they differ.
  static std::vector<int> free_ports(size_t count) {
    std::vector<int> sockets, ports;
    for (size_t i = 0; i < count; i++) {
      int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address = {};
      address.sin_family = AF_INET;
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t size = sizeof(address);
      if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) < 0 ||
          ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0)
        std::abort();
      sockets.push_back(fd);
      ports.push_back(ntohs(address.sin_port));
    }
    for (int fd : sockets) ::close(fd);
    return ports;
  }

  std::string log_file() const { return dir_.path() + "/log"; }

  void launch(const std::string& program) {
    auto ports = free_ports(9);
    port_ = ports[0];
    tls_port_ = ports[8];
    std::ofstream(dir_.path() + "/s3.json")
        << R"({"identities":[{"name":"zest","credentials":[{"accessKey":")" << kAccess << R"(","secretKey":")"
        << kSecret << R"("}],"actions":["Admin","Read","Write","List","Tagging"]}]})";
    std::string data = dir_.path() + "/data" + std::to_string(port_);
    std::filesystem::create_directory(data);
    auto port = [&](const char* option, size_t i) {
      return "-" + std::string(option) + "=" + std::to_string(ports[i]);
    };
    std::vector<std::string> arguments = {program,
                                          "server",
                                          "-ip=127.0.0.1",
                                          "-ip.bind=127.0.0.1",
                                          "-dir=" + data,
                                          "-filer",
                                          "-s3",
                                          "-s3.config=" + dir_.path() + "/s3.json",
                                          "-master.volumeSizeLimitMB=64",
                                          "-volume.max=100",
                                          port("s3.port", 0),
                                          port("s3.port.grpc", 1),
                                          port("master.port", 2),
                                          port("master.port.grpc", 3),
                                          port("volume.port", 4),
                                          port("volume.port.grpc", 5),
                                          port("filer.port", 6),
                                          port("filer.port.grpc", 7),
                                          port("s3.port.https", 8),
                                          "-s3.cert.file=" + cert_file(),
                                          "-s3.key.file=" + dir_.path() + "/key.pem",
                                          "-s3.port.iceberg=0",
                                          "-s3.port.lance=0"};
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::string log = log_file();
    pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      // Nothing but system calls here. The server ends with the test, also when that is killed.
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ::dup2(fd, 1);
      ::dup2(fd, 2);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }

  bool wait_ready();

  void stop() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

  TestDir dir_;
  int port_ = 0, tls_port_ = 0;
  pid_t pid_ = 0;
};

}  // namespace zest::object
