"""The model server: refusals, agreement with transformers, independence of the batch, HTTP, how it ends."""

import base64
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
import pytest
import torch
from PIL import Image, ImageDraw

from p2r_engines import serve
from p2r_engines.serving_checkpoint import ModelDirectoryError, open_checkpoint
from p2r_engines.serving_engine import SHAPES, Answer, Engine, usable_shapes
from p2r_engines.serving_model import Qwen3VL, SlotCache, agreeing_shapes
from p2r_engines.serving_prompt import ChatRequest, Processor, RequestError, parse_request

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "tiny"
QUESTION = "What letter is on the red circle?\n(A) A\n(B) C\n(C) E\n(D) F"
START_SECONDS = 120.0  # a limit that only a hang exceeds


def picture(seed: int, width: int = 320, height: int = 320) -> bytes:
    """A PNG of a noisy ground with a few coloured discs."""
    rng = random.Random(seed)
    image = Image.effect_noise((width, height), 30).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(5):
        x, y, r = rng.randrange(width), rng.randrange(height), rng.randrange(6, 16)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(rng.randrange(256) for _ in range(3)))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def body(images: list[bytes], text: str = QUESTION, **options: Any) -> dict[str, Any]:
    """A request as the openai client sends it."""
    parts: list[dict[str, Any]] = [
        {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()},
        }
        for data in images
    ]
    messages = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": [*parts, {"type": "text", "text": text}]},
    ]
    return {"model": "tiny", "messages": messages, "max_tokens": 24, "temperature": 0, **options}


def mixed_bodies() -> list[dict[str, Any]]:
    """Requests of many lengths: no image, one, or a whole image and crops; prompts of 30 to 400 tokens."""
    rng = random.Random(5)
    crops = [(128, 128), (96, 64), (32, 128), (500, 90)]
    bodies = []
    for index in range(20):
        count = index % 4
        images = [picture(100 + index)] if count else []
        images += [picture(200 + 7 * index + k, *rng.choice(crops)) for k in range(count - 1)]
        text = QUESTION + " Think step by step." * (1 + (index * index) % 23)
        bodies.append(body(images, text, logprobs=True, max_tokens=8 + 5 * (index % 4)))
    return bodies


@pytest.fixture(scope="module")
def model() -> Qwen3VL:
    torch.set_num_threads(1)
    return Qwen3VL(open_checkpoint(MODEL))


@pytest.fixture(scope="module")
def processor() -> Processor:
    return Processor(open_checkpoint(MODEL))


def run_engine(engine: Engine, requests: list[ChatRequest], order: list[int], burst: int) -> list[Answer]:
    """Answer `requests` admitted in `order`, at most `burst` between two steps."""
    answers: dict[int, Answer] = {}
    waiting = list(order)
    while waiting or engine.is_busy:
        for _ in range(burst):
            if waiting and engine.has_free_slot:
                key = waiting.pop(0)
                engine.admit(key, requests[key])
        for key, outcome in engine.step():
            assert isinstance(outcome, Answer)
            answers[key] = outcome
    return [answers[key] for key in range(len(requests))]


# Refusals


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Start the server with `arguments`, which it must refuse with exit code 2 and one line."""
    assert serve.main(list(arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A writable copy of the tiny model."""
    target = tmp_path / "model"
    target.mkdir()
    for file in MODEL.iterdir():
        shutil.copyfile(file, target / file.name)
    return target


def test_missing_directory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in refusal(capsys, "--model", str(tmp_path / "none"))


def test_other_model_type_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "config.json").write_text('{"model_type": "llama"}')
    assert "'llama', not a Qwen3-VL" in refusal(capsys, "--model", str(copied))


@pytest.mark.parametrize("kept", [0, 5, 3000, -1])
def test_truncated_weights_are_refused(copied: Path, kept: int, capsys: pytest.CaptureFixture[str]) -> None:
    weights = copied / "model.safetensors"
    os.truncate(weights, kept if kept >= 0 else weights.stat().st_size + kept)
    message = refusal(capsys, "--model", str(copied))
    assert str(weights) in message and "truncated" in message


