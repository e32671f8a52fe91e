"""An example ``config.toml``, written from the declarations; the program prints it and never puts it on disk."""

from __future__ import annotations

from modeldeck.config.declaration import Setting, settings_of
from modeldeck.config.settings import Settings

_HEADER = "# config.toml of modeldeck. Every line shows its default; take the # away to change one.\n"


def example_config() -> str:
    """Every setting with its help, its limits and its default, commented out so that it changes nothing."""
    settings = sorted(settings_of(Settings), key=lambda setting: setting.kind == "mapping")  # tables come last in TOML
    return "\n".join((_HEADER, *(_entry(setting) for setting in settings)))


def _entry(setting: Setting) -> str:
    """One setting: help in a comment, then the line that sets the default."""
    import tomli_w  # not needed by the program itself

    limits = f" ({setting.limits})" if setting.limits else ""
    value = tomli_w.dumps({setting.name: setting.default})
    return f"# {setting.help}{limits}\n" + "".join(f"#{line}\n" for line in value.splitlines())
