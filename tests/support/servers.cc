#include "servers.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace zest::testing_servers {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPatience = std::chrono::seconds(120);

std::string make_folder(const char* name, const std::string& owner) {
  std::string pattern = std::string("/tmp/zest-") + name + "-XXXXXX";
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
  if (::geteuid() == 0 && !owner.empty()) {
    if (const passwd* user = ::getpwnam(owner.c_str()))
      if (::chown(pattern.c_str(), user->pw_uid, user->pw_gid) != 0) throw std::runtime_error("chown failed");
  }
  return pattern;
}

std::string tail_of(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::string all = text.str();
  return all.size() > 4000 ? all.substr(all.size() - 4000) : all;
}

bool answers(const std::string& socket_path) {
  int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::strncpy(address.sun_path, socket_path.c_str(), sizeof(address.sun_path) - 1);
  bool ok = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  ::close(fd);
  return ok;
}

void wait_for_socket(Child& server, const std::string& socket_path, const std::string& log) {
  for (auto end = Clock::now() + kPatience; Clock::now() < end;) {
    if (answers(socket_path)) return;
    if (!server.running()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  throw std::runtime_error("the server does not answer:\n" + tail_of(log));
}

void must_succeed(const std::vector<std::string>& argv, const std::string& log, const std::string& user) {
  Child tool;
  if (!tool.start(argv, log, user) || tool.wait() != 0) throw std::runtime_error(argv[0] + " failed:\n" + tail_of(log));
}

// The newest installed version's folder of programs.
std::string postgres_programs() {
  std::string best;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", error))
    best = std::max(best, entry.path().string() + "/bin/");
  if (best.empty()) throw std::runtime_error("PostgreSQL is not installed");
  return best;
}

}  // namespace

bool Child::start(const std::vector<std::string>& argv, const std::string& log, const std::string& user) {
  const passwd* as = ::geteuid() == 0 && !user.empty() ? ::getpwnam(user.c_str()) : nullptr;
  uid_t uid = as ? as->pw_uid : 0;
  gid_t gid = as ? as->pw_gid : 0;
  std::vector<char*> args;
  for (const auto& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (out < 0) return false;
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(out, 1);
    ::dup2(out, 2);
    if (as && (::setgroups(1, &gid) != 0 || ::setgid(gid) != 0 || ::setuid(uid) != 0)) ::_exit(126);
    ::prctl(PR_SET_PDEATHSIG, SIGQUIT);
    if (::getppid() != parent) ::_exit(125);
    if (::chdir("/") != 0) ::_exit(124);
    ::execvp(args[0], args.data());
    ::_exit(127);
  }
  ::close(out);
  return pid_ > 0;
}

int Child::wait() {
  if (pid_ <= 0) return -1;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void Child::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

void Child::stop(int number) {
  if (pid_ <= 0) return;
  signal(SIGCONT);
  signal(number);
  wait();
}

bool Child::running() {
  if (pid_ <= 0) return false;
  int status = 0;
  if (::waitpid(pid_, &status, WNOHANG) != pid_) return true;
  pid_ = -1;
  return false;
}

PostgresServer& PostgresServer::shared() {
  static PostgresServer server;
  return server;
}

PostgresServer::PostgresServer() : folder_(make_folder("pg", "postgres")) {
  must_succeed({postgres_programs() + "initdb", "-D", folder_ + "/data", "-A", "trust", "-U", "postgres", "--no-sync",
                "-E", "UTF8", "--locale=C"},
               folder_ + "/log", "postgres");
  start();
}

PostgresServer::~PostgresServer() {
  server_.stop(SIGQUIT);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void PostgresServer::start() {
  server_.start({postgres_programs() + "postgres", "-D", folder_ + "/data", "-c", "listen_addresses=", "-k", folder_,
                 "-c", "fsync=off", "-c", "shared_buffers=16MB"},
                folder_ + "/log", "postgres");
  wait_for_socket(server_, folder_ + "/.s.PGSQL.5432", folder_ + "/log");
  for (auto end = Clock::now() + kPatience; Clock::now() < end;) {  // it listens before it is ready
    Child probe;
    probe.start({postgres_programs() + "pg_isready", "-q", "-h", folder_}, folder_ + "/log");
    if (probe.wait() == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  throw std::runtime_error("PostgreSQL does not get ready:\n" + tail_of(folder_ + "/log"));
}

// SIGQUIT makes the server drop everything at once, as a crash does, but takes its children along.
void PostgresServer::kill() { server_.stop(SIGQUIT); }

namespace {

// The server's processes: it, and those whose parent it is.
std::vector<pid_t> family(pid_t parent) {
  std::vector<pid_t> out{parent};
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat");
    std::string line;
    if (!std::getline(stat, line)) continue;
    size_t close = line.rfind(')');
    if (close == std::string::npos) continue;
    char state;
    pid_t of = 0;
    std::istringstream rest(line.substr(close + 1));
    rest >> state >> of;
    if (of == parent) out.push_back(static_cast<pid_t>(std::stoi(entry.path().filename())));
  }
  return out;
}

}  // namespace

void PostgresServer::pause() {
  for (pid_t pid : family(server_.pid())) ::kill(pid, SIGSTOP);
}
void PostgresServer::resume() {
  for (pid_t pid : family(server_.pid())) ::kill(pid, SIGCONT);
}

std::string PostgresServer::url(const std::string& parameters) const {
  return "postgres://postgres@/postgres?host=" + folder_ + (parameters.empty() ? "" : "&" + parameters);
}
std::string PostgresServer::fresh_url() { return url("table_prefix=t" + std::to_string(++tables_)); }

MariadbServer& MariadbServer::shared() {
  static MariadbServer server;
  return server;
}

MariadbServer::MariadbServer() : folder_(make_folder("maria", "")) {
  std::vector<std::string> install{"mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal",
                                   "--datadir=" + folder_ + "/data", "--skip-test-db"};
  if (::geteuid() == 0) install.push_back("--user=root");
  must_succeed(install, folder_ + "/log", "");
  start();
  must_succeed({"mariadb", "--no-defaults", "--socket=" + socket(), "-uroot", "-e", "CREATE DATABASE zest"},
               folder_ + "/log", "");
}

MariadbServer::~MariadbServer() {
  server_.stop(SIGKILL);
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

void MariadbServer::start() {
  std::vector<std::string> argv{"mariadbd",
                                "--no-defaults",
                                "--datadir=" + folder_ + "/data",
                                "--socket=" + socket(),
                                "--pid-file=" + folder_ + "/pid",
                                "--skip-networking",
                                "--innodb-flush-log-at-trx-commit=2",
                                "--innodb-flush-method=nosync",
                                "--sync-frm=0",
                                "--innodb-file-per-table=0",
                                "--innodb-buffer-pool-size=32M"};
  if (::geteuid() == 0) argv.push_back("--user=root");
  server_.start(argv, folder_ + "/log");
  wait_for_socket(server_, socket(), folder_ + "/log");
}

void MariadbServer::kill() { server_.stop(SIGKILL); }

std::string MariadbServer::url(const std::string& parameters) const {
  return "mysql://root@unix(" + socket() + ")/zest" + (parameters.empty() ? "" : "?" + parameters);
}
std::string MariadbServer::fresh_url() { return url("table_prefix=t" + std::to_string(++tables_)); }

}  // namespace zest::testing_servers
