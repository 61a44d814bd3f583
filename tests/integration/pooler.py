"""A pooler as small as can be: it gives each transaction, or each session, one of its server connections.

It speaks as much of the protocol as libpq needs over a Unix-domain socket without a password, and greets clients with a
process number and a key of its own, as pgBouncer does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    kind = _exactly(source, 1)
    size = struct.unpack("!I", _exactly(source, 4))[0]
    return kind, _exactly(source, size - 4)


def _packed(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


class Pooler:
    """Listens in `folder` at `port`, and hands clients to the server whose socket is `target`."""

    def __init__(self, folder: Path, port: int, target: Path, *, transactions: bool) -> None:
        """Begin to listen; with `transactions` a server is a client's until the end of its transaction."""
        self.target = target
        self.transactions = transactions
        self.idle: list[socket.socket] = []
        self.lock = threading.Lock()
        self.path = folder / f".s.PGSQL.{port}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and let the servers go."""
        self.listener.close()
        for server in self.idle:
            server.close()
        self.path.unlink()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _server(self, startup: bytes) -> tuple[socket.socket, bytes]:
        """Open a server connection; return it and its parameters."""
        server = socket.socket(socket.AF_UNIX)
        server.connect(str(self.target))
        server.sendall(struct.pack("!I", len(startup) + 4) + startup)
        parameters = b""
        while True:
            kind, body = _message(server)
            if kind == b"S":
                parameters += _packed(kind, body)
            if kind == b"E":
                raise ConnectionError(body)
            if kind == b"Z":
                return server, parameters

    def _take(self, startup: bytes) -> socket.socket:
        with self.lock:
            if self.idle:
                return self.idle.pop()
        return self._server(startup)[0]

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        with contextlib.suppress(ConnectionError, OSError), client:
            size = struct.unpack("!I", _exactly(client, 4))[0]
            startup = _exactly(client, size - 4)
            server, parameters = self._server(startup)
            key = _packed(b"K", os.urandom(8))
            client.sendall(_packed(b"R", struct.pack("!I", 0)) + parameters + key + _packed(b"Z", b"I"))
            if self.transactions:
                self.idle.append(server)
                server = None
            while True:
                kind, body = _message(client)
                if kind == b"X":
                    break
                server = server or self._take(startup)
                server.sendall(_packed(kind, body))
                if self._answer(server, client) == b"I" and self.transactions:
                    with self.lock:
                        self.idle.append(server)
                    server = None
        if server is not None:
            server.close()

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket) -> bytes:
        """Pass an answer on, up to the message that says in which state the transaction is."""
        while True:
            kind, body = _message(server)
            client.sendall(_packed(kind, body))
            if kind == b"Z":
                return body
