"""What the chat needs of ``PipelineManager`` and of the settings; tests give it less than those."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode, TokenChoice
from modeldeck.backend.generation_limits import Abilities
from modeldeck.backend.protocol import Generate
from modeldeck.backend.reply import ReplyEvent
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.generation_layers import Layers


class Talker(Protocol):
    """Has models reply."""

    def generate(
        self,
        messages: Sequence[ChatMessage],
        settings: GenerationSettings,
        *,
        mode: ReplyMode = ReplyMode.CHAT,
        thinking: bool | None = None,
        model_id: str | None = None,
    ) -> AsyncGenerator[ReplyEvent, None]:
        """Stream a reply; raises BackendError."""
        ...

    async def stop_reply(self, model_id: str | None = None) -> None:
        """Ask the engine to end the reply."""
        ...

    async def count_tokens(self, texts: Sequence[str], model_id: str | None = None) -> tuple[int, ...]:
        """How many tokens each text is; raises BackendError."""
        ...

    async def look_into(self, asked: Generate, token_ids: Sequence[int], model_id: str) -> tuple[TokenChoice, ...]:
        """How likely each token of a reply was; raises BackendError."""
        ...


class SettingsSource(Protocol):
    """Knows the generation settings."""

    def effective(self, model_id: str | None) -> GenerationSettings:
        """What holds for this model now."""
        ...

    def layers(self, model_id: str | None) -> Layers:
        """Who says what."""
        ...

    async def ready(self, model_id: str) -> GenerationSettings:
        """What holds, once the model's own file was read."""
        ...

    def preset_title(self, model_id: str | None) -> str:
        """The preset that holds; empty without one."""
        ...

    def keep_for_session(self, model_id: str | None, values: Mapping[str, Any]) -> None:
        """Let these values hold until the program ends."""
        ...

    def abilities(self, model_id: str | None) -> Abilities:
        """What can be asked of this model."""
        ...
