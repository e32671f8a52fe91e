"""A processor for images that came with a model: its template and its code are anybody's (S4, S10)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.errors import GenerationError

pytest.importorskip("PIL")
pytestmark = [pytest.mark.usefixtures("libraries"), pytest.mark.filterwarnings("ignore")]
SPINS = "{% for a in range(99999) %}{% for b in range(2000) %}{% endfor %}{% endfor %}"
"""Some seconds of work."""
PROCESSOR = """
from pathlib import Path
from transformers import LlavaProcessor

Path("CANARY").touch()


class P(LlavaProcessor):
    pass
"""


@pytest.fixture
def copied(llava: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llava, tmp_path / "copied"))


def ask(folder: Path, text: str, picture: Path) -> Any:
    from modeldeck.backend.engine.images import Images

    images = Images(folder, multimodal=True, trusted=False)
    turns = [{"role": "user", "content": text}]
    return images.prompt(turns, [ChatMessage("user", text, (str(picture),))], {}, lambda _text: None)


def write_first(folder: Path, template: str) -> None:
    """Have the template do this first where the user says "spin"."""
    file = folder / "chat_template.jinja"
    file.write_text(
        "{% if messages[0]['content'][1]['text'] == 'spin' %}" + template + "{% endif %}" + file.read_text()
    )


def test_s10_a_processors_template_that_writes_without_end_is_refused(
    copied: Path, pictures: tuple[Path, Path]
) -> None:
    write_first(copied, "{{ 'x' * 20000000 }}")
    assert ask(copied, "Hello", pictures[0]).ids
    with pytest.raises(GenerationError, match=r"makes 20,000,\d{3} characters of"):
        ask(copied, "spin", pictures[0])


def test_s10_a_processors_template_that_never_ends_is_given_up(
    copied: Path, pictures: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeldeck.backend.engine.deadline.TEMPLATE_SECONDS", 1.0)
    write_first(copied, SPINS)
    with pytest.raises(GenerationError, match=r"took longer than 1 seconds"):
        ask(copied, "spin", pictures[0])


def test_s4_a_processors_own_code_does_not_run_without_consent(
    copied: Path, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    (copied / "proc.py").write_text(PROCESSOR.replace("CANARY", str(canary)))
    file = copied / "processor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": {"AutoProcessor": "proc.P"}}))
    assert ask(copied, "Hello", pictures[0]).ids, "transformers' own processor does"
    assert not canary.exists()
