"""From a chat-completions request to token ids and normalised image patches, as transformers' processor
makes them.

Only what Qwen3-VL needs is here: the chat template in a sandbox, the tokenizer of tokenizer.json and the
resize rule of its image processor. The tests compare token ids and pixels with transformers' own.
"""

import base64
import binascii
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from PIL import Image, UnidentifiedImageError
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from torch import Tensor
from torch.nn import functional

from p2r_engines.serving_checkpoint import Checkpoint, ModelDirectoryError, read_json

_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LARGEST_IMAGE = 64_000_000  # pixels; a larger one is refused before it is decoded
_ROLES = ("system", "user", "assistant")


class RequestError(Exception):
    """A request that cannot be answered as it is. status: HTTP status; code: OpenAI error code; param: its
    key."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message, param, code, status)
        self.message, self.param, self.code, self.status = message, param, code, status


@dataclass(frozen=True)
class ChatRequest:
    """A checked request.

    messages: in the form that chat templates expect; images: encoded files in the order of their parts;
    max_tokens: None for as many as fit; temperature: 0 for greedy; seed: None for an arbitrary one.
    """

    messages: list[dict[str, Any]]
    images: list[bytes]
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None
    logprobs: bool


def _number(body: dict[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise RequestError(f"{key} must be a number from {low:g} to {high:g}.", key)
    return float(value)


def _integer(body: dict[str, Any], key: str, low: int) -> int | None:
    value = body.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**63:
        raise RequestError(f"{key} must be an integer of at least {low}.", key)
    return value


def _image_bytes(part: dict[str, Any], where: str) -> bytes:
    source = part.get("image_url")
    url = source.get("url") if isinstance(source, dict) else source
    if not isinstance(url, str) or not url.startswith("data:image/"):
        raise RequestError(f"{where}.image_url must be a data:image/...;base64 URL: other addresses are not read.", where)
    header, separator, payload = url.partition(",")
    if not separator or not header.endswith(";base64"):
        raise RequestError(f"{where}.image_url must be encoded as base64.", where)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{where}.image_url is not valid base64.", where) from error


def parse_request(body: object) -> ChatRequest:
    """Check the JSON body of POST /v1/chat/completions; raises RequestError naming the key at fault.

    Options that would change the answer and are not implemented are refused; unknown ones are ignored as
    usual.
    """
    if not isinstance(body, dict):
        raise RequestError("The request body must be a JSON object.")
    for key, neutral in (
        ("stream", (False,)),
        ("n", (1,)),
        ("stop", ([],)),
        ("tools", ([],)),
        ("logit_bias", ({},)),
        ("frequency_penalty", (0,)),
        ("presence_penalty", (0,)),
        ("repetition_penalty", (1,)),
        ("top_k", (-1, 0)),
        ("min_p", (0,)),
        ("top_logprobs", (0,)),
        ("response_format", ({"type": "text"},)),
    ):
        if body.get(key) is not None and body[key] not in neutral:
            raise RequestError(f"{key} is not supported by this server: leave it out.", key, "unsupported_parameter")
    source = body.get("messages")
    if not isinstance(source, list) or not source:
        raise RequestError("messages must be a list of at least one message.", "messages")
    messages: list[dict[str, Any]] = []
    images: list[bytes] = []
    for index, message in enumerate(source):
        where = f"messages[{index}]"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise RequestError(f"{where}.role must be one of {', '.join(_ROLES)}.", where)
        content = message.get("content")
        if isinstance(content, str):
            messages.append({"role": message["role"], "content": content})
            continue
        if not isinstance(content, list):
            raise RequestError(f"{where}.content must be a string or a list of parts.", where)
        parts: list[dict[str, str]] = []
        for number, part in enumerate(content):
            place = f"{where}.content[{number}]"
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text" and isinstance(part.get("text"), str):
                parts.append({"type": "text", "text": part["text"]})
            elif kind == "image_url":
                images.append(_image_bytes(part, place))
                parts.append({"type": "image"})
            else:
                raise RequestError(f"{place} must be a text part or an image_url part.", place)
        messages.append({"role": message["role"], "content": parts})
    logprobs = body.get("logprobs")
    if logprobs is not None and not isinstance(logprobs, bool):
        raise RequestError("logprobs must be true or false.", "logprobs")
    limit = _integer(body, "max_completion_tokens", 1)
    return ChatRequest(
        messages=messages,
        images=images,
        max_tokens=_integer(body, "max_tokens", 1) if limit is None else limit,
        temperature=_number(body, "temperature", 1.0, 0.0, 2.0),
        top_p=_number(body, "top_p", 1.0, 0.0, 1.0),
        seed=_integer(body, "seed", 0),
        logprobs=bool(logprobs),
    )


def target_size(height: int, width: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Height and width in pixels to which Qwen's image processor resizes: multiples of `factor`, the area
    within the pixel budget, the aspect ratio kept as far as possible. Raises RequestError for a ratio above
    200."""
    if max(height, width) / min(height, width) > 200:
        raise RequestError(f"An image of {width} x {height} pixels is too narrow: a side may be 200 times the other.")
    tall, wide = round(height / factor) * factor, round(width / factor) * factor
    if tall * wide > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        tall = max(factor, math.floor(height / shrink / factor) * factor)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
    elif tall * wide < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        tall = math.ceil(height * grow / factor) * factor
        wide = math.ceil(width * grow / factor) * factor
    return tall, wide


