"""Prints the types of the library that write text without PyTorch's fused attention. Run it as a process of its own."""

from __future__ import annotations

import json
import sys
from typing import Any

import transformers
from transformers.models.auto import modeling_auto


def main() -> None:
    """One JSON list of model types."""
    tables: tuple[dict[str, Any], ...] = (
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    )
    named = [(kind, name) for table in tables for kind, name in table.items()]
    classes = ((kind, getattr(transformers, name if isinstance(name, str) else name[0])) for kind, name in named)
    found = sorted({kind for kind, network in classes if not network._supports_sdpa})
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
