"""The words that everything shares."""

from __future__ import annotations

import pytest

from modeldeck.backend.chat_messages import FinishReason, GenerationStats
from modeldeck.backend.models import TRANSITIONS, ModelInfo, ModelSource, ModelStatus


def test_every_status_has_its_transitions_and_none_leads_to_itself() -> None:
    assert set(TRANSITIONS) == set(ModelStatus)
    assert all(status not in following for status, following in TRANSITIONS.items())


def test_a_model_is_loaded_only_through_loading_and_every_status_leads_back_to_not_loaded() -> None:
    back = {ModelStatus.PARKING, ModelStatus.WAKING}  # which only a model that was loaded comes to
    loading = [status for status, after in TRANSITIONS.items() if ModelStatus.LOADED in after and status not in back]
    assert loading == [ModelStatus.LOADING]
    for start in ModelStatus:
        reached, frontier = {start}, [start]
        while frontier:
            for following in TRANSITIONS[frontier.pop()] - reached:
                reached.add(following)
                frontier.append(following)
        assert ModelStatus.NOT_LOADED in reached


def stats(new_tokens: int, first: float, seconds: float) -> GenerationStats:
    return GenerationStats(
        prompt_tokens=1,
        new_tokens=new_tokens,
        first_token_seconds=first,
        seconds=seconds,
        finish_reason=FinishReason.STOP,
    )


@pytest.mark.parametrize(
    ("new_tokens", "first", "seconds", "expected"),
    [(11, 1.0, 2.0, 10.0), (1, 1.0, 1.0, 0.0), (0, 0.0, 0.0, 0.0), (5, 1.0, 1.0, 0.0)],
)
def test_tokens_per_second_is_decoding_alone(new_tokens: int, first: float, seconds: float, expected: float) -> None:
    assert stats(new_tokens, first, seconds).tokens_per_second == expected


def test_a_model_with_a_problem_cannot_be_loaded() -> None:
    good = ModelInfo(id="a", name="a", path="/a", source=ModelSource.FOLDER)
    bad = ModelInfo(id="a", name="a", path="/a", source=ModelSource.FOLDER, problems=("no weights",))
    assert good.loadable
    assert not bad.loadable
