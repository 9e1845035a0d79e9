"""A TCP proxy that hands answers on some milliseconds later, like a network between client and store. It moves data between the
kernel's pipes (splice(2)) and never copies it, so that it takes little of the CPUs that client and store share. A process of its own.

    delay = Delay(("127.0.0.1", 8333), ms=20)
    delay.port                 where the client connects
"""
import collections
import fcntl
import os
import select
import socket
import subprocess
import sys
import time

PIECE = 1 << 20
HELD = 64  # pieces of one connection that wait at most


class Delay:
    """Ends with the caller."""

    def __init__(self, target, ms):
        self.process = subprocess.Popen([sys.executable, __file__, target[0], str(target[1]), str(ms)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())


class Flow:
    """One direction of a connection. The loop calls take() when the source has data, and give() when the target has room."""

    def __init__(self, relay, source, target, delay):
        self.relay, self.source, self.target, self.delay = relay, source, target, delay
        self.pieces = collections.deque()  # (due, pipe, bytes); no bytes: the end
        self.reading, self.blocked = True, False

    def take(self):
        pipe = self.relay.pipes.pop() if self.relay.pipes else new_pipe()
        try:
            size = os.splice(self.source.fileno(), pipe[1], PIECE, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        except BlockingIOError:
            self.relay.pipes.append(pipe)
            return
        self.pieces.append([time.monotonic() + self.delay, pipe, size])
        self.reading = size > 0 and len(self.pieces) < HELD
        self.give()

    def give(self):
        self.blocked = False
        while self.pieces and self.pieces[0][0] <= time.monotonic():
            _, pipe, left = piece = self.pieces[0]
            if left == 0:
                self.target.shutdown(socket.SHUT_WR)
                self.pieces.clear()
                return
            try:
                piece[2] -= os.splice(pipe[0], self.target.fileno(), left, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
            except BlockingIOError:
                self.blocked = True
                return
            if piece[2] == 0:
                self.relay.pipes.append(pipe)
                self.pieces.popleft()
                self.reading = True

    def due(self):
        return self.pieces[0][0] if self.pieces and not self.blocked else None


def new_pipe():
    pipe = os.pipe()
    fcntl.fcntl(pipe[0], fcntl.F_SETPIPE_SZ, PIECE)
    return pipe


class Relay:
    def __init__(self, target, delay):
        self.target, self.delay, self.pipes, self.ends = target, delay, [], {}
        self.epoll = select.epoll()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.epoll.register(self.listener, select.EPOLLIN)
        self.epoll.register(sys.stdin, select.EPOLLIN)

    def accept(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(self.target)
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.epoll.register(end, 0)
        there, back = Flow(self, client, server, 0), Flow(self, server, client, self.delay)
        # each end: what it is the source of, and the target of
        self.ends[client.fileno()] = [client, there, back, 0]
        self.ends[server.fileno()] = [server, back, there, 0]

    def close(self, end):
        for flow in (end[1], end[2]):
            flow.reading = False
            for _, pipe, size in flow.pieces:
                if size:
                    os.close(pipe[0])
                    os.close(pipe[1])
            flow.pieces.clear()
        for one in (end[1].source, end[1].target):
            if self.ends.pop(one.fileno(), None):
                one.close()

    def wanted(self):
        """Tells epoll what each end waits for; gives the time until a piece is due."""
        first = None
        for fd, end in self.ends.items():
            _, takes, gives, told = end
            events = (select.EPOLLIN if takes.reading else 0) | (select.EPOLLOUT if gives.blocked else 0)
            if events != told:
                self.epoll.modify(fd, events)
                end[3] = events
            due = takes.due()
            if due is not None and (first is None or due < first):
                first = due
        return -1 if first is None else max(0.0, first - time.monotonic())

    def run(self):
        print(self.listener.getsockname()[1], flush=True)
        while True:
            for fd, events in self.epoll.poll(self.wanted()):
                if fd == sys.stdin.fileno():
                    return  # the caller has ended
                if fd == self.listener.fileno():
                    self.accept()
                elif end := self.ends.get(fd):
                    self.pass_on(end, events)
            for end in list(self.ends.values()):
                self.guarded(end, end[1].give)

    def pass_on(self, end, events):
        if events & select.EPOLLIN:
            self.guarded(end, end[1].take)
        if events & select.EPOLLOUT:
            self.guarded(end, end[2].give)
        if events & (select.EPOLLERR | select.EPOLLHUP) and not end[1].pieces and not end[2].pieces:
            self.close(end)

    def guarded(self, end, step):
        try:
            step()
        except OSError:
            self.close(end)


if __name__ == "__main__":
    Relay((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]) / 1000).run()
