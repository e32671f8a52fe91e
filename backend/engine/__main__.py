"""``python -m modeldeck.backend.engine``: requests on stdin, events on what was stdout, everything else on stderr."""

from __future__ import annotations

import faulthandler
import os
import sys


def main() -> None:
    """Secure the wire and the ways to end before anything heavy is imported, then serve until told to end."""
    os.umask(0o077)
    wire_descriptor = os.dup(1)  # not inherited by anything that a library may start
    os.dup2(2, 1)  # no print and no C puts may land on the wire
    sys.stdout = sys.stderr

    from modeldeck.backend.engine.wire import Inbox, Wire  # the reader must run before more is imported
    from modeldeck.backend.linux import die_with_parent

    inbox = Inbox(os.fdopen(os.dup(0), "rb"))
    die_with_parent()
    _close_stdin()
    faulthandler.enable()  # the last words of a crash in C

    from modeldeck.backend.engine.server import serve

    wire = Wire(wire_descriptor)
    try:
        serve(wire, inbox)
    finally:  # an engine that ends early has said that it started; its writer is a thread that no exit waits for
        wire.drain(1.0)


def _close_stdin() -> None:
    """Whoever reads stdin by mistake finds it empty instead of taking requests away."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


if __name__ == "__main__":
    main()
