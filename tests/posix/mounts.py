#!/usr/bin/env python3
"""Mounting and unmounting as people do it: background, errors, options, other users, signals, crashes."""
import contextlib
import errno
import json
import os
import shutil
import signal
import stat
import subprocess

from common import expect, link_nameless, read_file, renameat2, write_file, zest

ENV = {"JFS_MOUNT_TIMEOUT": str(zest.PATIENCE)}


def background(volume, *options, where="bg", check=True, **more):
    point = os.path.join(volume.folder, where)
    zest.on_exit(lambda: subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL))
    done = zest.zestfs("mount", "-d", volume.meta, point, "--log", f"{volume.folder}/{where}.log", "--no-syslog",
                       "--cache-dir", f"{volume.folder}/cache", *options, env=ENV, check=check, **more)
    return point, done


def pid_of(point):
    return json.loads(read_file(f"{point}/.config"))["Pid"]


def kill_both(point):
    """The process that serves the mount and the one that watches over it, as a power cut would."""
    config = json.loads(read_file(f"{point}/.config"))
    os.kill(config["PPid"], signal.SIGKILL)
    os.kill(config["Pid"], signal.SIGKILL)


def gone(pid):
    # a zombie has ended, too: it is its parent that has not looked yet
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def mounts_in_the_background():
    volume = zest.Volume()
    point, done = background(volume)
    assert os.stat(point).st_ino == 1 and "is ready at" in done.stderr, "it answers when the command returns"
    with open("/proc/self/mounts") as mounts:
        line = next(m for m in mounts if f" {point} " in m)
    assert line.startswith("zestfs:vol ") and " fuse.zestfs " in line and "default_permissions" in line, line
    write_file(f"{point}/f", b"data")
    pid = pid_of(point)
    zest.zestfs("umount", point)
    zest.wait_until(lambda: gone(pid), "the service ends")
    assert not zest.is_mount(point)
    status = json.loads(zest.zestfs("status", volume.meta).stdout)
    assert not status["Sessions"], "no session is left"
    point, _ = background(volume)
    assert read_file(f"{point}/f") == b"data"
    assert "OK, vol is ready at" in open(f"{volume.folder}/bg.log").read()
    zest.zestfs("umount", point)


def errors_are_told():
    volume = zest.Volume()
    point, done = background(volume, where="x", check=False)
    again = zest.zestfs("mount", "-d", zest.Volume().meta, point, env=ENV, check=False)
    assert again.returncode == 1 and "already mounted" in again.stderr, again.stderr
    zest.zestfs("umount", point)

    def refused(text, *arguments):
        done = zest.zestfs("mount", "--log", f"{volume.folder}/errors.log", *arguments, env=ENV, check=False)
        assert done.returncode == 1 and text in done.stderr + done.stdout, (arguments, done.returncode, done.stdout + done.stderr)

    for mode in ((), ("-d",)):
        refused("not formatted", *mode, f"sqlite3://{volume.folder}/none.db", point)
        refused("nonsense", *mode, "nonsense://x", point)
        refused("root directory", *mode, volume.meta, "/")
        refused("Not a directory", *mode, volume.meta, write_file(f"{volume.folder}/file"))
    refused("unknown option: --nonsense", "--nonsense", volume.meta, point)
    refused("requires at least 2", volume.meta)
    refused("cache-size", "--cache-size", "10Z", volume.meta, point)
    assert not zest.is_mount(point)
    done = zest.zestfs("umount", point, check=False)
    assert done.returncode == 1 and "cannot unmount" in done.stderr


def read_only():
    volume = zest.Volume()
    mount = volume.mount()
    write_file(mount.path("f"), b"data")
    mount.umount()
    for options in (("--read-only",), ("-o", "ro")):
        mount = volume.mount(*options)
        assert read_file(mount.path("f")) == b"data"
        expect("EROFS", os.open, mount.path("f"), os.O_WRONLY)
        expect("EROFS", os.mkdir, mount.path("d"))
        expect("EROFS", os.unlink, mount.path("f"))
        expect("EROFS", os.chmod, mount.path("f"), 0o600)
        expect("EROFS", os.truncate, mount.path("f"), 0)
        assert not json.loads(zest.zestfs("status", volume.meta).stdout)["Sessions"]
        mount.umount()


def subdirectory():
    volume = zest.Volume()
    mount = volume.mount("--subdir", "/a/b")
    assert os.stat(mount.point).st_ino == 1
    write_file(mount.path("f"), b"below")
    os.mkdir(mount.path("d"))
    assert os.path.realpath(mount.path("d", "..")) == mount.point
    expect("ENOENT", os.stat, mount.path(".trash"))
    assert set(os.listdir(mount.point)) == {"f", "d", ".accesslog", ".stats", ".config"}
    mount.umount()
    mount = volume.mount()
    assert read_file(mount.path("a", "b", "f")) == b"below"
    mount.umount()


