"""The keys of the chat. Letters act in the turns, where nobody types; the palette has all of them everywhere.

Without a turn that was chosen (J, K) they mean the last one.
"""

from __future__ import annotations

from textual.binding import Binding, BindingType

_TURN = (
    ("y", "copy", "Copy", "chat.copy", "Copy the reply to the clipboard"),
    ("Y", "copy_code", "Copy code", "chat.copy_code", "Copy a code block of the reply; again for the next one"),
    ("R", "regenerate", "Regenerate", "chat.regenerate", "Have the question replied to once more, beside the reply"),
    ("E", "edit", "Edit question", "chat.edit", "Edit the question and send it beside the first one"),
    ("C", "continue", "Continue reply", "chat.continue", "Let a reply that was cut go on"),
    ("B", "branch", "Branch", "chat.branch", "Go on from this turn; what followed it stays beside"),
    ("left_square_bracket", "before", "Version before", "chat.version_before", "Show the version before of this turn"),
    ("right_square_bracket", "after", "Next version", "chat.version_after", "Show the next version of this turn"),
    ("K", "above", "Turn above", "chat.turn_above", "Choose the turn above"),
    ("J", "below", "Turn below", "chat.turn_below", "Choose the turn below"),
    ("f", "fold", "Fold reasoning", "chat.fold", "Show or fold what the model reasoned"),
    ("i", "look", "Look into reply", "chat.look", "See how likely each token of the reply was, and what else"),
    ("equals_sign", "compare", "Compare", "chat.compare", "Ask two models, or with two settings, side by side"),
)
_CHAT = (
    ("n", "new", "New chat", "chat.new", "Begin a new conversation; this one is kept"),
    ("o", "list", "Conversations", "chat.list", "Open, search, rename or delete conversations"),
    ("r", "rename", "Rename chat", "chat.rename", "Give this conversation a title"),
    ("w", "export", "Export chat", "chat.export", "Write this conversation to a file, as Markdown or JSON"),
    ("P", "system", "System prompt", "chat.system", "Give this conversation a system prompt of its own"),
    ("x", "raw", "Raw completion", "chat.raw", "Complete questions as plain text, without the chat template; or not"),
    ("T", "thinking", "Reasoning", "chat.thinking", "Let the model reason before it replies, or not"),
)
_SHOWN = {"n", "y"}

CHAT_KEYS: tuple[BindingType, ...] = (
    *(
        Binding(key, f"chat('{deed}')", title, show=key in _SHOWN, id=name, tooltip=tooltip)
        for key, deed, title, name, tooltip in _TURN
    ),
    *(
        Binding(key, f"chat('{deed}')", title, show=key in _SHOWN, id=name, tooltip=tooltip)
        for key, deed, title, name, tooltip in _CHAT
    ),
    Binding(
        "ctrl+g",
        "chat('choices')",
        "What to do",
        id="chat.choices",
        tooltip="Choose what to do when the context or the memory is full",
    ),
    Binding(
        "ctrl+r",
        "chat('read')",
        "Turns",
        show=False,
        id="chat.read",
        tooltip="From the prompt to the turns, where letters are keys, or back",
    ),
    Binding("enter", "chat('write')", "Write", show=False, id="chat.write", tooltip="From the turns to the prompt"),
    Binding("escape", "chat('stop_editing')", "Stop editing", id="chat.stop_editing", tooltip="Leave the question be"),
)
