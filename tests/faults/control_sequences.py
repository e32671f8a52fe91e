"""What a terminal obeys, and what deceives who reads it: the corpus of S1, and how output is read for it.

The sequences are those of ECMA-48 and of xterm, each in the 7-bit and, where there is one, in the 8-bit form.
"""

from __future__ import annotations

import re

ESC, ST, BEL = "\x1b", "\x1b\\", "\x07"

SEQUENCES: dict[str, str] = {
    "CSI colour": f"{ESC}[5;8;31m",
    "CSI erase display": f"{ESC}[2J",
    "CSI erase scrollback": f"{ESC}[3J",
    "CSI home": f"{ESC}[H",
    "CSI far away": f"{ESC}[3;999H",
    "CSI cursor up": f"{ESC}[7A",
    "CSI insert lines": f"{ESC}[5L",
    "CSI scroll region": f"{ESC}[2;3r",
    "CSI repeat": f"{ESC}[9999b",
    "CSI device status": f"{ESC}[5n",
    "CSI cursor position report": f"{ESC}[6n",
    "CSI device attributes": f"{ESC}[c",
    "CSI secondary attributes": f"{ESC}[>c",
    "CSI window title report": f"{ESC}[21t",
    "CSI resize window": f"{ESC}[8;1;1t",
    "CSI soft reset": f"{ESC}[!p",
    "CSI media copy": f"{ESC}[5i",
    "CSI intermediate": f"{ESC}[?1$q",
    "CSI unfinished": f"{ESC}[",
    "8-bit CSI": "\x9b31m",
    "DECSET mouse": f"{ESC}[?1002h{ESC}[?9h",
    "DECSET focus off": f"{ESC}[?1005h",
    "DECSET columns": f"{ESC}[?3h",
    "DECSET leave the alternate screen": f"{ESC}[?47l",
    "DECRQM": f"{ESC}[?25$p",
    "kitty keyboard query": f"{ESC}[?u",
    "OSC 0 title": f"{ESC}]0;owned{BEL}",
    "OSC 2 title": f"{ESC}]2;owned{ST}",
    "OSC 4 palette report": f"{ESC}]4;0;?{BEL}",
    "OSC 8 link": f"{ESC}]8;;file:///etc/passwd{ST}click{ESC}]8;;{ST}",
    "OSC 10 colour report": f"{ESC}]10;?{BEL}",
    "OSC 9 notification": f"{ESC}]9;owned{BEL}",
    "OSC 52 clipboard": f"{ESC}]52;c;cm0gLXJmIH4K{BEL}",
    "OSC 52 clipboard report": f"{ESC}]52;c;?{ST}",
    "OSC 1337 file": f"{ESC}]1337;File=inline=1:AAAA{BEL}",
    "OSC unfinished": f"{ESC}]0;",
    "8-bit OSC": "\x9d0;owned\x9c",
    "DCS status": f"{ESC}P$qm{ST}",
    "DCS sixel": f"{ESC}Pq#0;2;0;0;0~{ST}",
    "DCS tmux passthrough": f"{ESC}Ptmux;{ESC}{ESC}]0;owned{BEL}{ST}",
    "8-bit DCS": "\x90$qm\x9c",
    "APC kitty graphics": f"{ESC}_Ga=T,f=24;AAAA{ST}",
    "8-bit APC": "\x9fowned\x9c",
    "PM": f"{ESC}^owned{ST}",
    "8-bit PM": "\x9eowned\x9c",
    "SOS": f"{ESC}Xowned{ST}",
    "8-bit SOS": "\x98owned\x9c",
    "RIS": f"{ESC}c",
    "charset": f"{ESC}(0",
    "shift out": "\x0e\x0f",
    "reverse index": f"{ESC}M\x8d",
    "save and restore": f"{ESC}7{ESC}8",
    "keypad": f"{ESC}=",
    "next line": "\x85",
    "bell": "a\x07b",
    "backspaces": "safe\x08\x08\x08\x08evil",
    "carriage return": "safe name\revil",
    "form feed and vertical tab": "\x0b\x0c",
    "delete": "\x7f\x7f",
    "tabs": "a\tb",
    "other C0": "\x01\x02\x05\x1a\x1c\x1d\x1e\x1f",
    "every C1": "".join(map(chr, range(0x80, 0xA0))),
    "bidi override": "\u202egnp.exe\u202c",
    "bidi isolate": "\u2066a\u2067b\u2068c\u2069",
    "bidi marks": "\u200e\u200f\u061c",
    "zero width": "a\u200bb\u200cc\u200dd\u2060e\ufefff",
    "line and paragraph separator": "a\u2028b\u2029c",
    "tags": "a\U000e0061\U000e0062",
    "invisible fillers": "a\u3164b\uffa0c\u115fd\u00ade",
}
SURROGATES = "\ud800\udcff\udc9b31m"
"""A string of Python can hold them: they come from names on a disk that are no UTF-8, and from JSON."""
MARKUP = (
    "[bold]x[/]",
    "[/]",
    "[@click=app.quit]quit[/]",
    "[@click=app.bell()]bell[/]",
    "[link=file:///etc/passwd]click[/link]",
    "[on red",
    "[",
    "\\[b]",
    "[$primary]$x[/$primary]",
    "[b][i]x[/b][/i]",
    "[not a style]x[/]",
    "[red](click)[/red][x](y)",
)

