"""The colours that the theme has where a widget stands, for rows of Markdown."""

from __future__ import annotations

from textual.widget import Widget

from modeldeck.tui.markdown_rows import Look


def theme_look(widget: Widget) -> Look:
    """The look of Markdown in this widget."""
    variables = widget.app.theme_variables
    background, _ = widget.background_colors
    foreground = widget.styles.color
    return Look(
        accent=rich_colour(variables.get("accent", "")),
        muted=rich_colour(background.blend(foreground, 0.6).hex if background.ansi is None else ""),
        code_background=rich_colour(background.blend(foreground, 0.05).hex if background.ansi is None else ""),
        dark=widget.app.current_theme.dark,
    )


def rich_colour(value: str) -> str:
    """A colour as Rich takes it; a theme of a terminal's own colours has other words."""
    return value[:7] if value.startswith("#") else "default"
