"""The page over HTTP: the page itself, a websocket for what is shown, one for what people want, and a stop without either.

    GET /          the page            GET /healthz   200 while the run is there
    WS  /live      what is shown       POST /stop     {"key": KEY}: for a browser whose websocket is gone
    WS  /hand      what people want

A websocket says {"key", "name"} first. What a stranger's web page could do in somebody's browser is refused by Host and Origin.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmar.serve.allowance import Allowance
from palmar.serve.page.hub import COMMANDS, Hand, Hub, Viewer
from palmar.serve.page.messages import text_of
from palmar.serve.reach import own_host

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

PAGE = Path(__file__).with_name("page.html")
LONGEST = 4096
"""Bytes of a message of a browser."""
NO_KEY, FULL, SLOW, MANY = 4401, 4403, 4408, 4429
"""Why a websocket is closed: no key or a wrong one, too many viewers, one that takes nothing, too many messages."""


def page_app(hub: Hub, key: str, host: str, viewers: int, patience: float, pressed: Callable[[str], None]) -> Starlette:
    """host: where it listens. viewers: browsers at a time. pressed: called first when somebody stops the robot, with their name."""
    from starlette.applications import Starlette
    from starlette.requests import ClientDisconnect
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocketDisconnect

    html = PAGE.read_text("utf-8")
    headers = {"Content-Security-Policy": policy_of(html), "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
               "Referrer-Policy": "no-referrer"}  # fmt: skip
    hands = 0

    def knows(said: Any) -> bool:
        return not key or hmac.compare_digest(str(said).encode("utf-8", "replace"), key.encode())

    async def page(request: Request) -> Response:
        if not own_host(request.headers.get("host", ""), host):
            return PlainTextResponse(
                "this page is not known by that name. Next: the address of this computer, or --page-address NAME:PORT\n",
                421,
            )
        return HTMLResponse(html, headers=headers)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("the run has ended\n", 503) if hub.over else PlainTextResponse("OK\n")

    async def stop(request: Request) -> Response:
        if not own_host(request.headers.get("host", ""), host) or not _own_origin(request):
            return JSONResponse({"error": "from another page"}, 403)
        try:
            said = json.loads(await asyncio.wait_for(_body(request), patience))
        except (ValueError, TimeoutError, RecursionError, ClientDisconnect):
            said = {}
        if not isinstance(said, dict) or not knows(said.get("key")):
            return JSONResponse({"error": "a key is needed"}, 401)
        if hub.about.get("kind") == "server":
            return JSONResponse({"error": "this is the page of a policy server; the robot is elsewhere"}, 404)
        who = str(said.get("name", "a browser"))[:24]
        hub.say({"t": "stop", "who": who, "id": "/0"})
        pressed(who)
        return JSONResponse({"did": "told the run to stop" if not hub.over else "the run has ended"})

    async def entered(ws: WebSocket) -> str | None:
        """The name of a browser that may come in; None for one that was told why not."""
        if not own_host(ws.headers.get("host", ""), host) or not _own_origin(ws):
            await ws.close(1008)
            return None
        await ws.accept()
        try:
            said = json.loads(await asyncio.wait_for(ws.receive_text(), patience))
            name, right = str(said.get("name", "")), knows(said.get("key"))
        except (ValueError, AttributeError, KeyError, TimeoutError, WebSocketDisconnect, RuntimeError):
            name, right = "", False
        if not right:
            with suppress(WebSocketDisconnect, RuntimeError):
                await ws.close(NO_KEY)
            return None
        return name

    async def live(ws: WebSocket) -> None:
        if (name := await entered(ws)) is None:
            return
        if len(hub.viewers) >= viewers:
            await ws.close(FULL)
            return
        viewer = Viewer(name)
        hub.viewers.add(viewer)
        viewer.wake.set()
        showing = asyncio.create_task(_show(ws, hub, viewer, patience))
        try:
            while True:
                said = json.loads(await ws.receive_text())
                viewer.confirmed = min(int(said["seen"]), viewer.sent)
                viewer.wake.set()
        except (ValueError, KeyError, TypeError, WebSocketDisconnect, RuntimeError):
            pass  # it is gone, or says nonsense
        finally:
            hub.viewers.discard(viewer)
            showing.cancel()
            with suppress(RuntimeError, OSError, WebSocketDisconnect):
                await ws.close()

    async def hand(ws: WebSocket) -> None:
        nonlocal hands
        if (name := await entered(ws)) is None:
            return
        if hands >= viewers:
            await ws.close(FULL)
            return
        hands += 1
        here = hub.enter(name)
        allowed = Allowance(COMMANDS)
        telling = asyncio.create_task(_tell(ws, here, patience))
        code = 1000
        try:
            while True:
                text = await ws.receive_text()
                said = json.loads(text)
                if not isinstance(said, dict):
                    raise ValueError("not an object")
                if said.get("t") == "stop":  # before anything else, and never too often
                    hub.wants(here, said)
                    pressed(here.name)
                elif not allowed.take():
                    code = MANY
                    return
                else:
                    hub.wants(here, said)
        except (ValueError, KeyError, TypeError, WebSocketDisconnect, RuntimeError):
            pass
        finally:
            hands -= 1
            hub.leave(here)
            telling.cancel()
            with suppress(RuntimeError, OSError, WebSocketDisconnect):
                await ws.close(code)

    return Starlette(
        routes=[
            Route("/", page), Route("/healthz", healthz), Route("/stop", stop, methods=["POST"]),
            WebSocketRoute("/live", live), WebSocketRoute("/hand", hand),
        ]
    )  # fmt: skip


async def _body(request: Request) -> bytes:
    """Raises ValueError for one that is too long, before all of it is here."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST:
            raise ValueError(f"more than {LONGEST} bytes")
    return body


async def _show(ws: WebSocket, hub: Hub, viewer: Viewer, patience: float) -> None:
    """Rounds, one after the other; a browser that confirms none for `patience` seconds is let go."""
    from starlette.websockets import WebSocketDisconnect

    clock = asyncio.get_running_loop().time
    since = clock()  # it confirmed something, or had nothing to confirm
    try:
        while True:
            if viewer.sent == viewer.confirmed:  # however long there was nothing to show
                since = clock()
            for message in hub.round(viewer):
                sending = ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message)
                await asyncio.wait_for(sending, patience)
            before = viewer.confirmed
            left = None if viewer.sent == before else max(0.0, patience - (clock() - since))
            await asyncio.wait_for(viewer.wake.wait(), left)
            viewer.wake.clear()
            since = clock() if viewer.confirmed > before else since
    except (TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
        pass
    with suppress(RuntimeError, OSError, WebSocketDisconnect):
        await ws.close(SLOW)


async def _tell(ws: WebSocket, hand: Hand, patience: float) -> None:
    from starlette.websockets import WebSocketDisconnect

    with suppress(TimeoutError, WebSocketDisconnect, RuntimeError, OSError):
        while True:
            head = await hand.told.get()
            await asyncio.wait_for(ws.send_text(text_of(head)), patience)


def policy_of(html: str) -> str:
    """A Content-Security-Policy under which the page's own script and style run, and nothing else."""

    def hashes(tag: str) -> str:
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(x.encode()).digest()).decode()}'" for x in found)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; img-src 'self' blob: data:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


def _own_origin(request: HTTPConnection) -> bool:
    """Whether it is this page that asks; who sends no origin is no browser."""
    origin = request.headers.get("origin")
    return origin is None or origin.partition("://")[2] == request.headers.get("host", "")
