"""Which networks keep scores of tokens by tokens, held to the library's own classes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modeldeck.backend.estimate.eager import EAGER

pytestmark = [pytest.mark.real_model, pytest.mark.timeout(180)]
ROOT = Path(__file__).parents[2]
WITHOUT_ATTENTION = {"falcon_mamba", "mamba", "mamba2", "rwkv", "xlstm"}


def test_the_table_of_types_without_fused_attention_is_that_of_the_library() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.real.library_attention"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=170)
    assert ended.returncode == 0, ended.stderr.decode()[-2000:]
    assert set(json.loads(ended.stdout)) == EAGER | WITHOUT_ATTENTION
