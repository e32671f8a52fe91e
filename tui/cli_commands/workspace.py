"""What every command starts from: the paths, the settings and what was wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modeldeck.config.ownership import close_to_others, refusal
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings, model_folders
from modeldeck.config.store import ConfigProblem, load_settings
from modeldeck.tui.cli_commands.output import fail, note


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where things lie for this user, and what the user has set."""

    paths: Paths
    settings: Settings
    problems: tuple[ConfigProblem, ...]

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """The folders that are searched for models; the environment goes before the file."""
        return model_folders(self.settings, self.paths)

    def claim(self) -> None:
        """End the command where the folders of the program are somebody else's, and close them to others."""
        if problem := refusal(self.paths):
            fail(problem)
        close_to_others(self.paths)

    def complain(self) -> None:
        """Say on stderr what is wrong with the configuration; the rest of it counts."""
        for problem in self.problems:
            note(f"modeldeck: {problem}")


def open_workspace() -> Workspace:
    """Read the configuration of this environment. Ends the command where there is no home folder."""
    try:
        paths = Paths.from_environment()
    except RuntimeError as error:
        fail(str(error))
    settings, problems = load_settings(paths.config_file)
    return Workspace(paths, settings, problems)
