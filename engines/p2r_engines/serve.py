"""OpenAI-compatible chat completions for one Qwen3-VL directory on CPU.

    python -m p2r_engines.serve --model DIR [--port P] [--ready-file FILE]

GET /health, GET /v1/models, POST /v1/chat/completions. A greedy answer is the same text whatever else is
being answered, whatever --threads says and in whatever order requests come (see serving_model on how). The
HTTP process computes nothing; each of the --threads engine processes answers up to 16 requests at once on
one thread.

Exits: 0 after SIGTERM or SIGINT, 1 when an engine dies, 2 with one sentence on stderr when it cannot start.
Environment: P2R_SERVE_TOKEN, when set, must come as a Bearer token with every /v1 request.
"""

import argparse
import asyncio
import contextlib
import hmac
import ipaddress
import itertools
import json
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2r_engines.serving_checkpoint import Checkpoint, ModelDirectoryError, open_checkpoint

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse

    from p2r_engines.serving_engine import Answer, Engine
    from p2r_engines.serving_prompt import ChatRequest

_MOST_IN_FLIGHT = 512
_PING_SECONDS = 5.0
_STOP_SECONDS = 1.2  # after which the process ends whatever it is doing
_LAST_WORDS_SECONDS = 0.3  # in which requests in flight are told that the server ends


class StartError(Exception):
    """The server cannot start; the message is one sentence that names the cause and the remedy."""


class Unavailable(Exception):
    """The request is right but cannot be answered now. status: 500 or 503."""

    def __init__(self, message: str, status: int = 503) -> None:
        super().__init__(message)
        self.message, self.status = message, status


@dataclass
class _EngineProcess:
    process: Any
    connection: Connection
    outgoing: "queue.SimpleQueue[tuple[str, int, Any]]" = field(default_factory=queue.SimpleQueue)
    pending: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)


class EnginePool:
    """The engine processes: starts them, spreads requests over them, notices when one dies."""

    def __init__(self, count: int, make_engine: Callable[[], "Engine"], slots: int, inherited: list[Callable[[], None]]) -> None:
        """Fork `count` engines and wait until each has answered a request of its own; raises StartError
        otherwise.

        slots: requests that one engine runs at once. inherited: what the engines must close first. On systems
        where forking is unsafe they are spawned instead.
        """
        from p2r_engines.serving_engine import run_worker

        forks = sys.platform.startswith("linux")
        context = multiprocessing.get_context("fork" if forks else "spawn")
        self._slots = slots
        self._engines: list[_EngineProcess] = []
        self._keys = itertools.count(1)
        self._stopping = False
        ends: list[Callable[[], None]] = list(inherited)
        for _ in range(count):
            ours, theirs = context.Pipe()
            ends.append(ours.close)
            process = context.Process(target=run_worker, args=(theirs, list(ends) if forks else [], make_engine), daemon=True)
            process.start()
            theirs.close()
            self._engines.append(_EngineProcess(process, ours))
        for engine in self._engines:
            try:
                engine.connection.recv()
            except (EOFError, OSError) as error:
                self.stop()
                raise StartError("An engine process ended before it was ready: its error is above.") from error
            threading.Thread(target=self._send, args=(engine,), daemon=True).start()

    @staticmethod
    def _send(engine: _EngineProcess) -> None:
        # a full pipe must block this thread, not the event loop
        with contextlib.suppress(OSError):
            while True:
                engine.connection.send(engine.outgoing.get())

    def attach(self, died: Callable[[], None]) -> None:
        """Deliver results on the running event loop from now on; `died` is called when an engine ends by
        itself."""
        loop = asyncio.get_running_loop()
        for engine in self._engines:
            loop.add_reader(engine.connection.fileno(), self._receive, engine, died)

    def _receive(self, engine: _EngineProcess, died: Callable[[], None]) -> None:
        try:
            kind, key, payload = engine.connection.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(engine.connection.fileno())
            if not self._stopping:
                died()
            return
        future = engine.pending.pop(key, None)
        if future is None or future.done():
            return
        if kind == "refused":
            future.set_exception(payload)
        elif kind == "failed":
            future.set_exception(Unavailable(payload, 500))
        else:
            future.set_result(payload)

    async def _ask(self, engine: _EngineProcess, kind: str, payload: "ChatRequest | None") -> Any:
        if self._stopping:
            raise Unavailable("The server is shutting down.")
        key = next(self._keys)
        future = asyncio.get_running_loop().create_future()
        engine.pending[key] = future
        engine.outgoing.put((kind, key, payload))
        return await future

    async def answer(self, request: "ChatRequest") -> "Answer":
        """Answer on the engine with the least to do; raises RequestError or Unavailable."""
        if sum(len(engine.pending) for engine in self._engines) >= _MOST_IN_FLIGHT:
            raise Unavailable(f"{_MOST_IN_FLIGHT} requests are being answered already: try again later.")
        engine = min(self._engines, key=lambda candidate: len(candidate.pending))
        return await self._ask(engine, "answer", request)

    def load(self) -> dict[str, int]:
        """Requests that run now, and that wait for a slot."""
        held = [len(engine.pending) for engine in self._engines]
        running = sum(min(count, self._slots) for count in held)
        return {"running": running, "waiting": sum(held) - running}

    async def ping(self) -> None:
        """Return once every engine's loop has replied; raises TimeoutError or Unavailable."""
        async with asyncio.timeout(_PING_SECONDS):
            await asyncio.gather(*(self._ask(engine, "ping", None) for engine in self._engines))

    def stop(self) -> None:
        """End the engines at once; requests in flight fail with Unavailable."""
        self._stopping = True
        for engine in self._engines:
            engine.process.kill()
            for future in engine.pending.values():
                if not future.done():
                    future.set_exception(Unavailable("The server is shutting down."))
            engine.pending.clear()


