#!/usr/bin/env python3
"""Passwords and TLS of the SQL databases, on real servers: what must get in gets in, what must not does not, and no password is
seen in a log, an error or the list of processes.

databases.py [CASE...]
"""
import os
import re
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))
import zest
import servers

PASSWORD = "p@ss:w/rd%&x=?#y"  # a percent sign that begins no code, so that MySQL's URL can also hold it as it is
ENCODED = urllib.parse.quote(PASSWORD, safe="")
SECRETS = (PASSWORD, ENCODED, "w/rd%&x")  # nor a part


class Authority:
    """Signs certificates of servers at 127.0.0.1."""

    def __init__(self):
        self.folder = zest.temp_dir("ca")
        self.certificate = f"{self.folder}/ca.pem"
        zest.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", "/CN=zest test authority", "-keyout",
                 f"{self.folder}/ca.key", "-out", self.certificate)

    def sign(self, folder, owner=None):
        """Puts server.key and server.pem into the folder."""
        zest.run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", f"{folder}/server.key", "-out",
                 f"{folder}/server.csr")
        with open(f"{folder}/san", "w") as names:
            names.write("subjectAltName=IP:127.0.0.1")
        zest.run("openssl", "x509", "-req", "-in", f"{folder}/server.csr", "-CA", self.certificate, "-CAkey", f"{self.folder}/ca.key",
                 "-CAcreateserial", "-days", "3", "-extfile", f"{folder}/san", "-out", f"{folder}/server.pem")
        if owner:
            for name in ("server.key", "server.pem"):
                os.chmod(f"{folder}/{name}", 0o600)
                zest.shutil.chown(f"{folder}/{name}", owner, owner)


def every_command_line():
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line, open(f"/proc/{pid}/comm") as name:
                if name.read().strip().startswith("zestfs"):
                    out.append(line.read().decode(errors="replace"))
        except OSError:
            pass
    return out


def must_show_nothing(where, text):
    for secret in SECRETS:
        assert secret not in text, f"{where} shows the password: {text}"


def refused(meta, why, **env):
    """An attempt ends at once, with words that fit and without the password."""
    done = zest.zestfs("status", meta, check=False, env=env, timeout=40)
    output = done.stdout + done.stderr
    assert done.returncode != 0 and re.search(why, output, re.I), output
    must_show_nothing("an error", output)


def use(meta, **env):
    """A volume by this URL: formatted, mounted, looked at; nothing shows the password."""
    folder = zest.temp_dir("zestvol")
    done = zest.zestfs("format", meta, "vol", "--storage", "file", "--bucket", f"{folder}/data/", env=env)
    must_show_nothing("format", done.stdout + done.stderr)
    mount = zest.Mount(meta, f"{folder}/mnt", "--cache-dir", f"{folder}/cache", "-v", env=env)
    with open(mount.path("f"), "w") as file:
        file.write("x")
    lines = every_command_line()
    assert any(str(mount.point) in line for line in lines), lines
    for line in lines:
        must_show_nothing("the list of processes", line)
    done = zest.zestfs("status", meta, env=env)
    must_show_nothing("status", done.stdout + done.stderr)
    with open(mount.path(".config")) as config:
        must_show_nothing(".config", config.read())
    mount.umount()
    with open(mount.log) as log:
        must_show_nothing("the log", log.read())
    log = f"{folder}/daemon.log"
    zest.zestfs("mount", "-d", meta, f"{folder}/daemon", "--log", log, "--cache-dir", f"{folder}/cache", "--no-usage-report", env=env)
    zest.on_exit(zest.run, "umount", "-l", f"{folder}/daemon")
    with open(f"{folder}/daemon/f") as file:
        assert file.read() == "x"
    for line in every_command_line():
        must_show_nothing("the list of processes", line)
    zest.zestfs("umount", f"{folder}/daemon")
    with open(log) as text:
        must_show_nothing("the daemon's log", text.read())
    uuid = uuid_of(meta, env)
    # the daemon may still be closing its session
    zest.wait_until(lambda: zest.zestfs("destroy", meta, uuid, "--yes", env=env, check=False).returncode == 0, "the volume is destroyed")