def stops_on_signals():
    volume = zest.Volume()
    for number in (signal.SIGTERM, signal.SIGINT):
        mount = volume.mount()
        fd = os.open(mount.path("f"), os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"buffered")
        mount.process.send_signal(number)
        zest.wait_until(lambda: not zest.is_mount(mount.point), "the mount goes away at once")
        os.close(fd)  # the last open file: now it ends
        assert mount.process.wait(zest.PATIENCE) == 0, mount.log_text()
        assert not json.loads(zest.zestfs("status", volume.meta).stdout)["Sessions"]
        mount = volume.mount()
        assert read_file(mount.path("f")) == b"buffered"
        os.unlink(mount.path("f"))
        mount.umount()


def busy_and_forced():
    volume = zest.Volume()
    mount = volume.mount()
    fd = os.open(mount.path("f"), os.O_CREAT | os.O_RDWR)
    done = zest.zestfs("umount", mount.point, check=False)
    assert done.returncode == 1 and "busy" in done.stderr.lower(), done.stderr
    assert read_file(mount.path("f")) == b""
    zest.zestfs("umount", "--force", mount.point)
    assert not zest.is_mount(mount.point)
    os.write(fd, b"after")
    os.close(fd)
    assert mount.process.wait(zest.PATIENCE) == 0
    mount.start()
    assert read_file(mount.path("f")) == b"after"
    mount.umount()


def after_a_crash():
    volume = zest.Volume()
    point, _ = background(volume)
    write_file(f"{point}/f", b"saved")
    kill_both(point)

    def dead():
        try:
            os.stat(f"{point}/f")
        except OSError as error:
            return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)

    zest.wait_until(dead, "the mount is broken")
    background(volume)  # repairs the mount point first
    assert read_file(f"{point}/f") == b"saved"
    kill_both(point)
    zest.wait_until(dead, "the mount is broken again")
    zest.zestfs("umount", point)
    assert not zest.is_mount(point)


def as_a_plain_user():
    volume = zest.Volume()
    user = zest.PlainUser(volume)
    point = user.point
    user.zestfs("mount", "-d", volume.meta, point, env=ENV)
    user.run("sh", "-c", f"echo hello > {point}/f && mkdir {point}/d && cat {point}/f {point}/.config > /dev/null")
    expect("EACCES", os.stat, f"{point}/f")  # nobody else may look, not even root
    user.zestfs("umount", point)
    assert not zest.is_mount(point) and os.path.exists(f"{user.home}/.juicefs/zestfs.log")


def through_mount_8():
    volume = zest.Volume()
    helper = f"{volume.folder}/mount.zestfs"
    os.symlink(os.path.abspath(zest.ZESTFS), helper)
    point = f"{volume.folder}/fstab"
    zest.on_exit(lambda: subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL))
    zest.run(helper, volume.meta, point, "-o",
             f"rw,_netdev,noatime,subdir=/sub,attrcacheto=3s,enable-xattr,log={volume.folder}/fstab.log,no-syslog,cache-dir=memory", env=ENV)
    config = json.loads(read_file(f"{point}/.config"))
    assert config["AttrTimeout"] == 3_000_000_000 and config["Meta"]["Subdir"] == "/sub"
    with open("/proc/self/mounts") as mounts:
        assert "noatime" in next(m for m in mounts if f" {point} " in m)
    os.setxattr(write_file(f"{point}/f"), "user.x", b"1")
    zest.zestfs("umount", point)