def _error(status: int, message: str, kind: str, param: str | None = None, code: str | None = None) -> "JSONResponse":
    from starlette.responses import JSONResponse

    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, {"www-authenticate": "Bearer"} if status == 401 else None)


async def _body(request: "Request", limit: int) -> bytes | None:
    """The request's body, or None when it is larger than `limit` bytes (it is then read to its end and
    dropped, up to a point, so that the client gets to see the answer)."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > 8 * limit:
            break
        if size <= limit:
            chunks.append(chunk)
    return b"".join(chunks) if size <= limit else None


def make_app(pool: EnginePool, name: str, token: str | None, limit: int) -> "Starlette":
    """The HTTP application. name: the served model's; token: the Bearer token asked for, if any; limit:
    bytes of a request's body."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    from p2r_engines.serving_prompt import RequestError, parse_request

    started = int(time.time())

    def refusal(request: Request) -> JSONResponse | None:
        given = request.headers.get("authorization", "")
        if token is None or hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return None
        return _error(401, "The Bearer token is missing or wrong.", "authentication_error", None, "invalid_api_key")

    async def health(_: Request) -> Response:
        try:
            await pool.ping()
        except (TimeoutError, Unavailable):
            return PlainTextResponse("an engine does not reply\n", 503)
        return PlainTextResponse("ok\n")

    async def load(request: Request) -> Response:
        return refusal(request) or JSONResponse(pool.load())

    async def models(request: Request) -> Response:
        entry = {"id": name, "object": "model", "created": started, "owned_by": "p2r"}
        return refusal(request) or JSONResponse({"object": "list", "data": [entry]})

    async def complete(request: Request) -> Response:
        if (refused := refusal(request)) is not None:
            return refused
        raw = await _body(request, limit)
        if raw is None:
            return _error(413, f"A request may have {limit} bytes at most.", "invalid_request_error")
        try:
            body = json.loads(raw)
        except ValueError:
            return _error(400, "The request body is not valid JSON.", "invalid_request_error")
        try:
            checked = parse_request(body)
            if body.get("model") != name:
                message = f"The model {body.get('model')!r} is not served here: ask for {name!r}."
                raise RequestError(message, "model", "model_not_found", 404)
            answer = await pool.answer(checked)
        except RequestError as error:
            return _error(error.status, error.message, "invalid_request_error", error.param, error.code)
        except Unavailable as error:
            return _error(error.status, error.message, "server_error")
        logprobs = None
        if answer.logprobs is not None:
            logprobs = {
                "content": [
                    {"token": text, "logprob": value, "bytes": list(text.encode()), "top_logprobs": []} for text, value in answer.logprobs
                ]
            }
        return JSONResponse(
            {
                "id": f"chatcmpl-{uuid.uuid4().hex}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": name,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": answer.text},
                        "logprobs": logprobs,
                        "finish_reason": answer.finish_reason,
                    }
                ],
                "usage": {
                    "prompt_tokens": answer.prompt_tokens,
                    "completion_tokens": answer.tokens,
                    "total_tokens": answer.prompt_tokens + answer.tokens,
                },
            }
        )

    async def unknown(request: Request, _: Exception) -> Response:
        message = f"{request.method} {request.url.path} is not served here."
        return _error(404, message, "invalid_request_error", None, "not_found")

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/load", load),
            Route("/v1/models", models),
            Route("/v1/chat/completions", complete, methods=["POST"]),
        ],
        exception_handlers={404: unknown, 405: unknown},
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartError(f"Cannot listen on {host}:{port} ({error.strerror}): choose another --port.") from error
    return listener


