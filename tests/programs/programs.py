#!/usr/bin/env python3
"""Programs that ask much of a file system, on a mount: git, tar, rsync, SQLite, PostgreSQL, fio, dbench, a compiler,
stress-ng."""
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest

PG = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
AS_POSTGRES = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "env", "LC_ALL=C"]


class Shared:
    """One mount for all; it is unmounted and checked at the end."""
    mount = None

    @classmethod
    def dir(cls, name):
        if not cls.mount:
            cls.volume = zest.Volume("--enable-acl")
            cls.mount = cls.volume.mount("--enable-xattr")
        path = cls.mount.path(name)
        os.mkdir(path)
        return path


def tree(top, seed, files, sizes=(0, 10, 4096, 70_000, 500_000)):
    """A folder with some of everything: sizes, modes, links, long names, holes, times, attributes."""
    rng = random.Random(seed)
    os.makedirs(top)
    folders = [top]
    for i in range(files):
        folder = rng.choice(folders)
        path = f"{folder}/{i}-{'n' * rng.randrange(60)}"
        kind = rng.randrange(12)
        if kind == 0:
            os.mkdir(path, 0o755)
            folders.append(path)
        elif kind == 1:
            os.symlink(rng.choice(("target", "../x", "a" * 200)), path)
        elif kind == 2 and i > 5:
            with open(path, "wb") as file:
                file.truncate(rng.randrange(1 << 20))
                file.seek(300_000)
                file.write(b"behind a hole")
        else:
            with open(path, "wb") as file:
                file.write(rng.randbytes(rng.choice(sizes)))
            os.chmod(path, rng.choice((0o644, 0o600, 0o755, 0o4711)))
            if kind == 3:
                os.link(path, path + "-link")
            if kind == 4:
                os.setxattr(path, "user.note", rng.randbytes(50))
            os.utime(path, ns=(rng.randrange(10**18), rng.randrange(10**18)))


def same_trees(a, b):
    changes = zest.run("rsync", "-nacHX", "--delete", "--itemize-changes", f"{a}/", f"{b}/").stdout.splitlines()
    changes = [line for line in changes if not line.startswith(".d..t")]  # directories' own times
    assert not changes, changes[:20]


def tar_and_rsync():
    d = Shared.dir("tar")
    local = zest.temp_dir("local")
    tree(f"{local}/a", 1, 1500)
    zest.run("tar", "--xattrs", "--sparse", "-C", f"{local}/a", "-cf", f"{local}/a.tar", ".")
    os.mkdir(f"{d}/a")
    zest.run("tar", "--xattrs", "--sparse", "-C", f"{d}/a", "-xpf", f"{local}/a.tar")
    same_trees(f"{local}/a", f"{d}/a")
    zest.run("rsync", "-aHX", f"{d}/a/", f"{d}/b/")
    same_trees(f"{local}/a", f"{d}/b")
    zest.run("tar", "--xattrs", "--sparse", "-C", f"{d}/b", "-cf", f"{d}/b.tar", ".")
    os.mkdir(f"{local}/c")
    zest.run("tar", "--xattrs", "-C", f"{local}/c", "-xpf", f"{d}/b.tar")
    same_trees(f"{local}/a", f"{local}/c")
    zest.run("cp", "-a", "--sparse=always", f"{d}/a", f"{d}/copied")
    same_trees(f"{local}/a", f"{d}/copied")
    zest.run("rm", "-rf", f"{d}/a", f"{d}/b", f"{d}/copied")
    assert os.listdir(d) == ["b.tar"]


def git_repository():
    d = Shared.dir("git")
    here = {"HOME": d, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}

    def git(*command, at=f"{d}/repo"):
        return zest.run("git", "-C", at, *command, env=here).stdout

    os.mkdir(f"{d}/repo")
    git("init", "-q")
    for commit in range(12):
        tree(f"{d}/repo/part{commit}", commit, 80, (0, 10, 4096, 9000))
        git("add", "-A")
        git("commit", "-qm", f"part {commit}")
        git("branch", f"b{commit}")
    assert git("status", "--porcelain") == ""
    git("checkout", "-q", "b3")
    git("checkout", "-q", "b11")
    git("clone", "-q", f"{d}/repo", f"{d}/clone", at=d)
    for repo in ("repo", "clone"):
        git("gc", "-q", at=f"{d}/{repo}")
        git("fsck", "--strict", "--full", at=f"{d}/{repo}")
        assert git("status", "--porcelain", at=f"{d}/{repo}") == ""
    git("worktree", "add", "-q", f"{d}/tree", "b5")
    assert git("diff", "b5", at=f"{d}/tree") == ""


def sqlite_worker(path, number):
    db = sqlite3.connect(path, timeout=120)
    for i in range(25):
        with db:
            db.execute("insert into t values (?, ?, ?)", (number, i, os.urandom(300)))
            db.execute("update c set n = n + 1")
    db.close()