def as_fstab_has_it():
    """mount -a, mount DIR, remount and umount by util-linux, where /etc/fstab and /sbin are of this test's own."""
    volume = zest.Volume()
    script = """
        W=$1 URL=$2 BINARY=$3
        mkdir $W/sbin $W/all $W/mnt
        mount --bind /usr/sbin $W/all
        ln -s $W/all/* $W/sbin/
        ln -sf $BINARY $W/sbin/mount.zestfs
        ln -sf $BINARY $W/sbin/mount.fuse.zestfs
        mount --bind $W/sbin /usr/sbin
        echo "$URL $W/mnt zestfs _netdev,nofail,noauto,user,exec,x-systemd.automount,X-foo,comment=x,nodev,log=$W/log,cache-dir=memory,enable-xattr 0 0" > $W/fstab
        mount --bind $W/fstab /etc/fstab
        options() { findmnt -no OPTIONS $W/mnt; }
        pid() { grep -o '"Pid": [0-9]*' $W/mnt/.config; }
        fails() { if "$@"; then return 1; fi; }
        refused() { code=0; "$@" || code=$?; [ $code = 32 ]; }

        mount $W/mnt
        [ "$(findmnt -no SOURCE,FSTYPE $W/mnt | tr -s ' ')" = "zestfs:vol fuse.zestfs" ]
        case $(options) in rw,*nodev*) ;; *) false ;; esac
        touch $W/mnt/f
        before=$(pid)
        line=$(sed s/noauto,// $W/fstab)
        echo "$line" > $W/fstab
        mount -a
        mount -a
        [ "$(pid)" = "$before" ]

        # by the line of fstab, and by what is mounted
        touch $W/empty
        for fstab in $W/fstab $W/empty; do
          mount -o remount,ro -T $fstab $W/mnt
          case $(options) in ro,*nodev*) ;; *) false ;; esac
          fails touch $W/mnt/g
          mount -o remount,rw,noatime -T $fstab $W/mnt
          case $(options) in rw,*nodev*noatime*) ;; *) false ;; esac
          touch $W/mnt/g
        done
        exec 9>$W/mnt/open
        refused mount -o remount,ro $W/mnt
        exec 9>&-
        [ "$(pid)" = "$before" ]
        setfattr -n user.x -v 1 $W/mnt/f
        umount $W/mnt

        mount -f $W/mnt
        fails mountpoint -q $W/mnt
        mount -r -t zestfs $URL $W/mnt -o log=$W/log,cache-dir=memory
        fails touch $W/mnt/h
        refused mount -o remount,rw $W/mnt
        umount $W/mnt
        mount -t fuse.zestfs $URL $W/mnt -o log=$W/log,cache-dir=memory
        touch $W/mnt/i
        umount $W/mnt
        refused mount -t zestfs sqlite3://$W/none.db $W/mnt -o log=$W/log
        refused mount -o remount,ro $W/mnt
        """
    zest.run("unshare", "-m", "bash", "-euxc", script, "fstab", volume.folder, volume.meta, os.path.abspath(zest.ZESTFS), env=ENV)


def storage_changes_while_mounted():
    volume = zest.Volume()
    mount = volume.mount("--heartbeat", "1", "--cache-size", "0")
    write_file(mount.path("old"), b"before")
    moved = f"{volume.folder}/moved/"
    shutil.copytree(volume.bucket, moved)
    zest.zestfs("config", volume.meta, "--bucket", moved, "--yes")

    def objects(top):
        return {name for _, _, names in os.walk(top) for name in names}

    def arrives():
        write_file(mount.path("new"), os.urandom(100))
        return objects(moved) - objects(volume.bucket)

    zest.wait_until(arrives, "what is written lands in the new bucket")
    shutil.rmtree(volume.bucket)
    mount.umount()
    mount.start()
    assert read_file(mount.path("old")) == b"before" and len(read_file(mount.path("new"))) == 100
    # settings that cannot be used leave the mount as it is
    code = f"import sqlite3; c = sqlite3.connect('{volume.meta[10:]}'); " \
           "c.execute(\"update jfs_setting set value = replace(value, '\\\"file\\\"', '\\\"nonsense\\\"')\"); c.commit()"
    zest.run("python3", "-c", code)
    zest.wait_until(lambda: "cannot be used" in mount.log_text(), "the log tells it")
    assert read_file(mount.path("old")) == b"before"
    mount.umount()


def write_back_cache_of_the_kernel():
    volume = zest.Volume()
    mount = volume.mount("-o", "writeback_cache")
    with open(mount.path("f"), "wb") as file:
        for i in range(10_000):
            file.write(b"%08d\n" % i)
    assert os.stat(mount.path("f")).st_size == 90_000
    fd = os.open(mount.path("f"), os.O_WRONLY)
    os.pwrite(fd, b"inside", 12_345)
    os.close(fd)
    mount.umount()
    mount.start()
    text = read_file(mount.path("f"))
    assert len(text) == 90_000 and text[12_345:12_351] == b"inside" and text[-9:] == b"00009999\n"
    mount.umount()