ON_DISK = (
    b"csi\x1b[2Jname",
    b"osc\x1b]0;owned\x07name",
    b"osc8\x1b]8;;http:evil\x1b\\name",
    b"c1\xc2\x9b31mname",
    b"raw c1\x9b31mname",
    b"not utf8 \xff\xfe",
    "bidi\u202egnp.exe".encode(),
    "zero\u200bwidth".encode(),
    b"line\nbreak\r\x08\x08\tname",
    b"[bold]markup[/]",
    b"[@click=app.quit]quit[/]",
    b"[/]",
)
"""Names that a file system takes: anything but a slash and a zero."""

_SGR = r"(?:[0-4]|7|9|39|49|[34]8;2(?:;\d+){3}|[34]8;5;\d+|[349][0-7]|10[0-7])"
_OF_TEXTUAL = re.compile(
    rf"\x1b\[(?:{_SGR}(?:;{_SGR})*)?m"  # Strip.render_style
    r"|\x1b\[\d+;\d+H"  # the compositor moves to a place
    r"|\x1b\[\?(?:7|25|1000|1003|1004|1006|1015|1049|2004|2026|2048)[hl]"  # linux_driver, and sync of app.py
    r"|\x1b\[\?(?:1002|1016)l"  # our own restoring of the terminal
    r"|\x1b\[\?(?:2026|2048)\$p"  # linux_driver asks what the terminal can do
    r"|\x1b\[[>=]\d+u|\x1b\[<u"  # the kitty keyboard
    r"|\x1b\]22;[a-z-]*\x07"  # the shape of the mouse pointer
)
_COPY = re.compile(r"\x1b\]52;c;[A-Za-z0-9+/=]*\x07")
_HARMFUL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    "|\r(?!\n|\r)"  # a terminal's own line ends are not harmful
)


def strangers(written: str, *, full_screen: bool = True, copies: bool = False) -> list[str]:
    """Whatever of an output is neither text nor one of the sequences that Textual writes, with what stands around it.

    ``full_screen`` allows those sequences, ``copies`` the one that fills the clipboard.
    """
    text = _OF_TEXTUAL.sub("", written) if full_screen else written
    text = _COPY.sub("", text) if copies else text
    return [text[max(0, found.start() - 30) : found.end() + 30] for found in _HARMFUL.finditer(text)]


def is_quoted(written: str) -> list[str]:
    """The sequences of the corpus that stand in an output as they are."""
    return [name for name, one in SEQUENCES.items() if ESC in one and len(one) > 2 and one in written]


def spelled(text: str) -> str:
    """The text for a script of ``tests/fakes/scripted_engine.py``: what is not plain is the code of its character."""
    return "".join(char if char.isalnum() or ord(char) > 0xFFFF else f"\\u{ord(char):04x}" for char in text)