def test_damaged_header_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = copied / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[8:40] = b"\xff" * 32
    weights.write_bytes(data)
    assert "damaged safetensors header" in refusal(capsys, "--model", str(copied))


def test_missing_shard_is_refused(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00002.safetensors"}}')
    assert "model-00002.safetensors cannot be read" in refusal(capsys, "--model", str(copied))


def test_weights_that_do_not_fit_are_refused(copied: Path) -> None:
    config = json.loads((copied / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 512
    (copied / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelDirectoryError, match=r"gate_proj.weight has shape \[704, 256\]"):
        Qwen3VL(open_checkpoint(copied))


def test_taken_port_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refusal(capsys, "--model", str(MODEL), "--port", str(port))
    assert f"127.0.0.1:{port}" in message and "choose another --port" in message


def test_other_than_loopback_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "not a loopback address" in refusal(capsys, "--model", str(MODEL), "--host", "0.0.0.0")


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"stream": True}, "stream"),
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": -1}, "seed"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "/etc/x.png"}}]}]},
            "messages[0].content[0]",
        ),
    ],
)
def test_bad_requests_name_their_key(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request({**body([]), **change})
    assert (caught.value.param, caught.value.status) == (param, 400)


def test_image_tokens_in_text_are_refused(processor: Processor) -> None:
    with pytest.raises(RequestError, match="must not contain"):
        processor.tokens([{"role": "user", "content": "a <|image_pad|> b"}], [])


# Agreement with transformers


def test_equals_transformers(model: Qwen3VL, processor: Processor) -> None:
    """Token ids and pixels equal; greedy tokens equal; log-probabilities equal to rounding."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    reference = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32).eval()
    reference_processor = AutoProcessor.from_pretrained(MODEL)
    odd = body([picture(1, 960, 700)], "cafe\u0301  12,5 é [\n\t{}] 漢")
    bodies = [*mixed_bodies()[1:8], odd]
    engine = Engine(model, processor, SHAPES, 1024)
    for index, source in enumerate(bodies):
        request = parse_request(source)
        images = [Image.open(io.BytesIO(data)) for data in request.images]
        prompt = reference_processor.apply_chat_template(request.messages, tokenize=False, add_generation_prompt=True)
        inputs = reference_processor(text=[prompt], images=images or None, return_tensors="pt")
        seen = [processor.patches(data) for data in request.images]
        tokens = processor.tokens(request.messages, [rows * columns // 4 for _, rows, columns in seen])
        assert tokens == inputs.input_ids[0].tolist()
        if images:
            frames = inputs.pixel_values.view(-1, 3, 2, 256)  # a still image is repeated over two frames
            ours = torch.cat([patches for patches, _, _ in seen])
            assert torch.equal(ours, frames[:, :, 0].reshape(len(ours), -1))
        with torch.no_grad():
            result = reference.generate(
                **inputs,
                max_new_tokens=request.max_tokens,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        chosen = result.sequences[0, len(tokens) :]
        expected = [float(row[0].log_softmax(-1)[token]) for row, token in zip(result.logits, chosen, strict=True)]
        (answer,) = run_engine(engine, [replace(request, logprobs=True)], [0], 1)
        assert answer.text == processor.text(chosen.tolist()), index
        assert answer.prompt_tokens == len(tokens)
        assert answer.logprobs is not None
        assert [value for _, value in answer.logprobs] == pytest.approx(expected, abs=1e-4)


# Independence of the batch


def test_answers_do_not_depend_on_the_batch(model: Qwen3VL, processor: Processor) -> None:
    """Text and log-probabilities, bit for bit: alone, and among others in random orders and bursts."""
    requests = [parse_request(source) for source in mixed_bodies()]
    requests += [replace(requests[k], temperature=1.0, top_p=0.9, seed=k) for k in (1, 2, 3)]
    shapes = usable_shapes(model)
    alone = [run_engine(Engine(model, processor, shapes, 640), [request], [0], 1)[0] for request in requests]
    assert len({answer.text for answer in alone}) > 3
    engine = Engine(model, processor, shapes, 640)
    rng = random.Random(11)
    for burst in (1, 2, 5, 23):
        order = rng.sample(range(len(requests)), len(requests))
        assert run_engine(engine, requests, order, burst) == alone, burst


def test_a_machine_that_treats_rows_differently_is_noticed(model: Qwen3VL, monkeypatch: pytest.MonkeyPatch) -> None:
    assert agreeing_shapes(model, (4, 8), 192) in ((4, 8), (8,), (1,))
    decode = model.decode

    def last_bit(cache: SlotCache, tokens: list[int], sizes: tuple[int, ...], slot: int) -> torch.Tensor:
        logits = decode(cache, tokens)
        if len(tokens) in sizes:
            logits[slot, 0] = torch.nextafter(logits[slot, 0], torch.tensor(torch.inf))
        return logits

    monkeypatch.setattr(model, "decode", lambda cache, tokens: last_bit(cache, tokens, (4,), 3))
    assert 4 not in agreeing_shapes(model, (4, 8), 192)
    monkeypatch.setattr(model, "decode", lambda cache, tokens: last_bit(cache, tokens, (4, 8), 3))
    assert agreeing_shapes(model, (4, 8), 192) == (1,)


def test_one_slot_answers_too(model: Qwen3VL, processor: Processor) -> None:
    requests = [parse_request(source) for source in mixed_bodies()[:4]]
    answers = run_engine(Engine(model, processor, (1,), 640), requests, [0, 1, 2, 3], 4)
    assert [answer.tokens for answer in answers] == [len(answer.logprobs or []) for answer in answers]


def test_context_length_is_checked(model: Qwen3VL, processor: Processor) -> None:
    engine = Engine(model, processor, SHAPES, 128)
    with pytest.raises(RequestError) as caught:
        engine.admit(0, parse_request(body([picture(1)])))
    assert caught.value.code == "context_length_exceeded"
    engine.admit(0, parse_request(body([], "Hello?", max_tokens=None)))
    while engine.is_busy:
        for _, outcome in engine.step():
            assert isinstance(outcome, Answer)
            assert outcome.prompt_tokens + outcome.tokens <= 128


# The server as a process


class Server:
    """A running server; `url` once it is ready."""

    def __init__(self, folder: Path, *arguments: str, token: str | None = None) -> None:
        self.folder = folder
        self.ready_file = folder / "ready.json"
        environment = {key: value for key, value in os.environ.items() if key != "P2R_SERVE_TOKEN"}
        environment |= {"PYTHONPATH": str(ROOT / "engines"), "HOME": str(folder), "TMPDIR": str(folder)}
        if token:
            environment["P2R_SERVE_TOKEN"] = token
        command = [
            sys.executable,
            "-m",
            "p2r_engines.serve",
            "--model",
            str(MODEL),
            "--served-model-name",
            "tiny",
        ]
        self.process = subprocess.Popen(
            [*command, "--ready-file", str(self.ready_file), *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stderr is not None
        self.stderr: IO[bytes] = self.process.stderr
        self.greeting = self.stderr.readline().decode()  # the ready file exists before this line
        self.url = str(json.loads(self.ready_file.read_text())["url"])

    def close(self) -> None:
        """End it whatever state it is in."""
        self.process.kill()
        self.process.communicate(timeout=START_SECONDS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), "--max-request-bytes", "2000000", token="secret")
    yield running
    running.close()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": "Bearer secret"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=START_SECONDS) as opened:
        yield opened


def test_announces_itself(server: Server, client: httpx.Client) -> None:
    ready = json.loads(server.ready_file.read_text())
    assert ready == {"url": server.url, "pid": server.process.pid, "model": "tiny"}
    assert server.url in server.greeting
    assert client.get("/health").status_code == 200
    assert [entry["id"] for entry in client.get("/v1/models").json()["data"]] == ["tiny"]
    assert client.get("/load").json() == {"running": 0, "waiting": 0}


def test_answers_over_http_as_in_process(model: Qwen3VL, processor: Processor, client: httpx.Client) -> None:
    """Sixteen at once over both engine processes: the bits of each answer are those of one engine alone."""
    bodies = mixed_bodies()[:16]
    engine = Engine(model, processor, usable_shapes(model), 1024)
    with ThreadPoolExecutor(16) as threads:
        responses = list(threads.map(lambda source: client.post("/v1/chat/completions", json=source), bodies))
    for source, response in zip(bodies, responses, strict=True):
        assert response.status_code == 200, response.text
        answer = run_engine(engine, [parse_request(source)], [0], 1)[0]
        reply = response.json()
        (choice,) = reply["choices"]
        assert choice["message"] == {"role": "assistant", "content": answer.text}
        assert choice["finish_reason"] == answer.finish_reason
        assert [(entry["token"], entry["logprob"]) for entry in choice["logprobs"]["content"]] == answer.logprobs
        assert reply["usage"] == {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.tokens,
            "total_tokens": answer.prompt_tokens + answer.tokens,
        }


def test_errors_are_openai_errors(client: httpx.Client) -> None:
    path = "/v1/chat/completions"
    good = body([])
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    cases = [
        (client.post(path, json=good, headers={"authorization": "Bearer other"}), 401),
        (client.get("/v1/models", headers={"authorization": ""}), 401),
        (client.get("/load", headers={"authorization": ""}), 401),
        (client.post(path, json={**good, "model": "other"}), 404),
        (client.post(path, content=b"{"), 400),
        (client.post(path, content=b"[]"), 400),
        (client.post(path, json={**good, "stream": True}), 400),
        (client.post(path, json={**good, "max_tokens": 5000}), 400),
        (client.post(path, json={**good, "messages": [{"role": "user", "content": [broken]}]}), 400),
        (client.post(path, content=b" " * 2_000_001), 413),
        (client.get(path), 404),
        (client.get("/v1/completions"), 404),
    ]
    for response, status in cases:
        assert response.status_code == status, response.text
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert client.post(path, json=good).status_code == 200


def test_sigterm_ends_it_with_requests_in_flight(server: Server, client: httpx.Client) -> None:
    """Runs last on the shared server. Nothing but the ready file was ever written, and that goes."""
    assert client.get("/health").status_code == 200
    bodies = mixed_bodies() * 3
    with ThreadPoolExecutor(len(bodies) + 1) as threads:
        first = threads.submit(client.post, "/v1/chat/completions", json=bodies[0])
        asked = [threads.submit(client.post, "/v1/chat/completions", json=source) for source in bodies]
        first.result()
        load = client.get("/load").json()
        assert load["running"] > 0 and load["waiting"] >= 0
        server.process.send_signal(signal.SIGTERM)
        out, err = server.process.communicate(timeout=START_SECONDS)
        for future in asked:
            try:
                assert future.result().status_code in (200, 503)
            except httpx.TransportError:
                continue
    assert (server.process.returncode, out, err) == (0, b"", b"")
    assert list(server.folder.iterdir()) == []


def test_engine_death_ends_the_server(tmp_path: Path) -> None:
    running = Server(tmp_path, "--threads", "1")
    try:
        (engine,) = psutil.Process(running.process.pid).children()
        engine.kill()
        _, err = running.process.communicate(timeout=START_SECONDS)
        assert running.process.returncode == 1
        assert b"An engine process has died" in err
        assert list(tmp_path.iterdir()) == []
    finally:
        running.close()


def test_engines_end_when_the_server_is_killed(tmp_path: Path) -> None:
    running = Server(tmp_path, "--threads", "2")
    try:
        assert len(psutil.Process(running.process.pid).children()) == 2
        running.process.kill()
        running.stderr.read()  # ends when the last process that holds it has ended
        with socket.create_server(("127.0.0.1", int(running.url.rsplit(":", 1)[1]))):
            pass
    finally:
        running.close()
