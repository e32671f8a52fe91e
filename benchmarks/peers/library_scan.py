"""The libraries' own way to know the models of a machine: ``scan_cache_dir``, then ``AutoConfig`` for each of them.

Reads one order a line (JSON) and answers with the seconds and the number of models; its first line says that
everything is imported, the classes of the configurations included.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HFCacheInfo


def _models(cache: HFCacheInfo, folders: Path) -> list[str]:
    snapshots = [str(revision.snapshot_path) for repo in cache.repos for revision in repo.revisions]
    return snapshots + [str(file.parent) for file in folders.glob("*/*/config.json")]


def main() -> None:
    """Serve until stdin ends."""
    from huggingface_hub import scan_cache_dir
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    for kind in ("llama", "qwen3", "mistral", "gemma2", "phi3"):
        _ = CONFIG_MAPPING[kind]  # imports its class
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        start = perf_counter()
        models = _models(scan_cache_dir(order["hub_cache"]), Path(order["folders"]))
        configs = [AutoConfig.from_pretrained(model) for model in models]
        print(json.dumps({"seconds": perf_counter() - start, "models": len(configs)}), flush=True)


if __name__ == "__main__":
    main()
