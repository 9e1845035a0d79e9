#!/usr/bin/env python3
"""Content of files on a real mount: sparse, appended, mapped, unlinked, copied, allocated."""
import fcntl
import mmap
import os
import random
import threading

from common import Once, expect, fallocate, link_nameless, read_file, write_file, zest

MIB = 1 << 20
main = Once()


def sparse_files():
    d = main.dir("sparse")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"end", 200 * MIB)
    assert os.fstat(fd).st_size == 200 * MIB + 3
    assert os.pread(fd, 4096, 100 * MIB) == bytes(4096)
    os.pwrite(fd, b"mid", 100 * MIB - 1)
    assert os.pread(fd, 6, 100 * MIB - 2) == b"\0mid\0\0"
    os.ftruncate(fd, 1 << 40)
    assert os.fstat(fd).st_size == 1 << 40 and os.pread(fd, 100, (1 << 40) - 50) == bytes(50)
    os.ftruncate(fd, 100 * MIB)
    os.ftruncate(fd, 101 * MIB)
    assert os.pread(fd, 4, 100 * MIB - 2) == b"\0m\0\0", "what was cut off must not come back"
    expect("EFBIG", os.ftruncate, fd, 1 << 57)
    os.close(fd)


def holes_and_data():
    d = main.dir("holes")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)
    expect("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
    expect("ENXIO", os.lseek, fd, 0, os.SEEK_HOLE)
    os.ftruncate(fd, 1 << 45)  # 500,000 chunks without data
    expect("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
    os.pwrite(fd, b"x" * 10_000, 8192)
    os.pwrite(fd, b"far", (1 << 44) + 5)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 8192 and os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, 9000, os.SEEK_DATA) == 9000 and os.lseek(fd, 9000, os.SEEK_HOLE) == 20_480
    assert os.lseek(fd, 20_480, os.SEEK_DATA) == 1 << 44 and os.lseek(fd, 1 << 44, os.SEEK_HOLE) == (1 << 44) + 4096
    expect("ENXIO", os.lseek, fd, (1 << 44) + 4096, os.SEEK_DATA)
    fallocate(fd, 3, 8192, 8192)
    assert os.lseek(fd, 0, os.SEEK_DATA) == 16_384
    os.ftruncate(fd, 20_000)
    assert os.lseek(fd, 16_384, os.SEEK_HOLE) == 20_000
    # pages of a mapping that were not written back are data, too
    os.ftruncate(fd, 10 * MIB)
    with mmap.mmap(fd, 10 * MIB) as mapped:
        mapped[5 * MIB:5 * MIB + 3] = b"new"
        assert os.lseek(fd, MIB, os.SEEK_DATA) == 5 * MIB
        assert os.pread(fd, 3, 5 * MIB) == b"new"
    os.close(fd)


def opened_again_without_a_name():
    d = main.dir("reopen")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"data")
    os.unlink(f"{d}/f")
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_APPEND)
    os.write(again, b" and more")
    assert os.pread(fd, 100, 0) == b"data and more" and os.fstat(again).st_nlink == 0
    os.truncate(f"/proc/self/fd/{fd}", 4)
    assert os.pread(again, 100, 0) == b"data"
    os.chmod(f"/proc/self/fd/{fd}", 0o600)
    expect("ENOENT", link_nameless, fd, f"{d}/back")
    os.close(fd), os.close(again)


def append():
    d = main.dir("append")
    first = os.open(f"{d}/f", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    second = os.open(f"{d}/f", os.O_WRONLY | os.O_APPEND)
    os.write(first, b"one,")
    os.write(second, b"two,")
    os.write(first, b"three,")
    os.pwrite(second, b"four", 0)  # Linux appends even then
    os.close(first), os.close(second)
    assert read_file(f"{d}/f") == b"one,two,three,four"


def append_by_many():
    d = main.dir("appenders")
    writers, lines = 8, 200

    def work(number):
        fd = os.open(f"{d}/log", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        for i in range(lines):
            os.write(fd, f"{number:02} {i:06} {'x' * 50}\n".encode())
        os.close(fd)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(writers)]
    [t.start() for t in threads], [t.join() for t in threads]
    found = read_file(f"{d}/log").splitlines()
    assert len(found) == len(set(found)) == writers * lines
    for n in range(writers):
        mine = [line for line in found if line.startswith(b"%02d" % n)]
        assert mine == sorted(mine)


def read_after_write():
    d = main.dir("raw")
    one, two = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR), os.open(f"{d}/f", os.O_RDWR)
    model = bytearray(3 * MIB)
    rng = random.Random(5)
    os.ftruncate(one, len(model))
    for _ in range(300):
        at, size = rng.randrange(len(model)), rng.randrange(1, 70_000)
        data = rng.randbytes(min(size, len(model) - at))
        os.pwrite(rng.choice((one, two)), data, at)
        model[at:at + len(data)] = data
        at = rng.randrange(len(model))
        assert os.pread(rng.choice((one, two)), 50_000, at) == model[at:at + 50_000]
    os.close(one), os.close(two)
    assert read_file(f"{d}/f") == model


