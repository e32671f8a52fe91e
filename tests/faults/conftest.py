"""What tests of faults borrow from those of the commands."""

from __future__ import annotations

from tests.unit.cli.conftest import model_folder, modeldeck

__all__ = ["model_folder", "modeldeck"]
