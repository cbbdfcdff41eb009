#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Raw sockets against node/edge/transport.h: what a client library would never send.

Usage: test_transport.py ECHO_SERVER   (built from transport_echo.c)

Every case waits for bytes or the end of the connection, never for an amount of time; a case that
would wait for ever fails after SOCKET_S.
"""
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile

SOCKET_S = 20
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def upgrade(path="/", extra=""):
    return (f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extra}\r\n").encode()


def frame(op, payload=b"", fin=True, mask=True, rsv=0, claim=None, wide=False):
    n = len(payload) if claim is None else claim
    m = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv | op])
    if wide or n > 65535:
        head += bytes([m | 127]) + struct.pack(">Q", n)
    elif n > 125:
        head += bytes([m | 126]) + struct.pack(">H", n)
    else:
        head += bytes([m | n])
    if not mask:
        return head + payload
    key = os.urandom(4)
    keys = (key * (len(payload) // 4 + 1))[:len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")
    return head + key + masked.to_bytes(len(payload), "big")


class Peer:
    """One connection; context is an SSLContext or None."""

    def __init__(self, port, context=None):
        self.s = socket.create_connection(("127.0.0.1", port), SOCKET_S)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.s = context.wrap_socket(self.s, server_hostname="localhost")
        self.buf = b""

    def send(self, data):
        self.s.sendall(data)

    def more(self):
        got = self.s.recv(65536)
        self.buf += got
        return bool(got)

    def take(self, n):
        while len(self.buf) < n:
            if not self.more():
                raise EOFError(f"{len(self.buf)} of {n} bytes, then the end: {self.buf[:200]!r}")
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def head(self):
        while b"\r\n\r\n" not in self.buf:
            if not self.more():
                raise EOFError(f"no head: {self.buf[:200]!r}")
        head, self.buf = self.buf.split(b"\r\n\r\n", 1)
        return head

    def answer(self, bodiless=False):
        head = self.head()
        status = int(head.split(b" ")[1])
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        n = int(fields.get(b"content-length", 0))
        return status, fields, b"" if bodiless else self.take(n)

    def frame(self):
        b0, b1 = self.take(2)
        assert b0 & 0x70 == 0 and b0 & 0x80 and b1 & 0x80 == 0, (b0, b1)
        n = b1
        if n == 126:
            n, = struct.unpack(">H", self.take(2))
        elif n == 127:
            n, = struct.unpack(">Q", self.take(8))
        return b0 & 15, self.take(n)

    def open(self, path="/", extra=""):
        self.send(upgrade(path, extra))
        head = self.head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert ACCEPT in head, head
        return head

    def ended(self):
        """The server sends nothing more; True also for a reset."""
        try:
            return not self.more() and not self.buf
        except (ConnectionResetError, ssl.SSLError):
            return True

    def close_code(self):
        op, payload = self.frame()
        assert op == CLOSE, (op, payload[:100])
        return struct.unpack(">H", payload[:2])[0], payload[2:].decode()

    def expect_close(self, code):
        got = self.close_code()
        assert got[0] == code, got
        assert self.ended()
        self.s.close()


class Server:
    def __init__(self, exe, *args):
        self.p = subprocess.Popen([exe, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.p.stdout.readline())
        self.context = None

    def peer(self):
        return Peer(self.port, self.context)

    def ws(self, path="/", extra=""):
        p = self.peer()
        p.open(path, extra)
        return p

    def stats(self):
        p = self.peer()
        p.send(b"GET /stats HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nConnection: close\r\n\r\n")
        return p.answer()[2].decode().split()

    def rss(self):
        with open(f"/proc/{self.p.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def stop(self):
        self.p.stdin.close()
        assert self.p.wait(SOCKET_S) == 0, f"server ended with {self.p.returncode}"


CASES = []


def case(fn):
    CASES.append(fn)
    return fn


@case
def upgrade_and_echo(s):
    p = s.ws()
    for n in (0, 1, 125, 126, 4095, 4096, 4097, 65535, 65536, 300000):
        data = os.urandom(n)
        p.send(frame(BINARY, data))
        assert p.frame() == (BINARY, data), n
    p.send(frame(TEXT, "grüße 😀".encode()))
    assert p.frame() == (TEXT, "grüße 😀".encode())
    p.send(frame(CLOSE, struct.pack(">H", 1000)))
    p.expect_close(1000)


@case
def upgrade_in_a_later_turn(s):
    p = s.peer()
    p.send(upgrade("/later") + frame(TEXT, b"early"))
    assert p.head().startswith(b"HTTP/1.1 101 ")
    assert p.frame() == (TEXT, b"early")


@case
def upgrade_refused_and_connection_kept(s):
    p = s.peer()
    p.send(upgrade("/refuse"))
    assert p.answer()[0] == 403
    p.open()


@case
def no_extension_and_first_subprotocol(s):
    p = s.peer()
    head = p.open(extra="Sec-WebSocket-Protocol: one, two\r\n"
                        "Sec-WebSocket-Extensions: permessage-deflate\r\n").lower()
    assert b"sec-websocket-protocol: one\r\n" in head + b"\r\n", head
    assert b"extensions" not in head
    assert b"sec-websocket-protocol" not in s.peer().open().lower()


@case
def hundred_frames_behind_the_handshake(s):
    for size in (1, 40, 200, 600):
        p = s.peer()
        p.send(upgrade() + b"".join(frame(TEXT, b"%03d" % i + b"x" * size) for i in range(100)))
        p.head()
        for i in range(100):
            assert p.frame() == (TEXT, b"%03d" % i + b"x" * size)


@case
def byte_by_byte(s):
    p = s.peer()
    for b in upgrade() + frame(TEXT, b"slow but right") + frame(BINARY, b"z" * 200):
        p.send(bytes([b]))
    p.head()
    assert p.frame() == (TEXT, b"slow but right")
    assert p.frame() == (BINARY, b"z" * 200)


@case
def fragments(s):
    p = s.ws()
    text = "aä😀".encode()
    parts = [frame(TEXT if i == 0 else 0, text[i:i + 1], fin=i == len(text) - 1)
             for i in range(len(text))]
    p.send(frame(PING, b"in between").join(parts))
    for _ in range(len(text) - 1):
        pass
    got = [p.frame()]
    while got[-1][0] == PONG:
        got.append(p.frame())
    assert got[-1] == (TEXT, text)
    assert got[0] == (PONG, b"in between")
    big = os.urandom(100000)
    p.send(frame(BINARY, big[:50000], fin=False) + frame(0, big[50000:], fin=False) + frame(0))
    assert p.frame() == (BINARY, big)


@case
def too_many_one_byte_fragments(s):
    p = s.ws()
    p.send(frame(TEXT, b"x", fin=False) + frame(0, b"x", fin=False) * 1022 + frame(0, b"x"))
    assert p.frame() == (TEXT, b"x" * 1024)
    p.send(frame(TEXT, b"x", fin=False) + frame(0, b"x", fin=False) * 1024)
    p.expect_close(1008)


@case
def five_megabytes_and_one_more(s):
    p = s.ws()
    data = b"m" * 5000000
    p.send(frame(BINARY, data))
    assert p.frame() == (BINARY, data)
    p.send(frame(BINARY, claim=5000001))
    p.expect_close(1009)
    p = s.ws()
    p.send(frame(BINARY, b"a" * 3000000, fin=False) + frame(0, claim=2000001))
    p.expect_close(1009)


@case
def frames_nobody_may_send(s):
    bad = {
        "unmasked": (frame(TEXT, b"hi", mask=False), 1002),
        "unmasked, header only": (bytes([0x81, 0x02]), 1002),
        "reserved bit": (frame(TEXT, b"hi", rsv=0x40), 1002),
        "opcode 3": (frame(3, b"hi"), 1002),
        "opcode 11": (frame(11, b"hi"), 1002),
        "control in parts": (frame(PING, b"a", fin=False), 1002),
        "control of 126 bytes": (frame(PING, b"a" * 126), 1002),
        "length 2^63": (frame(BINARY, claim=1 << 63), 1002),
        "length 2^62": (frame(BINARY, claim=1 << 62), 1009),
        "not the shortest length": (frame(BINARY, b"abc", wide=True), 1002),
        "rest without a beginning": (frame(0, b"a"), 1002),
        "a message inside a message": (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        "text not UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
        "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
        "UTF-8 cut over parts": (frame(TEXT, b"\xf0\x9f", fin=False) + frame(0, b"\x98"), 1007),
        "close of one byte": (frame(CLOSE, b"\x03"), 1002),
        "close code 999": (frame(CLOSE, struct.pack(">H", 999)), 1002),
        "close code 1005": (frame(CLOSE, struct.pack(">H", 1005)), 1002),
        "close reason not UTF-8": (frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
    }
    for name, (data, code) in bad.items():
        p = s.ws()
        p.send(data)
        try:
            p.expect_close(code)
        except (AssertionError, EOFError) as e:
            raise AssertionError(f"{name}: {e}") from e


@case
def close_handshake(s):
    p = s.ws()
    p.send(frame(CLOSE))
    assert p.frame() == (CLOSE, b"")
    assert p.ended()
    p = s.ws()
    p.send(frame(TEXT, b"close 4001 because"))
    assert p.close_code() == (4001, "because")
    assert p.ended()
    p.send(frame(CLOSE, struct.pack(">H", 4001)))
    p.s.close()


@case
def ping_both_ways(s):
    p = s.ws()
    before = int(s.stats()[3])
    p.send(frame(PING, b"p" * 125) + frame(PONG, b"unasked"))
    assert p.frame() == (PONG, b"p" * 125)
    p.send(frame(TEXT, b"ping"))
    assert p.frame() == (PING, b"")
    assert int(s.stats()[3]) == before + 2


@case
def reading_stops_and_goes_on(s):
    p = s.ws()
    p.send(b"".join(frame(TEXT, b"pause") + frame(TEXT, b"%d" % i) for i in range(50)))
    for i in range(50):
        assert p.frame() == (TEXT, b"%d" % i)


@case
def slow_reader_that_pings(s):
    """Every byte is checked: no PONG inside a frame, all frames there and in order."""
    p = s.ws()
    count, size = 1500, 20000
    p.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
    p.send(frame(TEXT, b"flood %d %d" % (count, size)))
    want, pongs, sent = 0, 0, 0
    while want < count:
        if sent < pongs + 500:
            p.send(frame(PING, b"%d" % sent))
            sent += 1
        op, payload = p.frame()
        if op == PONG:
            pongs += 1
            continue
        assert op == BINARY and payload == bytes([want & 255]) * size, (want, op, payload[:20])
        want += 1
    assert pongs > 0
    p.send(frame(BINARY, b"end"))
    while True:
        op, payload = p.frame()
        if op == BINARY:
            assert payload == b"end"
            break


@case
def large_frames_to_a_slow_reader(s):
    p = s.ws()
    p.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
    p.send(frame(TEXT, b"flood 20 400000"))
    for want in range(20):
        p.send(frame(PING, b"?"))
        op, payload = p.frame()
        while op == PONG:
            op, payload = p.frame()
        assert op == BINARY and payload == bytes([want]) * 400000, want


@case
def stalled_readers_cost_their_bound(s):
    """The queue of the echo server is 1 MiB; echoes over it close with 1013."""
    before = s.rss()
    peers = []
    for _ in range(8):
        p = s.ws()
        p.s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        p.s.setblocking(False)
        blob = frame(BINARY, b"q" * 60000)
        data = b""
        try:
            for _ in range(2000):
                data = data or blob
                data = data[p.s.send(data):]
        except (BlockingIOError, BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass
        peers.append(p)
    grown = s.rss() - before
    assert grown < 8 * 6000 + 30000, f"{grown} KiB for 8 stalled readers"
    for p in peers:
        p.s.close()


@case
def slow_consumer_reads_its_reason(s):
    p = s.ws()
    blob = frame(BINARY, b"q" * 60000)
    try:
        for _ in range(400):
            p.send(blob)
            if p.s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                break
    except OSError:
        pass
    op, payload = p.frame()
    while op == BINARY:
        assert payload == b"q" * 60000
        op, payload = p.frame()
    assert op == CLOSE and payload == struct.pack(">H", 1013) + b"slow consumer", payload


@case
def http_keep_alive_and_pipelining(s):
    p = s.peer()
    for _ in range(3):
        p.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        status, fields, body = p.answer()
        assert (status, body) == (200, b"hello") and fields[b"connection"] == b"keep-alive"
    post = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
    later = b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n"
    p.send((post + later) * 50)
    for _ in range(50):
        assert p.answer()[2] == b"body"
        assert p.answer()[2] == b"later"
    p.send(b"GET /hello HTTP/1.0\r\n\r\n")
    status, fields, body = p.answer()
    assert fields[b"connection"] == b"close" and body == b"hello" and p.ended()


@case
def http_after_requests_an_upgrade(s):
    p = s.peer()
    p.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" + upgrade() + frame(TEXT, b"hi"))
    assert p.answer()[2] == b"hello"
    assert p.head().startswith(b"HTTP/1.1 101 ")
    assert p.frame() == (TEXT, b"hi")


@case
def http_bodies(s):
    p = s.peer()
    big = os.urandom(1000000)
    p.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(big) + big)
    assert p.answer()[2] == big
    chunks = b"5\r\nhello\r\nA;ext=1\r\n, chunked!\r\n0\r\nTrailer: x\r\n\r\n"
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    p.send((head + chunks) * 2)
    assert p.answer()[2] == b"hello, chunked!"
    assert p.answer()[2] == b"hello, chunked!"
    for b in head + chunks:
        p.send(bytes([b]))
    assert p.answer()[2] == b"hello, chunked!"
    p.send(b"POST /empty HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    status, fields, _ = p.answer()
    assert status == 202 and fields[b"content-length"] == b"0"
    p.send(b"OPTIONS /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    status, fields, _ = p.answer()
    assert status == 204 and b"content-length" not in fields
    p.send(b"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    status, fields, _ = p.answer(bodiless=True)
    assert status == 200 and fields[b"content-length"] == b"5"
    assert p.answer()[2] == b"hello"
    p.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    assert p.head() == b"HTTP/1.1 100 Continue"
    p.send(b"yes")
    assert p.answer()[2] == b"yes"


@case
def http_refusals(s):
    many = b"".join(b"X-%d: 1\r\n" % i for i in range(70))
    bad = {
        "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 505)),
        "h2c": (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings"
                b"\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", (400,)),
        "binary": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
        "method": (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", (405,)),
        "large head": (b"GET /" + b"a" * 70000, (431,)),
        "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n", (431,)),
        "version 12": (upgrade().replace(b"Version: 13", b"Version: 12"), (426,)),
        "no key": (upgrade().replace(b"Sec-WebSocket-Key", b"X-Nothing"), (400,)),
        "two keys": (upgrade(extra=f"Sec-WebSocket-Key: {KEY}\r\n"), (400,)),
        "two lengths": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n", (400,)),
        "chunk size": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                       (400,)),
        "chunk past its size": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                                b"\r\n2\r\nabc\r\n", (400,)),
        "body": (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 8000001\r\n\r\n" + b"b" * 90000,
                 (413,)),
        "chunked body": (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                         b"7fffffff\r\n", (413,)),
    }
    for name, (data, statuses) in bad.items():
        p = s.peer()
        p.send(data)
        status, fields, _ = p.answer()
        assert status in statuses, (name, status)
        assert fields[b"connection"] == b"close", name
        assert p.ended(), name
        p.s.close()
    p = s.peer()
    p.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
           b"Expect: 100-continue\r\n\r\n")
    assert p.answer()[0] == 413


@case
def http_answers_that_need_no_body(s):
    for sent in (b"Content-Length: 9\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n",
                 b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
                 b"Content-Length: 9\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n"):
        p = s.peer()
        p.send(b"POST /refuse HTTP/1.1\r\nHost: x\r\n" + sent)
        status, fields, _ = p.answer()
        assert status == 403 and fields[b"connection"] == b"close" and p.ended(), sent
        p.s.close()
    p = s.peer()
    p.send(b"POST /full HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
    p.send(b"half")
    status, fields, _ = p.answer()
    assert status == 429 and fields[b"connection"] == b"close" and p.ended()


@case
def slow_heads_are_cut(s):
    """The server's limit is 1.5 s here; the clients' silence is what ends them."""
    silent, half, kept = s.peer(), s.peer(), s.peer()
    half.send(b"GET / HTTP/1.1\r\nHo")
    kept.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hel")
    assert kept.answer()[2] == b"hello"
    assert silent.ended()
    assert half.answer()[0] == 408 and half.ended()
    assert kept.answer()[0] == 408 and kept.ended()


@case
def clients_that_vanish(s):
    for data in (b"", b"GET", upgrade(), upgrade("/later"), upgrade() + frame(TEXT, b"half")[:4],
                 b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
                 upgrade() + frame(TEXT, b"flood 1000 5000")):
        for reset in (False, True):
            p = s.peer()
            p.send(data) if data else None
            if reset:
                p.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            p.s.close()
    p = s.peer()
    p.send(b"GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
    if s.context is None:
        p.s.shutdown(socket.SHUT_WR)  # a half-closed client still gets its answer
    assert p.answer()[2] == b"later"


@case
def many_connections_and_the_limit(s):
    """The server may use 400 descriptors and keeps 64 of them."""
    peers = []
    for _ in range(330):
        peers.append(s.ws() if len(peers) < 300 else s.peer())
    over = [s.peer() for _ in range(20)] if s.context is None else []
    for p in over[10:]:
        head = p.head()
        assert head.startswith(b"HTTP/1.1 503 "), head
    for p in peers[:300]:
        p.send(frame(TEXT, b"still here"))
    for p in peers[:300]:
        assert p.frame() == (TEXT, b"still here")
    for p in peers + over:
        p.s.close()
    while True:  # all of them are gone, as counted by the server, when a new one is let in
        try:
            stats = s.stats()
        except (OSError, EOFError, ValueError):
            continue
        if len(stats) == 7 and int(stats[4]) < 60:
            break
    assert stats[5:] == ["127.0.0.1", "3"], stats


@case
def tls_protocols(s):
    if s.context is None:
        return
    context = ssl.create_default_context(cafile=s.context.cafile)
    context.set_alpn_protocols(["h2", "http/1.1"])
    p = Peer(s.port, context)
    assert p.s.selected_alpn_protocol() == "http/1.1"
    p.open()
    context.set_alpn_protocols(["h2"])
    try:
        Peer(s.port, context)
        raise AssertionError("HTTP/2 alone was taken")
    except ssl.SSLError:
        pass
    p = Peer(s.port)
    p.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        while p.more():
            pass
    except ConnectionResetError:
        pass
    assert b"HTTP/1.1" not in p.buf


@case
def tls_handshakes_that_stall(s):
    """As slow heads: the server's limit is 1.5 s here."""
    if s.context is None:
        return
    sent = ssl.MemoryBIO()
    client = s.context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = sent.read()
    silent, half, waits = Peer(s.port), Peer(s.port), Peer(s.port)
    half.send(hello[:len(hello) // 2])
    waits.send(hello)  # and never answers
    for p in (silent, half, waits):
        while p.more():
            pass
    s.ws()


@case
def tls_record_that_comes_in_parts(s):
    """Its rest is waited for, as by a descriptor: nothing is read again and again meanwhile."""
    if s.context is None:
        return
    p, came, sent = Peer(s.port), ssl.MemoryBIO(), ssl.MemoryBIO()
    client = s.context.wrap_bio(came, sent, server_hostname="localhost")

    def turn(do):
        while True:
            try:
                return do()
            except ssl.SSLWantReadError:
                p.send(sent.read())
                assert p.more()
                came.write(p.take(len(p.buf)))

    turn(client.do_handshake)
    client.write(upgrade())
    p.send(sent.read())
    assert turn(lambda: client.read(65536)).startswith(b"HTTP/1.1 101 ")
    client.write(frame(TEXT, b"x" * 100))
    record = sent.read()
    for part in (record[:3], record[3:20], record[20:-1]):
        p.send(part)
        asks = s.peer()
        asks.send(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asks.answer()[2] == b"0"
    p.send(record[-1:])
    assert turn(lambda: client.read(65536)) == b"\x81\x64" + b"x" * 100


@case
def tls_is_not_renegotiated(s):
    if s.context is None:
        return
    client = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{s.port}"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    client.stdin.write(b"R\n")
    client.stdin.flush()
    said = client.stdout.read()  # until the client gives up
    client.stdin.close()
    client.wait()
    assert b"RENEGOTIATING" in said and b"no renegotiation" in said, said
    s.ws()


class Context(ssl.SSLContext):
    cafile = None


def certificate(folder):
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    return cert, key


def run(server, kind, only):
    failed = 0
    for fn in CASES:
        if only and fn.__name__ not in only:
            continue
        try:
            fn(server)
            print(f"ok {kind} {fn.__name__}", flush=True)
        except Exception as e:
            failed += 1
            print(f"FAILED {kind} {fn.__name__}: {type(e).__name__} {str(e)[:400]}", flush=True)
            if server.p.poll() is not None:
                print(f"the server has ended with {server.p.returncode}")
                return failed
    server.stop()
    return failed


def main():
    exe, only = sys.argv[1], sys.argv[2:]
    failed = run(Server(exe), "plain", only)
    with tempfile.TemporaryDirectory() as folder:
        cert, key = certificate(folder)
        for args in ((key, key), (cert, os.path.join(folder, "none"))):
            wrong = subprocess.run([exe, *args], stdin=subprocess.DEVNULL, capture_output=True)
            if wrong.returncode != 2 or b"TLS" not in wrong.stderr:
                print(f"FAILED wrong TLS files: {wrong}")
                failed += 1
        server = Server(exe, cert, key)
        server.context = Context(ssl.PROTOCOL_TLS_CLIENT)
        server.context.cafile = cert
        server.context.load_verify_locations(cert)
        failed += run(server, "tls", only)
    return 1 if failed else 0


sys.exit(main())
