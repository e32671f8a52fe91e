"""The letter keys of the panes in which nobody types text.

They stand on those panes and not on the screen, so that the footer and the help never offer a letter that the prompt
would take as text. All of them are in the command palette too.
"""

from __future__ import annotations

from textual.binding import Binding, BindingType

DECK_KEYS: tuple[BindingType, ...] = (
    Binding(
        "l",
        "screen.load_options",
        "Options",
        id="model.options",
        tooltip="Choose device, dtype, quantization, attention",
    ),
    *(
        Binding(
            str(number),
            f"screen.switch({number})",
            f"Model {number}",
            show=False,
            id=f"model.{number}",
            tooltip="Talk to the loaded model with this number",
        )
        for number in range(1, 10)
    ),
    Binding(
        "minus",
        "screen.switch_back",
        "Previous model",
        show=False,
        id="model.previous",
        tooltip="Talk to the model before",
    ),
    Binding("p", "screen.pin", "Pin", show=False, id="model.pin", tooltip="Keep a loaded model, whatever needs room"),
    Binding(
        "z",
        "screen.park",
        "Park",
        show=False,
        id="model.park",
        tooltip="Move a loaded model from its GPU to RAM, or back",
    ),
    Binding("u", "screen.unload", "Unload", id="model.unload", tooltip="Unload the model and free its memory"),
    Binding("c", "screen.configure", "Config", id="generation.edit", tooltip="Edit the generation settings"),
    Binding(
        "t",
        "screen.presets",
        "Presets",
        show=False,
        id="generation.presets",
        tooltip="Take a preset of generation settings, or make one",
    ),
    Binding("a", "screen.add", "Add", show=False, id="model.add", tooltip="Add a model by its path or its Hub id"),
    Binding("e", "screen.error", "Error", id="engine.error", tooltip="Show the last error with what stands behind it"),
    Binding("m", "screen.show_pane('devices')", "Devices", show=False, id="devices.show", tooltip="Show the devices"),
    Binding("question_mark", "app.help", "Help", id="app.help", tooltip="Show all keys"),
    Binding("colon", "app.command_palette", "Commands", show=False, id="app.commands", tooltip="Search all commands"),
    Binding("q", "app.quit", "Quit", show=False, id="app.leave", tooltip="Leave modeldeck; the engine ends too"),
)