def uuid_of(meta, env):
    return re.search(r'"UUID": *"([^"]+)"', zest.zestfs("status", meta, env=env).stdout).group(1)


def ways_in(url_without, url_with, **env):
    """The same database by the three ways that a password can come."""
    use(url_with, **env)
    use(url_without, META_PASSWORD=PASSWORD, **env)
    secret = os.path.join(zest.temp_dir("secret"), "password")
    with open(secret, "w") as file:
        file.write(PASSWORD + "\n")
    os.chmod(secret, 0o600)
    use(url_without, META_PASSWORD_FILE=secret, **env)


def postgres():
    authority, other = Authority(), Authority()
    server = servers.Postgres()
    authority.sign(server.folder, owner="postgres")
    server.sql(f"create user client password '{PASSWORD}'; grant all on schema public to client; alter database zest owner to client;")
    with open(f"{server.folder}/d/pg_hba.conf", "w") as rules:
        rules.write("local all postgres trust\nhostssl all client 127.0.0.1/32 scram-sha-256\n")
    server.kill()
    server.options += ["ssl=on", f"ssl_cert_file={server.folder}/server.pem", f"ssl_key_file={server.folder}/server.key"]
    server.start()
    where = f"127.0.0.1:{server.port}/zest?"
    verified = f"sslmode=verify-full&sslrootcert={authority.certificate}"
    ways_in(f"postgres://client@{where}{verified}", f"postgres://client:{ENCODED}@{where}{verified}")
    use(f"postgres://client@{where}{verified}&password={ENCODED}")
    use(f"postgres://client:{ENCODED}@{where}sslmode=require")
    refused(f"postgres://client:{ENCODED}@{where}sslmode=verify-full&sslrootcert={other.certificate}", "certificate verify failed")
    refused(f"postgres://client:{ENCODED}@{where}sslmode=disable", "pg_hba")
    refused(f"postgres://client:{ENCODED}x@{where}{verified}", "authentication failed")
    refused(f"postgres://client@{where}{verified}", "authentication failed", META_PASSWORD=PASSWORD + "x")
    refused(f"postgres://client@{where}{verified}", "no password")


def mariadb():
    authority, other = Authority(), Authority()
    server = servers.Mariadb()
    authority.sign(server.folder)
    server.sql(f"create user client identified by '{PASSWORD}' require ssl; grant all on zest.* to client;")
    server.kill()
    server.options += [f"--ssl-cert={server.folder}/server.pem", f"--ssl-key={server.folder}/server.key", "--require-secure-transport=ON"]
    server.start()
    trusted, where = {"SSL_CERT_FILE": authority.certificate}, f"(127.0.0.1:{server.port})/zest"
    ways_in(f"mysql://client@{where}?tls=true", f"mysql://client:{PASSWORD}@{where}?tls=true", **trusted)
    use(f"mysql://client:{ENCODED}@{where}?tls=skip-verify")
    use(f"mysql://client:{ENCODED}@{where}?tls=preferred")
    refused(f"mysql://client:{ENCODED}@{where}?tls=true", "certificate|SSL|TLS", SSL_CERT_FILE=other.certificate)
    refused(f"mysql://client:{ENCODED}@{where}", "secure transport|insecure|denied")
    refused(f"mysql://client:{ENCODED}x@{where}?tls=true", "denied", **trusted)
    refused(f"mysql://client@{where}?tls=true", "denied", META_PASSWORD=PASSWORD + "x", **trusted)
    plain = servers.Mariadb()
    plain.sql(f"create user client identified by '{PASSWORD}'; grant all on zest.* to client;")
    there = f"(127.0.0.1:{plain.port})/zest"
    use(f"mysql://client:{ENCODED}@{there}?tls=preferred")
    refused(f"mysql://client:{ENCODED}@{there}?tls=skip-verify", "SSL|TLS")


zest.main([postgres, mariadb])
