"""An S3 server inside a test, which counts what it is asked for, and stands still when told."""
import http.server
import threading
import urllib.parse

PAGE = 50  # keys in an answer
LONG_AGO = "2020-01-01T00:00:00.000Z"


class Store:
    """Objects in memory, on an S3 server that believes everything. listed, heads: what was asked for; hold(kind, n): the n-th such request from now on waits for go()."""

    def __init__(self):
        self.objects, self.lock = {}, threading.Lock()
        self.tags, self.classes, self.restored = {}, {}, {}  # by key; restored: the days asked for
        self.forget()
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, code, body=b"", **headers):
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if "Content_Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def key(self):
                return urllib.parse.unquote(self.path.partition("?")[0]).removeprefix("/bucket").lstrip("/")

            def do_PUT(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.key():
                    store.objects[self.key()] = body
                    store.tags[self.key()] = self.headers.get("x-amz-tagging", "")
                    store.classes[self.key()] = self.headers.get("x-amz-storage-class", "")
                self.answer(200)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                if not self.path.endswith("?restore="):
                    return self.answer(400)
                if store.classes.get(self.key()) != "GLACIER":
                    return self.answer(403, b"<Error><Code>InvalidObjectState</Code></Error>")
                store.restored[self.key()] = int(body.partition("<Days>")[2].partition("<")[0])
                self.answer(202)

            def do_DELETE(self):
                store.objects.pop(self.key(), None)
                self.answer(204)

            def do_HEAD(self):
                store.asked("heads", 1)
                found = store.objects.get(self.key())
                self.answer(404) if found is None else self.answer(200, Content_Length=str(len(found)),
                                                                   Last_Modified="Wed, 01 Jan 2020 00:00:00 GMT")

            def do_GET(self):
                if self.key():
                    found = store.objects.get(self.key())
                    return self.answer(404) if found is None else self.answer(200, found)
                query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2], keep_blank_values=True))
                after = query.get("continuation-token") or query.get("start-after", "")
                names = sorted(key for key in list(store.objects) if key.startswith(query.get("prefix", "")) and key > after)
                page = names[:PAGE]
                store.asked("listed", len(page))
                contents = "".join(f"<Contents><Key>{key}</Key><Size>{len(store.objects[key])}</Size>"
                                   f"<LastModified>{LONG_AGO}</LastModified></Contents>" for key in page)
                more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{page[-1]}</NextContinuationToken>" if len(names) > PAGE \
                    else "<IsTruncated>false</IsTruncated>"
                self.answer(200, f"<ListBucketResult>{contents}{more}</ListBucketResult>".encode())

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients are killed here
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def storage(self):
        """What `zestfs format` needs to use it."""
        return ["--storage", "s3", "--bucket", f"http://127.0.0.1:{self.server.server_port}/bucket", "--access-key", "a", "--secret-key", "s"]

    def forget(self):
        self.listed = self.heads = 0
        self.held, self.free, self.when = threading.Event(), threading.Event(), None

    def hold(self, kind, count):
        self.forget()
        self.when = (kind, count)

    def asked(self, kind, count):
        with self.lock:
            setattr(self, kind, getattr(self, kind) + count)
            wait = self.when and self.when[0] == kind and getattr(self, kind) >= self.when[1]
        if wait:
            self.held.set()
            self.free.wait()
