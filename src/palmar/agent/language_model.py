"""One exchange with a language model as values: messages, pictures, tools, answers; and the protocol of who answers."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from palmar.errors import BadValue, ModelUnreachable, UnknownName
from palmar.types import Array

LONGEST = 65_536
"""Bytes of an answer: of its text, and of what it gives its tools, together. One that is longer is cut off and refused."""
MOST_CALLS = 16
"""Tool calls of one answer."""
LARGEST_PICTURE = 4 * 2**20  # bytes
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"

Stopped = Literal["end", "tools", "length", "refused"]
"""Why an answer ended: it was complete, it calls tools, it reached its length, or the model would not give one."""


@dataclass(frozen=True, slots=True)
class ModelPicture:
    """A PNG or JPEG file as bytes. Raises `BadValue` for anything else, and above `LARGEST_PICTURE` bytes."""

    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.data.startswith((PNG, JPEG)):
            raise BadValue(f"a picture begins with {self.data[:8]!r}; expected PNG or JPEG. Next: encode it as PNG")
        if len(self.data) > LARGEST_PICTURE:
            raise BadValue(
                f"a picture has {len(self.data)} bytes; expected {LARGEST_PICTURE} at most. Next: a smaller picture"
            )

    @property
    def media_type(self) -> str:
        return "image/png" if self.data.startswith(PNG) else "image/jpeg"

    @classmethod
    def of(cls, image: Array) -> ModelPicture:
        """uint8[H, W, 3] RGB as PNG, without loss. Raises `BadValue`."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise BadValue(f"a picture is {image.dtype}{list(image.shape)}; expected uint8[H, W, 3]. Next: RGB")
        height, width, _ = image.shape
        lines = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(image))
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return cls(PNG + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """schema: JSON schema of the object that it takes."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """id: by which the result is handed back. input: the object that the model wrote. fault: why that cannot be read, "" where
    it can; input is empty then."""

    id: str
    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came of a call. id: of the call. failed: it did not do what it was called for."""

    id: str
    text: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """own: the answer as its model's own protocol has it (with what the model thought, signed), for the model that gave it."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    stopped: Stopped = "end"
    own: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def check_not_refused(name: str, answer: ModelAnswer) -> None:
    """Raise `ModelUnreachable` for an answer that was stopped as refused: nothing in it is used. name: of the model."""
    if answer.stopped == "refused":
        raise ModelUnreachable(f"{name} would not answer this. Next: say it in other words, or another model")


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One turn. Of the user: text, pictures, and results of the tools that were called in the turn before. Of the assistant: an
    earlier answer."""

    role: Literal["user", "assistant"]
    text: str = ""
    pictures: tuple[ModelPicture, ...] = ()
    results: tuple[ToolResult, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    own: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, answer: ModelAnswer) -> ModelMessage:
        """An answer as the turn that later messages follow."""
        return cls("assistant", answer.text, calls=answer.calls, own=answer.own)


class LanguageModel(Protocol):
    """name: such as "anthropic:claude-sonnet-5-5"."""

    name: str

    def answer(
        self,
        system: str,
        messages: Sequence[ModelMessage],
        tools: Sequence[ToolDefinition] = (),
        on_text: Callable[[str], None] | None = None,
        must_call: bool = False,
    ) -> ModelAnswer:
        """One answer. on_text: given the text in pieces as they come. must_call: ask for a tool call; a server may still answer
        without one.

        Raises `ModelUnreachable` for a server that does not answer, or not as its protocol says.
        """
        ...


MODELS = ("anthropic", "anthropic:MODEL", "openai:MODEL", "openai:MODEL@URL")


def find_model(name: str, instead: str = "--planner rules") -> LanguageModel:
    """A model by its name, one of the forms of `MODELS`; the key comes from the environment.

    instead: what the messages of a model that cannot be used offer beside another one, such as an option of the command that
    uses it; "" for nothing. Raises `UnknownName` for another form, `BadValue` where the key is missing, `MissingPackage`.
    """
    kind, _, which = name.partition(":")
    if kind == "anthropic" and (which or name == "anthropic"):
        from palmar.agent.anthropic_model import DEFAULT, AnthropicModel

        return AnthropicModel(which or DEFAULT, instead=instead)
    if kind == "openai" and which:
        from palmar.agent.openai_model import OpenAIModel

        return OpenAIModel(*_model_and_address(which), instead=instead)
    raise UnknownName("language model", name, MODELS)


def _model_and_address(text: str) -> tuple[str, str]:
    """Of MODEL or MODEL@URL; the address is "" where there is none. A model's own name may begin with @. Raises `BadValue`."""
    parts = re.fullmatch(r"(.*?)@(https?://.*)", text)
    if parts is None:
        model, at, address = text[1:].rpartition("@")
        if not at:
            return text, ""
        shown = address if "://" not in address else address.partition("://")[2]
        raise BadValue(
            f"'{address[:100]}' is no address of a language model; expected http://… or https://… behind the @. Next: "
            f"openai:{text[0]}{model}@http://{shown[:100] or 'HOST:PORT/v1'}"
        )
    if not parts[1]:
        raise BadValue(f"'openai:{text[:100]}' names no model; expected openai:MODEL@URL. Next: a model of that server")
    return parts[1], parts[2]