def mapped_files():
    d = main.dir("mmap")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 2 * MIB)
    with mmap.mmap(fd, 2 * MIB) as shared:
        shared[MIB:MIB + 5] = b"hello"
        shared.flush()
        assert os.pread(fd, 5, MIB) == b"hello"
        os.pwrite(fd, b"world", 100)
        assert shared[100:105] == b"world"
        shared[0:3] = b"abc"
    os.close(fd)  # pages of a mapping that is gone are written back
    assert read_file(f"{d}/f")[:3] == b"abc"
    fd = os.open(f"{d}/f", os.O_RDONLY)
    with mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as private:
        private[0:3] = b"xyz"
        assert os.pread(fd, 3, 0) == b"abc"
    os.close(fd)


def unlinked_open_files():
    d = main.dir("unlinked")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"before")
    os.unlink(f"{d}/f")
    os.write(fd, b" after")
    assert os.pread(fd, 100, 0) == b"before after"
    st = os.fstat(fd)
    assert st.st_size == 12
    os.ftruncate(fd, 3)
    os.fsync(fd)
    assert os.pread(fd, 100, 0) == b"bef"
    write_file(f"{d}/f", b"another")
    assert os.pread(fd, 100, 0) == b"bef" and os.stat(f"{d}/f").st_ino != st.st_ino
    os.close(fd)
    # replaced by a rename while open
    fd = os.open(f"{d}/f", os.O_RDONLY)
    write_file(f"{d}/g", b"newer")
    os.rename(f"{d}/g", f"{d}/f")
    assert os.pread(fd, 100, 0) == b"another" and read_file(f"{d}/f") == b"newer"
    os.close(fd)


def nameless_files():
    d = main.dir("tmpfile")
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"nameless")
    assert os.listdir(d) == [] and os.fstat(fd).st_nlink == 0
    link_nameless(fd, f"{d}/named")
    os.close(fd)
    st = os.stat(f"{d}/named")
    assert read_file(f"{d}/named") == b"nameless" and st.st_nlink == 1 and st.st_mode & 0o777 == 0o640
    fd = os.open(d, os.O_TMPFILE | os.O_RDWR | os.O_EXCL)
    os.write(fd, b"x")
    expect("ENOENT", link_nameless, fd, f"{d}/never")
    os.close(fd)


def copy_file_range():
    d = main.dir("copy")
    data = random.Random(1).randbytes(5 * MIB + 123)
    write_file(f"{d}/src", data)
    src, dst = os.open(f"{d}/src", os.O_RDONLY), os.open(f"{d}/dst", os.O_CREAT | os.O_RDWR)
    assert os.copy_file_range(src, dst, len(data), 0, 0) == len(data)
    assert read_file(f"{d}/dst") == data
    assert os.copy_file_range(src, dst, 1000, 77, 2 * MIB + 5) == 1000
    assert os.pread(dst, 1000, 2 * MIB + 5) == data[77:1077] and os.fstat(dst).st_size == len(data)
    assert os.copy_file_range(src, dst, 100, len(data) + 5, 0) == 0
    os.pwrite(dst, b"own", 0)
    assert read_file(f"{d}/src") == data, "the copy shares data, not changes"
    both = os.open(f"{d}/src", os.O_RDWR)
    expect("EINVAL", os.copy_file_range, both, both, 1000, 0, 500)
    assert os.copy_file_range(both, both, 1000, 0, len(data)) == 1000
    assert os.pread(both, 1000, len(data)) == data[:1000]
    os.close(src), os.close(dst), os.close(both)


def allocation():
    d = main.dir("falloc")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"d" * 10_000)
    fallocate(fd, 0, 0, 20_000)
    assert os.fstat(fd).st_size == 20_000 and os.pread(fd, 3, 9_999) == b"d\0\0"
    fallocate(fd, 1, 0, 40_000)  # keep size
    assert os.fstat(fd).st_size == 20_000
    fallocate(fd, 3, 100, 1000)  # punch
    assert os.pread(fd, 1002, 99) == b"d" + bytes(1000) + b"d"
    fallocate(fd, 0x10, 5000, 100)  # zero
    assert os.pread(fd, 102, 4999) == b"d" + bytes(100) + b"d"
    expect("EOPNOTSUPP", fallocate, fd, 2, 0, 100)
    expect("EOPNOTSUPP", fallocate, fd, 8, 0, 4096)
    expect("EINVAL", fallocate, fd, 0, 0, 0)
    expect("EINVAL", fallocate, fd, 0, -1, 10)
    os.posix_fallocate(fd, 0, 50_000)
    assert os.fstat(fd).st_size == 50_000
    os.close(fd)
    fd = os.open(f"{d}/f", os.O_RDONLY)
    expect("EBADF", fallocate, fd, 0, 0, 10)
    os.close(fd)


