"""The page's process: python -m palmar.serve.page.served LISTENING PIPE (numbers of open files).

It ends when the run's process does, or tells it to; browsers are told.
"""

from __future__ import annotations

import asyncio
import io
import os
import socket
import sys
import threading
from contextlib import suppress

from palmar.errors import BadFile
from palmar.runtime.supervision.estop import Latch
from palmar.serve.page.app import LONGEST, page_app
from palmar.serve.page.hub import Hub
from palmar.serve.page.messages import Broken, Head, receive_async, text_of

ALIVE, BEAT = 0.2, 0.05
"""Between two signs of life to the run, and two to who drives [s]."""
QUALITY = 80
"""Of the JPEG pictures."""
LAST = 1.0
"""How long browsers have to hear that the run has ended [s]."""


def shown(head: Head, pixels: bytes) -> bytes:
    """A picture as a browser takes it: length of the JSON (4 bytes, big endian), the JSON, a JPEG. pixels: RGB."""
    from PIL import Image

    size = head["width"], head["height"]
    file = io.BytesIO()
    Image.frombytes("RGB", size, pixels).save(file, "JPEG", quality=QUALITY)
    words = text_of({"camera": head["camera"], "attention": head.get("attention", {})}).encode()
    return len(words).to_bytes(4, "big") + words + file.getvalue()


async def serve_page(listening: socket.socket, pipe: socket.socket) -> None:
    import uvicorn

    reader, writer = await asyncio.open_connection(sock=pipe, limit=2**22)
    config, _ = await receive_async(reader)
    hub = Hub(writer)

    pressing: list[threading.Thread] = []

    def pressed(who: str) -> None:
        if (robot := hub.about.get("latch")) and not any(t.is_alive() for t in pressing):
            pressing[:] = [threading.Thread(target=_press, args=(robot, who), daemon=True)]
            pressing[0].start()  # a disk may be slow, and the run has been told already

    app = page_app(hub, config["key"], config["host"], config["viewers"], config["patience"], pressed)
    settings = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=1,
        ws="websockets-sansio", ws_max_size=LONGEST, ws_per_message_deflate=False, ws_ping_interval=5.0,
        ws_ping_timeout=config["patience"], ssl_certfile=config["certificate"] or None,
        ssl_keyfile=config["private_key"] or None, limit_concurrency=4 * config["viewers"] + 16,
    )  # fmt: skip
    server = uvicorn.Server(settings)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    alive = asyncio.create_task(_alive(hub))
    hearing = asyncio.create_task(_hear(hub, reader))
    await asyncio.wait({serving, hearing}, return_when=asyncio.FIRST_COMPLETED)
    hub.ended()
    await asyncio.sleep(LAST if hub.viewers else 0.0)
    alive.cancel()
    server.should_exit = True
    await asyncio.wait({serving}, timeout=3.0)
    sys.stderr.flush()
    os._exit(0)  # nothing here is worth waiting for: the socket and the robot are the run's


async def _hear(hub: Hub, reader: asyncio.StreamReader) -> None:
    """The run, until it ends. Pictures are made on a thread, one camera at a time the newest."""
    waiting: dict[str, tuple[Head, bytes]] = {}
    woken = asyncio.Event()

    async def pictures() -> None:
        while True:
            await woken.wait()
            woken.clear()
            for camera in list(waiting):
                head, pixels = waiting.pop(camera)
                if not hub.viewers and camera in hub.pictures:
                    continue
                try:
                    hub.picture(camera, await asyncio.to_thread(shown, head, pixels))
                except (ValueError, OSError, KeyError) as error:  # the next may be one
                    print(f"palmar page: no picture of {camera}: {error}", file=sys.stderr, flush=True)

    drawing = asyncio.create_task(pictures())
    try:
        while True:
            head, payload = await receive_async(reader)
            if head["t"] == "picture":
                waiting[head["camera"]] = head, payload
                woken.set()
            else:
                hub.told(head)
    except Broken:
        return
    finally:
        drawing.cancel()


async def _alive(hub: Hub) -> None:
    with suppress(OSError):
        while True:
            hub.say({"t": "alive"})
            for _ in range(round(ALIVE / BEAT)):
                hub.beat()
                await asyncio.sleep(BEAT)


def _press(robot: str, who: str) -> None:
    try:
        Latch(robot).press("stopped from the page", by=who)
    except BadFile as error:
        print(f"palmar page: the E-STOP could not be latched: {error}", file=sys.stderr, flush=True)


def main() -> None:
    listening, pipe = (socket.socket(fileno=int(word)) for word in sys.argv[1:3])
    asyncio.run(serve_page(listening, pipe))


if __name__ == "__main__":
    main()