def two_mounts_see_each_other():
    volume = zest.Volume()
    one, two = volume.mount(where="one"), volume.mount(where="two")
    f, g = one.path("f"), two.path("f")
    write_file(f, b"first")
    assert read_file(g) == b"first"
    write_file(f, b"second, and longer")
    assert read_file(g) == b"second, and longer", "opening sees what was closed before"
    write_file(g, b"3")
    assert read_file(f) == b"3"
    # whoever keeps a file open and does nothing but read
    write_file(f, b"A" * 5000)
    reader = os.open(g, os.O_RDONLY)
    assert os.pread(reader, 5000, 0) == b"A" * 5000
    write_file(f, b"B" * 5000)
    zest.wait_until(lambda: os.pread(reader, 5000, 0) == b"B" * 5000, "the new content is seen")
    write_file(f, b"C" * 6000)
    zest.wait_until(lambda: os.pread(reader, 9000, 0) == b"C" * 6000, "the longer content is seen")
    os.close(reader)
    os.rename(f, one.path("moved"))
    zest.wait_until(lambda: os.path.exists(two.path("moved")) and not os.path.exists(g), "the new name is seen")
    os.unlink(two.path("moved"))
    zest.wait_until(lambda: not os.path.exists(one.path("moved")), "the removal is seen")
    one.umount()
    two.umount()


def whiteouts():
    mount = zest.Volume().mount("--enable-whiteout", "-o", "dev")
    one, two, three = (mount.path(name) for name in ("one", "two", "three"))
    write_file(one, b"file")
    ino = os.stat(one).st_ino
    renameat2(one, two, 4)
    st = os.lstat(one)
    assert stat.S_ISCHR(st.st_mode) and (st.st_rdev, st.st_mode & 0o777) == (0, 0) and os.stat(two).st_ino == ino
    os.mknod(three, stat.S_IFCHR, os.makedev(0, 0))
    expect("EEXIST", renameat2, two, three, 5)
    expect("EINVAL", renameat2, two, three, 6)
    os.rename(two, three)
    os.unlink(one)
    assert [name for name in os.listdir(mount.point) if not name.startswith(".")] == ["three"]
    mount.umount()


def below_an_overlay():
    """As container hosts have it: what changes is written to the volume, over files that stay as they are."""
    volume = zest.Volume()
    mount = volume.mount("--enable-xattr", "--enable-whiteout")
    for name in ("upper", "work"):
        os.mkdir(mount.path(name))
    lower, merged = f"{volume.folder}/lower", f"{volume.folder}/merged"
    for name in (merged, lower, f"{lower}/dir", f"{lower}/dir/sub", f"{lower}/gone"):
        os.mkdir(name)
    for name in ("kept", "removed", "moved", "dir/in", "dir/sub/deep", "gone/x"):
        write_file(f"{lower}/{name}", name.encode())
    options = f"lowerdir={lower},upperdir={mount.path('upper')},workdir={mount.path('work')},redirect_dir=on,index=off"
    overlay = ["mount", "-t", "overlay", "overlay", "-o", options, merged]
    done = zest.run(*overlay, check=False)
    if "unknown filesystem type" in done.stderr:
        return print("this kernel has no overlay file system")
    assert done.returncode == 0, done.stderr
    zest.on_exit(lambda: zest.run("umount", "-l", merged, check=False))
    os.unlink(f"{merged}/removed")
    os.rename(f"{merged}/moved", f"{merged}/here")
    shutil.rmtree(f"{merged}/gone")
    os.mkdir(f"{merged}/gone")
    os.rename(f"{merged}/dir", f"{merged}/there")
    write_file(f"{merged}/kept", b"changed")
    with open(f"{merged}/there/sub/deep", "ab") as file:
        file.write(b" and more")
    fd = os.open(merged, os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"nameless")
    link_nameless(fd, f"{merged}/named")
    os.close(fd)

    def check():
        assert sorted(os.listdir(merged)) == ["gone", "here", "kept", "named", "there"]
        assert os.listdir(f"{merged}/gone") == [] and sorted(os.listdir(f"{merged}/there")) == ["in", "sub"]
        assert read_file(f"{merged}/here") == b"moved" and read_file(f"{merged}/kept") == b"changed"
        assert read_file(f"{merged}/there/sub/deep") == b"dir/sub/deep and more" and read_file(f"{merged}/named") == b"nameless"

    check()
    for name in ("removed", "moved", "dir"):
        st = os.lstat(mount.path("upper", name))
        assert stat.S_ISCHR(st.st_mode) and st.st_rdev == 0
    assert os.getxattr(mount.path("upper", "gone"), "trusted.overlay.opaque") == b"y"
    zest.run("umount", merged)
    mount.umount()
    mount.start()
    zest.run(*overlay)
    check()
    zest.run("umount", merged)
    mount.umount()
    assert read_file(f"{lower}/kept") == b"kept"
    zest.zestfs("fsck", volume.meta)


zest.main([mounts_in_the_background, errors_are_told, read_only, subdirectory, stops_on_signals, busy_and_forced,
           after_a_crash, as_a_plain_user, through_mount_8, as_fstab_has_it, storage_changes_while_mounted, write_back_cache_of_the_kernel, two_mounts_see_each_other, whiteouts, below_an_overlay])
