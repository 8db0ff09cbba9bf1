"""Answers many chat requests at once on one CPU thread: prefill alone, decode together, each answer its own.

`Engine` holds the slots; `run_worker` drives one in a process of its own and talks to the HTTP process over
a pipe.
"""

import hashlib
import math
import os
import queue
import signal
import sys
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import torch
from torch import Tensor

from p2r_engines.serving_model import ImageFeatures, Qwen3VL, agreeing_shapes
from p2r_engines.serving_prompt import ChatRequest, Processor, RequestError

SHAPES = (4, 8, 16)  # numbers of requests that a decoding step may compute together
_REMEMBERED_IMAGES = 64
_TRIED_CAPACITY = 384  # tokens of cache with which the shapes are compared at start


@dataclass(frozen=True)
class Answer:
    """A finished completion.

    tokens counts the end-of-text token as well; finish_reason: 'stop' or 'length'; logprobs: the natural
    log-probability of each chosen token under the model (temperature 1), with the token's text, or None
    when not asked for.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    tokens: int
    logprobs: list[tuple[str, float]] | None


class EngineFailure(Exception):
    """The model could not answer though the request was right; never to be read as an empty answer."""


@dataclass
class _Running:
    key: int
    request: ChatRequest
    prompt_tokens: int
    limit: int
    generator: torch.Generator | None
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class Engine:
    """Slots, image memory and sampling around one model. Not thread-safe."""

    def __init__(self, model: Qwen3VL, processor: Processor, shapes: tuple[int, ...], capacity: int) -> None:
        """shapes: numbers of slots that a step may compute, ascending; the largest is how many requests run
        at once. capacity: tokens that a prompt and its answer may have together."""
        self._model = model
        self._processor = processor
        self._capacity = capacity
        self._cache = model.new_cache(shapes[-1], capacity)
        self._shapes = shapes
        self._running: list[_Running | None] = [None] * shapes[-1]
        self._images: OrderedDict[bytes, ImageFeatures] = OrderedDict()
        self._finished: list[tuple[int, Answer | EngineFailure]] = []

    @property
    def has_free_slot(self) -> bool:
        """Whether `admit` may be called."""
        return None in self._running

    @property
    def is_busy(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._finished) or any(self._running)

    def _see(self, data: bytes) -> ImageFeatures:
        digest = hashlib.sha256(data).digest()
        features = self._images.get(digest)
        if features is None:
            features = self._model.see(*self._processor.patches(data))
            self._images[digest] = features
            if len(self._images) > _REMEMBERED_IMAGES:
                self._images.popitem(last=False)
        else:
            self._images.move_to_end(digest)
        return features

    @torch.inference_mode()
    def admit(self, key: int, request: ChatRequest) -> None:
        """Prefill a request into a free slot; raises RequestError when it cannot be answered.

        key: names the request in what `step` returns.
        """
        images = [self._see(data) for data in request.images]
        tokens = self._processor.tokens(request.messages, [image.merged.shape[0] for image in images])
        room = self._capacity - len(tokens)
        wanted = request.max_tokens
        if room < (wanted or 1):
            raise RequestError(
                f"The prompt has {len(tokens)} tokens and max_tokens is {wanted or 1}, but the context holds "
                f"{self._capacity}: shorten the prompt or lower max_tokens.",
                "messages",
                "context_length_exceeded",
            )
        generator = None
        if request.temperature > 0:
            generator = torch.Generator()
            generator.manual_seed(generator.seed() if request.seed is None else request.seed)
        slot = self._running.index(None)
        prompt = self._model.prefill(tokens, images)
        self._cache.put(slot, prompt)
        running = _Running(key, request, len(tokens), wanted or room, generator)
        self._running[slot] = running
        best, choice = prompt.logits.max(-1)
        self._append(slot, running, prompt.logits, best.item(), int(choice.item()))

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Answer | EngineFailure]]:
        """Decode one token for every running request and return those that ended, by their keys."""
        last = max((slot for slot, row in enumerate(self._running) if row), default=None)
        if last is not None:
            shape = next(shape for shape in self._shapes if shape > last)
            tokens = [row.tokens[-1] if row else 0 for row in self._running[:shape]]
            logits = self._model.decode(self._cache, tokens)
            best, choice = logits.max(-1)
            for slot, (value, token) in enumerate(zip(best.tolist(), choice.tolist(), strict=True)):
                row = self._running[slot]
                if row is not None:
                    self._append(slot, row, logits[slot], value, token)
        finished, self._finished = self._finished, []
        return finished

    def _append(self, slot: int, row: _Running, logits: Tensor, best: float, greedy: int) -> None:
        if not math.isfinite(best):
            self._end(slot, row, EngineFailure("The model's logits are not finite: serve another checkpoint."))
            return
        token = greedy if row.generator is None else self._sample(row, logits)
        row.tokens.append(token)
        if row.request.logprobs:
            row.logprobs.append(float(torch.log_softmax(logits, -1)[token]))
        stopped = token in self._processor.eos
        if stopped or len(row.tokens) >= row.limit:
            self._end(slot, row, self._answer(row, "stop" if stopped else "length"))

    def _sample(self, row: _Running, logits: Tensor) -> int:
        probabilities = torch.softmax(logits / row.request.temperature, -1)
        if row.request.top_p < 1:
            ordered, index = probabilities.sort(descending=True, stable=True)
            ordered[(ordered.cumsum(-1) - ordered) > row.request.top_p] = 0
            probabilities = torch.zeros_like(ordered).scatter_(0, index, ordered)
        return int(torch.multinomial(probabilities, 1, generator=row.generator).item())

    def _end(self, slot: int, row: _Running, outcome: Answer | EngineFailure) -> None:
        self._finished.append((row.key, outcome))
        self._running[slot] = None
        self._cache.free(slot)

    def _answer(self, row: _Running, reason: str) -> Answer:
        logprobs = None
        if row.request.logprobs:
            texts = [self._processor.text([token]) for token in row.tokens]
            logprobs = list(zip(texts, row.logprobs, strict=True))
        return Answer(self._processor.text(row.tokens), reason, row.prompt_tokens, len(row.tokens), logprobs)


def usable_shapes(model: Qwen3VL) -> tuple[int, ...]:
    """Those of SHAPES that give an answer the same bits on this machine, or (1,) if batches cannot be
    trusted."""
    shapes = agreeing_shapes(model, SHAPES, _TRIED_CAPACITY)
    if shapes == (1,):
        print(
            "Matrix products depend on the row on this processor: requests are answered singly.",
            file=sys.stderr,
        )
    return shapes


_WARM_UP = ChatRequest([{"role": "user", "content": "Ready?"}], [], 2, 0.0, 1.0, None, False)


def run_worker(connection: Connection, inherited: list[Callable[[], None]], make_engine: Callable[[], Engine]) -> None:
    """Body of an engine process: answers what comes over `connection` until its other end is closed.

    Incoming: ('answer', key, ChatRequest) and ('ping', key, None). Outgoing: ('ready', 0, None) once, then
    (kind, key, payload) with kind 'answer' (Answer), 'refused' (RequestError), 'failed' (message) or 'pong'
    (None). inherited: closes what a forked process must not keep open (the listening socket, the other
    engines' pipes).
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the HTTP process decides when to stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for close in inherited:
        close()
    torch.set_num_threads(1)
    engine = make_engine()
    engine.admit(0, _WARM_UP)
    while engine.is_busy:
        for _, outcome in engine.step():
            if isinstance(outcome, EngineFailure):
                raise outcome
    incoming: queue.SimpleQueue[tuple[str, int, ChatRequest | None]] = queue.SimpleQueue()

    def receive() -> None:
        while True:
            try:
                incoming.put(connection.recv())
            except (EOFError, OSError):
                os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    connection.send(("ready", 0, None))
    waiting: deque[tuple[int, ChatRequest]] = deque()
    try:
        while True:
            while not incoming.empty() or not (waiting or engine.is_busy):
                _, key, request = incoming.get()
                if request is None:
                    connection.send(("pong", key, None))
                else:
                    waiting.append((key, request))
            if waiting and engine.has_free_slot:
                key, request = waiting.popleft()
                try:
                    engine.admit(key, request)
                except RequestError as error:
                    connection.send(("refused", key, error))
                except Exception as error:
                    traceback.print_exc()
                    connection.send(("failed", key, f"The engine failed on this request: {error!r}."))
                continue
            for key, outcome in engine.step():
                if isinstance(outcome, Answer):
                    connection.send(("answer", key, outcome))
                else:
                    connection.send(("failed", key, str(outcome)))
    except BrokenPipeError:
        os._exit(0)
