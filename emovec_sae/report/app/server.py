"""The explorer's web server: a page, its files, and JSON lines of what the explorer answers."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from emovec_sae.errors import ConfigError, EmovecError
from emovec_sae.models.mount import unmounted
from emovec_sae.provenance import plain
from emovec_sae.report.app.desk import Busy, Desk, Job
from emovec_sae.report.app.explorer import Explorer

with unmounted():  # anyio makes classes when it is first used, and refuses those that have nnsight's `save` on them
    import_module("anyio._backends._asyncio")

PAGE = Path(__file__).parent / "page"
MOST_BYTES = 1_000_000
HEADERS = {
    # The page's own files and nothing else: no other host, no inline script, no frame of somebody else's.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Service:
    """The routes of one explorer.

    Parameters
    ----------
    explorer
        Who answers.
    desk
        The thread in which it does.
    """

    def __init__(self, explorer: Explorer, desk: Desk) -> None:
        self.explorer = explorer
        self.desk = desk
        self._facts = plain(explorer.facts())

    def routes(self) -> list[Route | Mount]:
        """All of them."""
        return [
            Route("/", self.page),
            Route("/api/facts", self.facts),
            Route("/api/state", self.state),
            Route("/api/length", self.length),
            Route("/api/answers", self.answers, methods=["POST"]),
            Route("/api/heat", self.heat, methods=["POST"]),
            Route("/api/latent/{latent:int}", self.latent),
            Route("/api/patch", self.patch, methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]

    async def page(self, _request: Request) -> Response:
        """The page itself; its state is in the query, which the page reads."""
        return FileResponse(PAGE / "index.html")

    async def facts(self, _request: Request) -> Response:
        """What the page needs to know once."""
        return _json(self._facts)

    async def state(self, request: Request) -> Response:
        """What an address means."""
        return _json(self.explorer.state(dict(request.query_params)))

    async def length(self, request: Request) -> Response:
        """How long a mix is, for the gauge."""
        return _json(self.explorer.length(dict(request.query_params)))

    async def answers(self, request: Request) -> Response:
        """Answers side by side, a JSON object a line."""
        return self._lines(self.explorer.answers(await _body(request)))

    async def patch(self, request: Request) -> Response:
        """A patching map, a JSON object a line."""
        return self._lines(self.explorer.patch(await _body(request)))

    async def heat(self, request: Request) -> Response:
        """The map of a text, in one line."""
        return self._lines(self.explorer.heat(await _body(request)), quick=True)

    async def latent(self, request: Request) -> Response:
        """The dashboard of a latent, in one line."""
        return self._lines(self.explorer.latent(request.path_params["latent"]), quick=True)

    def _lines(self, steps: Iterable[Any], *, quick: bool = False) -> Response:
        """What is refused comes as a line of kind ``error``: browsers write other statuses into their console."""

        async def _lines() -> AsyncGenerator[bytes]:
            async with aclosing(self._work(steps, quick=quick)) as work:
                async for kind, item in work:
                    told = item
                    if kind == "error":
                        told = {"kind": "error", "error": told_of(item)}
                    elif kind == "waiting":
                        told = {"kind": "waiting", "before": item}
                    if kind != "end":
                        yield json.dumps(plain(told), ensure_ascii=False, allow_nan=False).encode() + b"\n"

        return StreamingResponse(_lines(), media_type="application/x-ndjson")

    async def _work(self, steps: Iterable[Any], *, quick: bool) -> AsyncGenerator[tuple[str, Any]]:
        """Do steps in the desk's thread, and give what it tells; whoever leaves ends the job."""
        loop, told = asyncio.get_running_loop(), asyncio.Queue[tuple[str, Any]]()

        def _tell(kind: str, item: Any) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(told.put_nowait, (kind, item))

        job = Job(iter(steps), _tell, quick=quick)
        try:
            self.desk.submit(job)
            while True:
                kind, item = await told.get()
                yield kind, item
                if kind in ("error", "end"):
                    return
        except Busy as error:
            yield "error", error
        finally:
            job.cancel()


def told_of(error: Exception) -> str:
    """One line of an error; what was not foreseen is named by its kind alone, the details stay in the terminal."""
    if isinstance(error, EmovecError):
        return " ".join(str(error).split())
    return f"the explorer failed ({type(error).__name__}); its terminal has the details"


def make_app(explorer: Explorer, desk: Desk, *, hosts: list[str] | None = None) -> Starlette:
    """The application.

    Parameters
    ----------
    explorer, desk
        Who answers, and where.
    hosts
        Names by which it may be called; None means any. On the loopback alone, a page elsewhere that makes its own name
        point here is thus refused.
    """

    async def _failed(_request: Request, error: Exception) -> Response:
        return _json({"error": told_of(error)}, status=400 if isinstance(error, EmovecError) else 500)

    async def _missing(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        return _json({"error": f"there is nothing here (HTTP {status})"}, status=status)

    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)] if hosts else []
    app = Starlette(
        routes=Service(explorer, desk).routes(),
        middleware=[Middleware(_Headers), *middleware],
        exception_handlers={EmovecError: _failed, HTTPException: _missing, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


class _Headers:
    """Adds `HEADERS` to every response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def _with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self.app(scope, receive, _with_headers if scope["type"] == "http" else send)


async def _body(request: Request) -> Any:
    """The JSON of a request; only a page of this very origin can send that type without asking."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ConfigError("requests are JSON (content-type application/json)")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise ConfigError(f"the request is longer than {MOST_BYTES:,} bytes; shorten its text")
    try:
        return json.loads(body)
    except ValueError as error:
        raise ConfigError("the request is no JSON") from error


def _json(value: Any, *, status: int = 200) -> Response:
    return JSONResponse(plain(value), status_code=status)


def bind(host: str, port: int) -> socket.socket:
    """Take a port before the model is loaded.

    Raises
    ------
    ConfigError
        If the port is taken, or the host is not one of this machine.
    """
    if not 0 <= port < 2**16:
        raise ConfigError(f"--port is {port}; it must be from 1 to {2**16 - 1}, or 0 for any that is free")
    found: socket.socket | None = None
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(place[0], place[1])
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place[4])
    except OSError as error:
        if found is not None:
            found.close()
        raise ConfigError(
            f"cannot serve at {host}:{port} ({error.strerror}); choose another --port or --host"
        ) from error
    return found


def local(host: str) -> bool:
    """Whether a host means this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_server(explorer: Explorer, desk: Desk, *, host: str) -> uvicorn.Server:
    """A server that was not started yet.

    Parameters
    ----------
    explorer, desk
        Who answers, and where.
    host
        The host that was asked for; on the loopback, other names are refused.
    """
    names = ["localhost", "127.0.0.1", "[", host] if local(host) else None
    config = uvicorn.Config(
        make_app(explorer, desk, hosts=names), log_level="warning", access_log=False, server_header=False,
        lifespan="off", ws="none", timeout_graceful_shutdown=2,
    )  # fmt: skip
    return uvicorn.Server(config)


def serve(explorer: Explorer, sock: socket.socket, *, host: str) -> None:
    """Serve until interrupted.

    Parameters
    ----------
    explorer
        Who answers.
    sock
        From `bind`.
    host
        As in `make_server`.
    """
    desk = Desk()
    try:
        with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            make_server(explorer, desk, host=host).run(sockets=[sock])
    finally:
        desk.close()
