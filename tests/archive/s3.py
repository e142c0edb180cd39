"""An S3 server on this machine, and a connection to it that can be made bad.

moto answers as S3 does, conditional writes included; it runs in a process of its own. The proxy
counts requests and, when told, answers 503, waits, or drops the connection before or in the middle
of an answer.
"""

from __future__ import annotations

import random
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

REFUSAL = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server() -> Iterator[int]:
    """moto's S3; the port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=5).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.2)
        yield port
    finally:
        process.kill()
        process.wait()


class Proxy:
    """Hands one request on each connection to the server, or does not.

    Attributes:
        port: where it listens.
        faults: names of faults ("refuse", "slow", "drop", "cut", "lose") with their probabilities.
        requests, injected: how many of each.
    """

    def __init__(self, server_port: int, seed: int = 0) -> None:
        self._server, self._dice = server_port, random.Random(seed)
        self.faults: dict[str, float] = {}
        self.requests, self.injected = Counter[str](), Counter[str]()
        self._lock = threading.Lock()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer.serve(self.request, self.rfile)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True

        self._listener = Server(("127.0.0.1", 0), Handler)
        self.port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()

    def fault(self) -> str:
        with self._lock:
            throw = self._dice.random()
            for name, share in self.faults.items():
                throw -= share
                if throw < 0:
                    self.injected[name] += 1
                    return name
        return ""

    def serve(self, client: socket.socket, stream) -> None:
        line = stream.readline()
        if not line:
            return
        headers = []
        length = 0
        while (header := stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() not in (b"connection", b"expect"):
                headers.append(header)
            elif name.lower() == b"expect":
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = stream.read(length)
        method = line.split()[0].decode()
        with self._lock:
            self.requests[method] += 1
        fault = self.fault()
        if fault == "refuse":
            client.sendall(REFUSAL)
            return
        if fault == "drop":
            return
        if fault == "slow":
            time.sleep(self._dice.uniform(0.5, 1.5))
        answer = self._ask(line + b"".join(headers) + b"Connection: close\r\n\r\n" + body)
        if fault == "lose":  # it was done, but nobody hears of it
            return
        if fault == "cut" and len(answer) > 400:
            answer = answer[: len(answer) // 2]
        client.sendall(answer)

    def _ask(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._server), timeout=60) as there:
            there.sendall(request)
            parts = []
            while part := there.recv(1 << 16):
                parts.append(part)
        head, _, body = b"".join(parts).partition(b"\r\n\r\n")
        lines = [one for one in head.split(b"\r\n") if not one.lower().startswith(b"connection:")]
        return b"\r\n".join([*lines, b"Connection: close", b"", body])

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()