def wrong_handles():
    d = main.dir("handles")
    write_file(f"{d}/f", b"data")
    reading, writing = os.open(f"{d}/f", os.O_RDONLY), os.open(f"{d}/f", os.O_WRONLY)
    expect("EBADF", os.write, reading, b"x")
    expect("EBADF", os.read, writing, 1)
    expect("EINVAL", os.ftruncate, reading, 0)
    directory = os.open(d, os.O_RDONLY)
    expect("EISDIR", os.read, directory, 1)
    os.close(directory)
    assert os.read(reading, 0) == b"" and os.write(writing, b"") == 0
    assert os.pread(reading, 10, 4) == b"" and os.pread(reading, 10, 1 << 40) == b""
    os.close(reading), os.close(writing)


def truncate_on_open():
    d = main.dir("trunc")
    write_file(f"{d}/f", b"long content")
    fd = os.open(f"{d}/f", os.O_WRONLY | os.O_TRUNC)
    assert os.fstat(fd).st_size == 0
    os.write(fd, b"new")
    os.close(fd)
    assert read_file(f"{d}/f") == b"new"
    reader = os.open(f"{d}/f", os.O_RDONLY)
    os.truncate(f"{d}/f", 1)
    assert os.pread(reader, 10, 0) == b"n" and os.fstat(reader).st_size == 1
    os.close(reader)


def truncate_during_writes():
    d = main.dir("race")
    stop = threading.Event()
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)

    def cut():
        while not stop.is_set():
            os.ftruncate(fd, 1000)

    thread = threading.Thread(target=cut)
    thread.start()
    for i in range(200):
        os.pwrite(fd, b"x" * 5000, i * 100)
    stop.set()
    thread.join()
    os.ftruncate(fd, 1000)
    os.pwrite(fd, b"tail", 3000)
    content = os.pread(fd, 10_000, 0)
    assert len(content) == 3004 and content[1000:3000] == bytes(2000) and content[3000:] == b"tail"
    os.close(fd)
    assert read_file(f"{d}/f") == content


def direct_io():
    d = main.dir("direct")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 64 * 1024)
    buffer[:] = bytes(range(256)) * 256
    assert os.writev(fd, [buffer]) == 64 * 1024
    back = mmap.mmap(-1, 64 * 1024)
    assert os.preadv(fd, [back], 0) == 64 * 1024 and back[:] == buffer[:]
    other = os.open(f"{d}/f", os.O_RDWR)
    os.pwrite(other, b"cached", 4096)
    os.preadv(fd, [back], 0)
    assert back[4096:4102] == b"cached"
    os.close(fd), os.close(other)


def big_file():
    d = main.dir("bigfile")
    block = random.Random(3).randbytes(MIB)
    with open(f"{d}/f", "wb") as file:
        for i in range(140):  # three chunks
            file.write(i.to_bytes(4, "big") + block[4:])
        file.flush()
        os.fsync(file.fileno())
    with open(f"{d}/f", "rb") as file:
        for i in range(140):
            assert file.read(MIB) == i.to_bytes(4, "big") + block[4:], i
        for i in (130, 3, 64, 63, 0, 139):
            file.seek(i * MIB)
            assert file.read(4) == i.to_bytes(4, "big")
    assert os.stat(f"{d}/f").st_size == 140 * MIB


def size_is_seen_at_once():
    d = main.dir("size")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_WRONLY)
    for i in range(1, 50):
        os.write(fd, b"x" * 1000)
        assert os.stat(f"{d}/f").st_size == i * 1000 and os.fstat(fd).st_size == i * 1000
        assert [e.stat().st_size for e in os.scandir(d)] == [i * 1000]
    os.close(fd)
    assert os.stat(f"{d}/f").st_blocks == (49_000 + 511) // 512


def survives_a_remount():
    d = main.dir("remount")
    data = random.Random(9).randbytes(9 * MIB + 17)
    write_file(f"{d}/f", data, 0o751)
    os.utime(f"{d}/f", ns=(11, 22))
    os.symlink("f", f"{d}/l")
    before = os.stat(f"{d}/f")
    main.mount.umount()
    main.mount.start()
    after = os.stat(f"{d}/f")
    assert (after.st_ino, after.st_size, after.st_mode, after.st_mtime_ns) == (
        before.st_ino, before.st_size, before.st_mode, before.st_mtime_ns)
    assert read_file(f"{d}/l") == data


def dup_and_exec_keep_files():
    d = main.dir("dup")
    fd = os.open(f"{d}/f", os.O_CREAT | os.O_RDWR)
    other = os.dup(fd)
    os.write(fd, b"one")
    os.close(fd)  # flushes; the handle lives on
    os.write(other, b"two")
    fcntl.fcntl(other, fcntl.F_SETFL, os.O_APPEND)
    os.lseek(other, 0, os.SEEK_SET)
    os.write(other, b"three")
    os.close(other)
    assert read_file(f"{d}/f") == b"onetwothree"


def unmount_leaves_all_clean():
    main.umount()


zest.main([sparse_files, holes_and_data, opened_again_without_a_name, append, append_by_many, read_after_write, mapped_files, unlinked_open_files, nameless_files,
           copy_file_range, allocation, wrong_handles, truncate_on_open, truncate_during_writes, direct_io, big_file,
           size_is_seen_at_once, survives_a_remount, dup_and_exec_keep_files, unmount_leaves_all_clean])