def sqlite_databases():
    d = Shared.dir("sqlite")
    for mode in ("delete", "truncate", "persist"):  # WAL needs memory shared between processes
        path = f"{d}/{mode}.db"
        db = sqlite3.connect(path)
        assert db.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
        db.executescript("create table t (w int, i int, b blob, primary key (w, i)); create table c (n int); insert into c values (0);")
        db.commit()
        workers = [subprocess.Popen([sys.executable, __file__, "sqlite", path, str(n)]) for n in range(4)]
        assert all(w.wait(zest.PATIENCE * 5) == 0 for w in workers)
        assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
        assert db.execute("select count(*), (select n from c) from t").fetchone() == (100, 100)
        db.execute("delete from t where i % 2")
        db.commit()
        db.execute("vacuum")
        assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
        db.close()
    db = sqlite3.connect(f"{d}/wal.db")
    assert db.execute("pragma journal_mode=wal").fetchone()[0] == "wal"
    db.execute("create table t (a)")
    db.executemany("insert into t values (?)", [(i,) for i in range(5000)])
    db.commit()
    assert db.execute("select count(*) from t").fetchone()[0] == 5000
    db.close()


def postgres_database():
    d = Shared.dir("postgres")
    shutil.chown(d, "postgres", "postgres")
    port, data = zest.free_port(), f"{d}/data"
    folder = zest.temp_dir("socket")
    os.chmod(folder, 0o777)
    zest.run(*AS_POSTGRES, PG / "initdb", "-D", data, "-A", "trust", "-k")
    server = None

    def start():
        nonlocal server
        server = subprocess.Popen([*AS_POSTGRES, str(PG / "postgres"), "-D", data, "-p", str(port), "-c", f"unix_socket_directories={folder}"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        zest.on_exit(server.kill)
        zest.wait_until(lambda: zest.run(*psql, "-c", "select 1", check=False).returncode == 0, "postgres answers")

    address = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
    psql = [str(PG / "psql"), *address, "-At"]
    start()
    zest.run("pgbench", *address, "-q", "-i", "-s", "1", "postgres")
    zest.run("pgbench", *address, "-c", "4", "-t", "100", "postgres")
    server.kill()  # it recovers from its log then
    server.wait()
    zest.run("sh", "-c", f"while [ -e {data}/postmaster.pid ] && kill -0 $(head -1 {data}/postmaster.pid) 2>/dev/null; do sleep 0.1; done")
    start()
    sums = zest.run(*psql, "-c", "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), "
                    "(select count(*) from pgbench_history)").stdout.strip()
    assert sums == "t|400", sums
    server.send_signal(signal.SIGINT)
    assert server.wait(zest.PATIENCE) == 0
    zest.run(*AS_POSTGRES, PG / "pg_checksums", "--check", "-D", data)


def fio_verifies():
    d = Shared.dir("fio")
    for engine in ("psync", "libaio", "mmap"):
        least = "4k" if engine == "mmap" else "512"  # fio maps whole pages
        for pattern in ("randwrite", "randrw", "write"):
            zest.run("fio", "--name=v", f"--directory={d}", f"--ioengine={engine}", f"--rw={pattern}", f"--bsrange={least}-128k", "--size=24m",
                     "--numjobs=2", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--iodepth=8", "--fsync=200", "--randseed=7")


def dbench_clients():
    d = Shared.dir("dbench")
    zest.run("dbench", "-D", d, "-t", "20", "4")


def compiler():
    d = Shared.dir("cc")
    with open(f"{d}/Makefile", "w") as file:
        names = [f"f{i}" for i in range(30)]
        file.write("prog: " + " ".join(f"{n}.o" for n in names) + " main.o\n\tcc -o $@ $^\n%.o: %.c\n\tcc -c -o $@ $<\n")
    for name in names:
        with open(f"{d}/{name}.c", "w") as file:
            file.write(f"int {name}(void) {{ return 1; }}\n")
    with open(f"{d}/main.c", "w") as file:
        file.write("".join(f"int {n}(void);\n" for n in names) + "int main(void) { return " + " + ".join(f"{n}()" for n in names) + "; }\n")
    zest.run("make", "-C", d, "-j4")
    assert subprocess.run([f"{d}/prog"]).returncode == 30
    assert "up to date" in zest.run("make", "-C", d).stdout
    with open(f"{d}/f7.c", "w") as file:
        file.write("int f7(void) { return 5; }\n")
    assert zest.run("make", "-C", d).stdout.count("cc -c") == 1
    assert subprocess.run([f"{d}/prog"]).returncode == 34


def stressors():
    d = Shared.dir("stress")
    for name in ("access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl file-ioctl filename flock fpunch "
                 "fsize fstat getdent handle hdd inode-flags inotify io iomix lease link locka lockf lockofd mknod open rename symlink "
                 "sync-file touch utime xattr aio fifo msync readahead revio seek sendfile splice").split():
        done = zest.run("stress-ng", f"--{name}", 2, "--timeout", 3, "--verify", "--temp-path", d)
        assert "fail:" not in done.stdout + done.stderr, done.stdout + done.stderr


def the_volume_is_sound():
    Shared.mount.umount()
    zest.zestfs("fsck", Shared.volume.meta)
    Shared.mount.start()
    zest.run("git", "-C", Shared.mount.path("git/repo"), "-c", "safe.directory=*", "fsck", "--full")
    Shared.mount.umount()


if len(sys.argv) == 4 and sys.argv[1] == "sqlite":
    sqlite_worker(sys.argv[2], int(sys.argv[3]))
    sys.exit(0)
zest.main([tar_and_rsync, git_repository, sqlite_databases, postgres_database, fio_verifies, dbench_clients, compiler, stressors,
           the_volume_is_sound])
