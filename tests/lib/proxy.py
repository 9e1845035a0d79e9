"""A TCP proxy between a client and its database that is slow, stands still, loses answers, moves to another server, and counts
round trips. It is a process of its own, so that it neither shares the caller's lock nor stops with it.

    proxy = Proxy(("127.0.0.1", 6379), delay_ms=1)
    proxy.port                 where the client connects
    proxy.trips()              answers that began after a request, on all connections together, so far
"""
import asyncio
import collections
import selectors
import subprocess
import sys
import threading


class Proxy:
    """Ends with the caller. Thread safe."""

    def __init__(self, target, delay_ms=0):
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()
        self.port = int(self.process.stdout.readline())
        self.move(target)
        self.delay(delay_ms)

    def _ask(self, *words):
        with self.lock:
            print(*words, file=self.process.stdin, flush=True)
            return int(self.process.stdout.readline())

    def delay(self, ms):
        """Every answer waits so long: the round trip of a network."""
        self._ask("delay", ms)

    def stall(self):
        """Nothing passes, and nothing is refused, until go()."""
        self._ask("stall")

    def go(self):
        self._ask("go")

    def lose_answer(self, after=0):
        """After so many more answers one is lost and its connection cut: what was asked for has been done."""
        self._ask("lose_answer", after)

    def lose_request(self, after=0):
        """After so many more requests one is lost and its connection cut: it has not been done."""
        self._ask("lose_request", after)

    def lost(self):
        """How many were lost so far."""
        return self._ask("lost")

    def cut(self):
        """Cuts all connections."""
        self._ask("cut")

    def move(self, target):
        """New connections go to this address."""
        self._ask("move", *target)

    def trips(self):
        return self._ask("trips")

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


DRAIN_SECONDS = 0.2  # what a server needs to get to the end of a request whose first words of an answer are there


class Side(asyncio.Protocol):
    """One end of a connection; what it receives goes to the other end."""

    def __init__(self, relay, is_client, other=None):
        self.relay, self.is_client, self.other = relay, is_client, other
        self.transport, self.waiting, self.muted = None, collections.deque(), False

    def connection_made(self, transport):
        self.transport = transport
        self.relay.sides.add(self)
        if self.relay.stalled:
            transport.pause_reading()
        if self.is_client:
            asyncio.ensure_future(self.connect())
            return
        client = self.other
        if client.transport.is_closing():
            transport.abort()
            return
        client.other = self
        self.answered = not client.waiting
        while client.waiting:
            client.pass_on()

    async def connect(self):
        await self.relay.moving()
        try:
            await asyncio.get_running_loop().create_connection(lambda: Side(self.relay, False, self), *self.relay.target)
        except OSError:
            self.transport.abort()

    def data_received(self, data):
        if self.muted:
            return
        if self.relay.loses(self):
            client, server = (self, self.other) if self.is_client else (self.other, self)
            client.transport.abort()
            if server:
                server.muted = True
                asyncio.get_running_loop().call_later(DRAIN_SECONDS, server.transport.abort)
            return
        self.waiting.append(data)
        if self.is_client:
            if self.other:
                self.pass_on()
        elif self.relay.delay or self.waiting[0] is not data:
            asyncio.get_running_loop().call_later(self.relay.delay, self.pass_on)
        else:
            self.pass_on()

    def pass_on(self):
        if self.waiting:
            data = self.waiting.popleft()
            if not self.other.transport.is_closing():
                self.other.transport.write(data)

    def connection_lost(self, _):
        self.relay.sides.discard(self)
        if self.other and not self.other.muted:
            # what was received goes out first
            while self.waiting:
                self.pass_on()
            self.other.transport.close()


class Relay:
    """What all connections share, and the commands on it."""

    def __init__(self):
        self.target, self.delay, self.stalled, self.sides = None, 0.0, False, set()
        self.trip_count = self.lost_count = 0
        self.answers_left = self.requests_left = None

    def loses(self, side):
        """Notes that data came; is it to be lost?"""
        server = side.other if side.is_client else side
        if server is None:
            return False
        if side.is_client:
            if not server.answered:
                return False  # the request goes on
            server.answered = False
            left = self.requests_left = None if self.requests_left is None else self.requests_left - 1
        else:
            if server.answered:
                return False
            server.answered = True
            self.trip_count += 1
            left = self.answers_left = None if self.answers_left is None else self.answers_left - 1
        if left != -1:
            return False
        self.lost_count += 1
        if side.is_client:
            self.requests_left = None
        else:
            self.answers_left = None
        return True

    async def moving(self):
        while self.stalled or self.target is None:
            await asyncio.sleep(0.01)

    def command(self, name, *words):
        if name == "delay":
            self.delay = float(words[0]) / 1000
        elif name == "move":
            self.target = (words[0], int(words[1]))
        elif name in ("stall", "go"):
            self.stalled = name == "stall"
            for side in self.sides:
                side.transport.pause_reading() if self.stalled else side.transport.resume_reading()
        elif name == "cut":
            for side in list(self.sides):
                side.transport.abort()
        elif name == "lose_answer":
            self.answers_left = int(words[0])
        elif name == "lose_request":
            self.requests_left = int(words[0])
        elif name == "lost":
            return self.lost_count
        elif name == "trips":
            return self.trip_count
        else:
            raise ValueError(name)
        return 0


async def serve():
    relay, loop = Relay(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Side(relay, True), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        print(relay.command(*line.decode().split()), flush=True)


if __name__ == "__main__":
    # epoll knows milliseconds only
    asyncio.SelectorEventLoop(selectors.SelectSelector()).run_until_complete(serve())
