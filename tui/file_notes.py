"""How large the files are that a draft names, in tokens, said while it is written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import structs

from modeldeck.backend.errors import BackendError
from modeldeck.backend.text import clean_name
from modeldeck.tui import format as fmt
from modeldeck.tui.chats.references import BadReference, named_paths, read_references
from modeldeck.tui.chats.turns import TextFile

if TYPE_CHECKING:
    from modeldeck.tui.widgets.chat_panel import ChatPanel

PAUSE_SECONDS = 0.4
"""A path is looked at when nobody has typed for so long."""


class FileNotes:
    """Looks at the files of the draft, in a thread."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = panel
        self._noted: tuple[str, ...] = ()

    def look(self, draft: str) -> None:
        """Say what the files are, soon; nothing where the draft names none."""
        if named_paths(draft):
            self._panel.run_worker(self._look(draft), group="chat.files", exclusive=True, exit_on_error=False)
        elif self._noted:
            self._noted = ()
            self._panel.workers.cancel_group(self._panel, "chat.files")

    async def counted(self, files: tuple[TextFile, ...]) -> tuple[TextFile, ...]:
        """The files with their sizes in tokens, as far as the model can say."""
        if not files:
            return ()
        try:
            counts = await self._panel.talker.count_tokens([file.text for file in files], self._panel.model_id)
        except BackendError:
            return files
        return tuple(structs.replace(file, tokens=count) for file, count in zip(files, counts, strict=True))

    async def _look(self, draft: str) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        panel, model = self._panel, self._panel.loaded
        takes_images = model is None or model.takes_images
        try:
            brought = await asyncio.to_thread(
                lambda: read_references(draft, takes_images=takes_images, model_name=panel.model_name)
            )
        except BadReference as problem:
            panel.say(str(problem), warning=True)
            return
        files = await self.counted(brought.files) if model is not None and not panel.replying else brought.files
        words = [f"{clean_name(file.path, 40)} {_size(file)}" for file in files]
        words += [f"image {clean_name(path, 40)}" for path in brought.images]
        self._noted = tuple(words)
        limit = model.context_length if model is not None else None
        too_long = limit is not None and sum(file.tokens or 0 for file in files) > limit
        if words and too_long:
            panel.say(f"{' · '.join(words)}: more than the context of {fmt.whole(limit or 0)} tokens", warning=True)
        elif words:
            panel.say(" · ".join(words))


def _size(file: TextFile) -> str:
    return fmt.tokens(file.tokens) if file.tokens is not None else fmt.size(len(file.text.encode(errors="replace")))
