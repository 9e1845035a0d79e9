"""Database servers of a test's own: a port and a folder for each; they end with the test."""
import pathlib
import shutil
import signal
import socket
import subprocess

import zest

HOST = "127.0.0.1"


def free_ports(count):
    # all bound at once, so that they differ
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind((HOST, 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """A process on `port`, with what it stores in `folder`. `url` is that of a volume in it."""

    def __init__(self, name):
        self.folder, self.port = zest.temp_dir(name), zest.free_port()
        self.address, self.process = (HOST, self.port), None
        zest.on_exit(self.kill)

    def launch(self, *command):
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log)

    def kill(self):
        """As a crash."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def through(self, proxy):
        """The volume's URL by way of a proxy."""
        return self.url.replace(f"{HOST}:{self.port}", f"{HOST}:{proxy.port}")


class Redis(Server):
    """durable: keeps every change on disk, so that it comes back with all it acknowledged."""

    def __init__(self, durable=False, options=()):
        super().__init__("redis")
        self.options = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
        self.options += options
        self.url = f"redis://{HOST}:{self.port}/0"
        self.start()

    def start(self):
        self.launch(zest.tool("redis-server"), "--port", self.port, "--bind", HOST, "--save", "", "--dir", self.folder, *self.options)
        zest.wait_until(lambda: self.cli("ping", check=False) == "PONG", "redis answers")

    def cli(self, *command, check=True):
        return zest.run("redis-cli", "-p", self.port, *command, check=check).stdout.strip()

    def info(self, section):
        """Without a process of its own, since some callers hold the server up meanwhile."""
        with socket.create_connection(self.address, zest.PATIENCE) as connection, connection.makefile("rb") as answer:
            connection.sendall(f"INFO {section}\r\n".encode())
            text = answer.read(int(answer.readline()[1:])).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def follow(self, master):
        """Becomes a replica of `master` and waits until it has everything."""
        self.cli("replicaof", HOST, str(master.port))
        zest.wait_until(lambda: self.info("replication").get("master_link_status") == "up", "the replica is in step")


class Postgres(Server):
    """A server with a database `zest`; or, standby_of another, its standby by streaming replication."""

    PROGRAMS = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    # locale and user of the server's own programs
    AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "env", "LC_ALL=C"]

    def __init__(self, standby_of=None, options=()):
        super().__init__("pg")
        shutil.chown(self.folder, "postgres", "postgres")
        self.options = list(options)
        self.url = f"postgres://postgres@{HOST}:{self.port}/zest?sslmode=disable"
        if standby_of:
            zest.run(*self.AS_POSTGRES, self.PROGRAMS / "pg_basebackup", "-D", f"{self.folder}/d", "-h", HOST, "-p", standby_of.port,
                     "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync")
        else:
            zest.run(*self.AS_POSTGRES, self.PROGRAMS / "initdb", "-D", f"{self.folder}/d", "-A", "trust", "-U", "postgres", "--no-sync",
                     "-E", "UTF8")
        self.start()
        if not standby_of:
            self.sql("create database zest", database="postgres")

    def start(self):
        self.launch(*self.AS_POSTGRES, self.PROGRAMS / "postgres", "-D", f"{self.folder}/d", "-p", self.port, "-c",
                    f"listen_addresses={HOST}", "-c", "fsync=off", "-c", f"unix_socket_directories={self.folder}",
                    *[word for option in self.options for word in ("-c", option)])
        zest.wait_until(lambda: self.sql("select 1", database="postgres", check=False) == "1", "postgres answers")

    def sql(self, text, database="zest", check=True):
        return zest.run(self.PROGRAMS / "psql", "-h", self.folder, "-p", self.port, "-U", "postgres", "-d", database, "-Atc", text,
                        check=check).stdout.strip()

    def backends(self):
        return [int(pid) for pid in zest.run("pgrep", "-P", str(self.process.pid)).stdout.split()]

    def kill(self):
        """The server takes its children along."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)

    def promote(self):
        self.sql("select pg_promote()", database="postgres")


class Pooler(Server):
    """PgBouncer before a PostgreSQL: each transaction of a client goes to any of a few connections."""

    def __init__(self, postgres, connections=3):
        super().__init__("pooler")
        shutil.chown(self.folder, "postgres", "postgres")
        self.postgres = postgres
        with open(f"{self.folder}/users", "w") as users:
            users.write('"postgres" ""\n')
        with open(f"{self.folder}/settings", "w") as settings:
            settings.write(f"[databases]\n* = host={HOST} port={postgres.port}\n[pgbouncer]\nlisten_addr={HOST}\nlisten_port={self.port}\n"
                           f"unix_socket_dir=\nauth_type=trust\nauth_file={self.folder}/users\npool_mode=transaction\n"
                           f"default_pool_size={connections}\nmax_client_conn=500\n")
        self.url = postgres.through(self)
        self.launch(*postgres.AS_POSTGRES, zest.tool("pgbouncer"), f"{self.folder}/settings")
        zest.wait_until(lambda: zest.run(postgres.PROGRAMS / "pg_isready", "-h", HOST, "-p", self.port, check=False).returncode == 0,
                        "the pooler answers")


class Mariadb(Server):
    """A server with a database `zest`, as which root comes in without a password."""

    def __init__(self, options=()):
        super().__init__("maria")
        self.options = list(options)
        self.url = f"mysql://root@({HOST}:{self.port})/zest"
        zest.run("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", f"--datadir={self.folder}/d",
                 "--user=root", "--skip-test-db", f"--tmpdir={self.folder}")
        self.start()
        self.sql("create database if not exists zest", database="")

    def start(self):
        # what is committed survives the server's death, not the machine's
        self.launch("mariadbd", "--no-defaults", "--user=root", f"--datadir={self.folder}/d", f"--port={self.port}",
                    "--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", f"--bind-address={HOST}", f"--socket={self.folder}/s", f"--tmpdir={self.folder}", *self.options)
        zest.wait_until(lambda: self.sql("select 1", database="", check=False) == "1", "mariadb answers")

    def sql(self, text, database="zest", check=True):
        return zest.run("mariadb", "--no-defaults", f"--socket={self.folder}/s", "-u", "root", "-BN", "-e", text,
                        *([database] if database else []), check=check).stdout.strip()