class Processor:
    """Tokenizer, chat template and image rules of one model directory."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Read the files; raises ModelDirectoryError naming the one that is missing or damaged."""
        directory = checkpoint.directory
        settings = read_json(directory / "tokenizer_config.json")
        try:
            self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelDirectoryError(f"{directory / 'tokenizer.json'} cannot be read ({error}): restore the file.") from error
        if settings.get("tokenizer_class") in ("Qwen2Tokenizer", "Qwen2TokenizerFast"):
            # transformers' class brings its own split whatever tokenizer.json says, and so did training.
            self.tokenizer.normalizer = normalizers.NFC()
            self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
        self.image_token = int(checkpoint.config["image_token_id"])
        self._reserved = [
            token for key in ("image_token_id", "video_token_id") if (token := self.tokenizer.id_to_token(int(checkpoint.config[key])))
        ]
        self.eos = self._eos_tokens(directory, settings)
        self._template = self._read_template(directory, settings)
        names = ("bos_token", "eos_token", "pad_token", "unk_token")
        self._template_tokens = {name: settings[name] for name in names if isinstance(settings.get(name), str)}
        image = directory / "preprocessor_config.json"
        rules = read_json(image) if image.exists() else read_json(directory / "processor_config.json").get("image_processor", {})
        try:
            self._patch, self._merge = int(rules["patch_size"]), int(rules["merge_size"])
            size = rules["size"]
            self._min_pixels, self._max_pixels = int(size["shortest_edge"]), int(size["longest_edge"])
            factor = float(rules.get("rescale_factor", 1 / 255))
            self._mean = torch.tensor(rules["image_mean"]).view(3, 1, 1) * (1.0 / factor)
            self._std = torch.tensor(rules["image_std"]).view(3, 1, 1) * (1.0 / factor)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelDirectoryError(f"{directory} lacks image settings ({error!r}): restore preprocessor_config.json.") from error

    def _eos_tokens(self, directory: Path, settings: dict[str, Any]) -> frozenset[int]:
        path = directory / "generation_config.json"
        named = read_json(path).get("eos_token_id") if path.exists() else None
        ids = named if isinstance(named, list) else [named]
        tokens = {int(token) for token in ids if token is not None}
        eos = settings.get("eos_token")
        token = self.tokenizer.token_to_id(eos) if isinstance(eos, str) else None
        if not tokens and token is not None:
            tokens = {token}
        if not tokens:
            raise ModelDirectoryError(f"{directory} names no end-of-text token: restore generation_config.json.")
        return frozenset(tokens)

    def _read_template(self, directory: Path, settings: dict[str, Any]) -> Any:
        jinja, older = directory / "chat_template.jinja", directory / "chat_template.json"
        if jinja.exists():
            source: object = jinja.read_text(encoding="utf-8")
        elif older.exists():
            source = read_json(older).get("chat_template")
        else:
            source = settings.get("chat_template")
        if not isinstance(source, str):
            raise ModelDirectoryError(f"{directory} has no chat template: restore chat_template.jinja.")

        def raise_exception(message: str) -> None:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False, **options)
        environment.globals["raise_exception"] = raise_exception
        try:
            return environment.from_string(source)
        except TemplateError as error:
            raise ModelDirectoryError(f"{directory} has a chat template that does not compile: {error}.") from error

    def tokens(self, messages: list[dict[str, Any]], image_tokens: list[int]) -> list[int]:
        """Token ids of the whole prompt; `image_tokens` says how many merged tokens each image fills."""
        for message in messages:
            content = message["content"]
            texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
            for token in self._reserved:
                if any(token in text for text in texts):
                    raise RequestError(f"The text of a message must not contain {token}.", "messages")
        try:
            text = self._template.render(messages=messages, add_generation_prompt=True, **self._template_tokens)
        except TemplateError as error:
            raise RequestError(f"The chat template refuses these messages: {error}.", "messages") from error
        counts = iter(image_tokens)
        tokens: list[int] = []
        for token in self.tokenizer.encode(text).ids:
            repeat = next(counts, 0) if token == self.image_token else 1
            tokens.extend([token] * repeat)
        if next(counts, None) is not None:
            raise RequestError("The chat template of this model does not place every image.", "messages")
        return tokens

    def text(self, tokens: list[int]) -> str:
        """Decode an answer without its special tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True))

    def patches(self, data: bytes) -> tuple[Tensor, int, int]:
        """Decode an image file into patches [rows * columns, 3 * patch * patch] in merging order,
        normalised, and the number of patch rows and columns. Raises RequestError when the bytes are no
        image."""
        try:
            with Image.open(io.BytesIO(data)) as file:
                if file.width * file.height > _LARGEST_IMAGE:
                    raise RequestError(f"An image may have {_LARGEST_IMAGE} pixels at most.")
                picture = file.convert("RGB")
        except (
            UnidentifiedImageError,
            OSError,
            SyntaxError,
            ValueError,
            Image.DecompressionBombError,
        ) as error:
            raise RequestError(f"An image cannot be decoded: {error}.", "messages") from error
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        pixels = pixels.view(picture.height, picture.width, 3).permute(2, 0, 1).contiguous()
        size = target_size(picture.height, picture.width, self._patch * self._merge, self._min_pixels, self._max_pixels)
        if size != (picture.height, picture.width):
            pixels = functional.interpolate(pixels[None], size, mode="bicubic", antialias=True, align_corners=False)[0]
        values = (pixels.float() - self._mean) / self._std
        rows, columns = size[0] // self._patch, size[1] // self._patch
        m, p = self._merge, self._patch
        values = values.reshape(3, rows // m, m, p, columns // m, m, p).permute(1, 4, 2, 5, 0, 3, 6)
        return values.reshape(rows * columns, 3 * p * p), rows, columns
