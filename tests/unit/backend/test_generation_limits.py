"""What a model can be asked for, and what its own file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import UNSET

from modeldeck.backend.generation_limits import CACHES, Abilities, abilities_of
from modeldeck.backend.model_defaults import MAX_BYTES, names, read_model_defaults, settings_from
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.quantizers import Quantizer
from modeldeck.config.generation import GenerationSettings


class TestAbilities:
    @pytest.mark.parametrize(
        ("kinds", "device", "caches"),
        [
            ({}, None, CACHES),
            ({}, "cuda:0+cuda:1", CACHES),
            ({}, "cpu", ("dynamic", "static", "quantized")),
            ({"full_attention": 4}, "cpu", ("dynamic", "static", "quantized")),
            ({"full_attention": 4, "sliding_attention": 4}, "cpu", ("dynamic", "static")),
            ({"full_attention": 4, "linear_attention": 4}, "cuda:0", ("dynamic",)),
            ({"hybrid": 4}, None, ("dynamic",)),
        ],
    )
    def test_of_a_shape_and_a_device(
        self,
        kinds: dict[str, int],
        device: str | None,
        caches: tuple[str, ...],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(Quantizer, "installed", True)
        assert abilities_of(ModelShape(layer_types=kinds), device).caches == caches

    def test_without_a_package_nothing_quantizes_a_cache(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Quantizer, "installed", False)
        able = abilities_of(None, "cpu")
        assert "quantized" not in able.caches
        settings, said = able.leave_out(GenerationSettings(cache_implementation="quantized", seed=1))
        assert settings == GenerationSettings(seed=1)
        assert said == (
            "Cache quantized needs full attention in all layers, and optimum-quanto or hqq, so it is left out",
        )

    def test_what_is_fine_is_left_alone(self) -> None:
        settings = GenerationSettings(prompt_lookup_num_tokens=5, cache_implementation="dynamic", num_beams=1)
        assert Abilities().leave_out(settings) == (settings, ())

    def test_prompt_lookup_goes_where_a_cache_of_another_kind_stays(self) -> None:
        settings = GenerationSettings(prompt_lookup_num_tokens=5, cache_implementation="static")
        left, said = Abilities().leave_out(settings)
        assert left.prompt_lookup_num_tokens is UNSET
        assert left.cache_implementation == "static"
        assert len(said) == 1


class TestTheModelsOwnFile:
    def test_what_is_allowed_counts(self, tmp_path: Path) -> None:
        values = {"temperature": 0.6, "top_k": 20, "top_p": 7, "min_p": None, "eos_token_id": 5, "stop_strings": "x"}
        (tmp_path / "generation_config.json").write_text(json.dumps(values))
        own = read_model_defaults(str(tmp_path))
        assert own == GenerationSettings(temperature=0.6, top_k=20, stop=("x",))

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"top_k": NaN}', "{" * 100_000, " " * (MAX_BYTES + 1)])
    def test_whatever_it_holds_nothing_breaks(self, text: str, tmp_path: Path) -> None:
        (tmp_path / "generation_config.json").write_text(text)
        assert read_model_defaults(str(tmp_path)) == GenerationSettings()

    def test_no_file_and_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "model.gguf").write_bytes(b"GGUF")
        for path in (tmp_path, tmp_path / "model.gguf", tmp_path / "gone"):
            assert read_model_defaults(str(path)) == GenerationSettings()

    def test_a_snapshot_of_the_hub_is_read_through_its_links(self, tmp_path: Path) -> None:
        snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
        blobs = tmp_path / "models--a--b" / "blobs"
        snapshot.mkdir(parents=True)
        blobs.mkdir()
        (blobs / "1").write_text('{"top_k": 20}')
        (snapshot / "generation_config.json").symlink_to("../../blobs/1")
        assert read_model_defaults(str(snapshot)).top_k == 20
        (tmp_path / "secret").write_text('{"top_k": 30}')
        (snapshot / "generation_config.json").unlink()
        (snapshot / "generation_config.json").symlink_to(tmp_path / "secret")
        assert read_model_defaults(str(snapshot)) == GenerationSettings()

    def test_names(self) -> None:
        assert names()["stop"] == "stop_strings"
        assert not {"seed", "system_prompt"} & names().keys()
        assert settings_from({"stop_strings": ["a", "b"]}).stop == ("a", "b")
