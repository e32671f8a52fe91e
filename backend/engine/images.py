"""Images in a conversation, through the processor that came with the model; Pillow reads the files."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.engine.chat import REFUSALS
from modeldeck.backend.engine.deadline import template_limits
from modeldeck.backend.engine.failures import first_line, trace
from modeldeck.backend.errors import GenerationError
from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Prompt:
    """What a model reads."""

    ids: list[int]
    others: dict[str, Any]
    """What the processor made besides: pixels, their grid, the types of tokens."""


class Images:
    """Reads the images of turns.

    ``folder`` holds the model's files, ``multimodal`` says whether it takes more than text, and ``trusted`` whether its
    own code may run.
    """

    def __init__(self, folder: Path, *, multimodal: bool, trusted: bool) -> None:
        self._folder = folder
        self._multimodal = multimodal and any((folder / name).is_file() for name in _PROCESSORS)
        self._trusted = trusted
        self._processor: ProcessorMixin | None = None
        self._sanitizes = True

    @property
    def taken(self) -> bool:
        """Whether images can be sent to this model, here."""
        return self._multimodal and find_spec("PIL") is not None

    def prompt(
        self,
        turns: Sequence[dict[str, Any]],
        messages: Sequence[ChatMessage],
        options: dict[str, Any],
        log: Callable[[str], None],
    ) -> Prompt:
        """The prompt of a conversation with images. Raises GenerationError where one cannot be read or taken.

        ``turns`` are the messages as the template takes them, a system turn in front perhaps; ``log`` is told once
        where control tokens in what people wrote cannot be taken as text.
        """
        self._refuse_impossible()
        offset = len(turns) - len(messages)
        shown = [dict(turn) for turn in turns]
        for number, message in enumerate(messages):
            parts = [{"type": "image", "image": _read(path)} for path in message.images]
            if parts:
                shown[offset + number]["content"] = [*parts, {"type": "text", "text": message.content}]
        try:
            made = self._apply(shown, options, log)
        except (*REFUSALS, ImportError, OSError) as error:
            raise GenerationError(
                f"The model's processor cannot take these images: {first_line(error)}", trace(error)
            ) from error
        others = {name: value for name, value in made.items() if name not in {"input_ids", "attention_mask"}}
        return Prompt(made["input_ids"][0].tolist(), others)

    def _apply(self, turns: list[dict[str, Any]], options: dict[str, Any], log: Callable[[str], None]) -> Any:
        template: Any = self._load().apply_chat_template
        limits = partial(template_limits, sum(len(str(turn["content"])) for turn in turns))
        options |= {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        if self._sanitizes:
            with suppress(NotImplementedError, TypeError, ValueError), limits():
                return template(turns, sanitize_control_tokens=True, **options)
        with limits():
            made = template(turns, **options)
        if self._sanitizes:
            self._sanitizes = False
            log("This processor cannot tell control tokens in the text from its own.")
        return made

    def _refuse_impossible(self) -> None:
        if not self._multimodal:
            raise GenerationError("This model takes no images; send the text alone, or load an image-text model.")
        if not self.taken:
            raise GenerationError(
                "Images need Pillow, which is not installed where the engine runs: pip install pillow."
            )

    def _load(self) -> Any:
        """The processor, at the first image: most conversations have none."""
        if self._processor is None:
            from transformers import AutoProcessor

            load: Any = AutoProcessor.from_pretrained
            self._processor = load(str(self._folder), local_files_only=True, trust_remote_code=self._trusted)
        return self._processor


def _read(path: str) -> Any:
    """The image in RGB. A file that unpacks to more than Pillow thinks safe is refused."""
    from PIL import Image

    name = clean_name(path, 200)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # a pipe would never end
            raise GenerationError(f"{name} is no file.")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.convert("RGB")
    except FileNotFoundError as error:
        raise GenerationError(f"There is no image {name}.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise GenerationError(f"{name} cannot be read as an image: {first_line(error)}", trace(error)) from error
