"""Where a page is, and who may open it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from palmar.errors import BadValue
from palmar.ranges import Clients, Port, Seconds, check_ranges
from palmar.serve.reach import check_certificate, check_key, check_reach

PAGE_PORT = 8080


@dataclass(frozen=True)
class PageConfig:
    """host, port: where to listen; port 0 for any that is free. key: what a browser must say, "" for none. open: other computers
    may open it without a key. certificate, private_key: PEM files for TLS. viewers: browsers at a time. patience: how long a
    browser may take to say its key, or to take what it was sent [s].
    """

    host: str = "127.0.0.1"
    port: Port = PAGE_PORT
    key: str = ""
    open: bool = False
    certificate: Path | None = None
    private_key: Path | None = None
    viewers: Clients = 16
    patience: Seconds = 10.0

    def __post_init__(self) -> None:
        check_ranges(self)
        check_key(self.key)
        check_reach(self.host, self.key, self.open, "stop and drive the robot")
        check_certificate(self.certificate, self.private_key)

    @property
    def tls(self) -> bool:
        return self.certificate is not None

    def listen(self) -> socket.socket:
        """Raises `BadValue` where it cannot listen there."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
            listening.listen(64)
        except OSError as error:
            listening.close()
            raise BadValue(
                f"the page cannot listen on {self.host}:{self.port} ({error.strerror or error}). Next: another --page-address, or "
                "port 0 for any that is free"
            ) from error
        return listening

    def address(self, listening: socket.socket) -> str:
        host, port = listening.getsockname()[:2]
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def host_and_port(words: str) -> tuple[str, int]:
    """Of "HOST:PORT", ":PORT" or "PORT". Raises `BadValue`."""
    host, _, port = words.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise BadValue(f"--page-address is '{words}'; expected HOST:PORT. Next: 127.0.0.1:{PAGE_PORT}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)