def _write_ready_file(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _withdraw_ready_file(path: Path) -> None:
    """Remove the file if it is still this server's."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads(path.read_text(encoding="utf-8")).get("pid") == os.getpid():
            path.unlink()


async def _serve(options: argparse.Namespace, name: str, listener: socket.socket, pool: EnginePool) -> int:
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # handled below: uvicorn's own would end the process by the signal again

    app = make_app(pool, name, os.environ.get("P2R_SERVE_TOKEN") or None, options.max_request_bytes)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = Server(config)
    code = 0

    def stop() -> None:
        if options.ready_file is not None:
            _withdraw_ready_file(options.ready_file)
        pool.stop()
        server.should_exit = True
        loop.call_later(_LAST_WORDS_SECONDS, abandon)
        deadline = threading.Timer(_STOP_SECONDS, os._exit, (code,))
        deadline.daemon = True
        deadline.start()

    def abandon() -> None:
        server.force_exit = True  # clients still sending a request are cut off

    def died() -> None:
        nonlocal code
        code = 1
        print("An engine process has died: start the server again.", file=sys.stderr)
        stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    pool.attach(died)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if options.ready_file is not None and not server.should_exit:
        _write_ready_file(options.ready_file, {"url": url, "pid": os.getpid(), "model": name})
    print(f"Serving {name} on {url}", file=sys.stderr, flush=True)
    await serving
    return code


class _EngineFactory:
    """Makes an engine in its process: from the model loaded before the fork, or loading it where processes
    are spawned."""

    def __init__(self, checkpoint: Checkpoint, capacity: int) -> None:
        from p2r_engines.serving_engine import usable_shapes
        from p2r_engines.serving_model import Qwen3VL
        from p2r_engines.serving_prompt import Processor

        self._checkpoint = checkpoint
        self._model: Qwen3VL | None = Qwen3VL(checkpoint)
        self._processor: Processor | None = Processor(checkpoint)
        self.capacity = min(capacity, self._model.max_positions)
        self._shapes = usable_shapes(self._model)
        self.slots = self._shapes[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None, "_processor": None}

    def __call__(self) -> "Engine":
        from p2r_engines.serving_engine import Engine
        from p2r_engines.serving_model import Qwen3VL
        from p2r_engines.serving_prompt import Processor

        model, processor = (
            self._model or Qwen3VL(self._checkpoint),
            self._processor or Processor(self._checkpoint),
        )
        return Engine(model, processor, self._shapes, self.capacity)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m p2r_engines.serve", description="Serve a Qwen3-VL on CPU.")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face directory of a Qwen3-VL")
    parser.add_argument("--served-model-name", help="name that requests ask for (default: --model as given)")
    parser.add_argument("--host", default="127.0.0.1", help="loopback address (default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one (default)")
    parser.add_argument("--threads", type=_positive, default=min(2, os.cpu_count() or 1), help="engine processes")
    parser.add_argument("--max-model-len", type=_positive, default=1024, help="tokens of prompt and answer together")
    parser.add_argument("--max-request-bytes", type=_positive, default=32 * 2**20)
    parser.add_argument("--ready-file", type=Path, help="file to write {url, pid, model} to once ready")
    return parser.parse_args(arguments)


def _start(options: argparse.Namespace) -> tuple[socket.socket, EnginePool]:
    """Check everything that can be checked, cheapest first, and start the engines."""
    try:
        loopback = options.host == "localhost" or ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise StartError(f"--host {options.host} is not a loopback address: use 127.0.0.1.")
    if not 0 <= options.port <= 65535:
        raise StartError(f"--port {options.port} is not a port: choose one from 0 to 65535.")
    if options.ready_file is not None:
        if not options.ready_file.absolute().parent.is_dir():
            raise StartError(f"The folder of --ready-file {options.ready_file} does not exist: create it.")
        options.ready_file.unlink(missing_ok=True)
    checkpoint = open_checkpoint(options.model)
    listener = _listen(options.host, options.port)
    # One thread for each engine process; read by the numeric libraries when they are first imported.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    import torch

    torch.set_num_threads(1)
    factory = _EngineFactory(checkpoint, options.max_model_len)
    pool = EnginePool(options.threads, factory, factory.slots, [listener.close])
    try:
        listener.listen(_MOST_IN_FLIGHT)
    except OSError as error:
        pool.stop()
        raise StartError(f"Cannot listen on port {options.port} ({error.strerror}): choose another --port.") from error
    return listener, pool


def main(arguments: list[str] | None = None) -> int:
    """Run the server until it is told to stop; returns the exit code."""
    options = _options(arguments)
    try:
        listener, pool = _start(options)
    except (StartError, ModelDirectoryError) as error:
        print(error, file=sys.stderr)
        return 2
    return asyncio.run(_serve(options, options.served_model_name or str(options.model), listener, pool))


if __name__ == "__main__":
    sys.exit(main())
