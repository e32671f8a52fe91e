"""A real child process without torch that speaks the protocol and misbehaves on request.

In a test::

    manager = PipelineManager(scripted_starter())                  # loads any model, replies to anything
    manager = PipelineManager(scripted_starter("ready\\nwait load\\nstderr CUDA error: out of memory\\nexit 9"))
    starter = scripted_starter(first, second)                      # the nth start runs the nth script; the last repeats

A script is one directive a line; ``#`` starts a comment. It begins with ``started`` unless that word or ``silent``
comes first, and when it runs out the child serves (as ``serve`` below). ``\\u001b`` is the character of that code.

Said to the parent
    ``started`` ``silent``          the hello, or none
    ``ready``                       the libraries are imported
    ``progress STAGE DONE TOTAL``   STAGE is a name of ``LoadStage`` in lower case (``reading_weights``)
    ``finished``                    LoadFinished for the Load that was waited for
    ``failed KIND MESSAGE``         LoadFailed; KIND as in ``protocol.LoadFailure``
    ``tokens TEXT``                 one TokensGenerated (``\\n`` is a newline)
    ``thought TEXT``                the same, as reasoning
    ``prefill DONE TOTAL``          one PrefillProgress
    ``end [stop|length|cancelled]`` GenerationFinished
    ``reply-failed MESSAGE``        GenerationFailed
    ``moved`` ``move-failed MESSAGE``  Moved or MoveFailed for the Park or Wake that was waited for
    ``log TEXT``                    EngineLog
    ``copy PATH``                   CopyWritten
    ``stderr TEXT`` ``stdout TEXT`` a line on that stream; stdout of the process is the wire here, so it is garbage
    ``garbage TEXT`` ``long N``     a line that is no message; a line of N bytes
    ``huge N``                      a message of N bytes, its newline included
    ``event JSON``                  the line as it stands

Waiting
    ``wait load|generate|park|wake|stop|shutdown`` for that request; ``gate PATH`` until the test makes
    that file; ``sleep SECONDS``; ``hang`` for ever

Misbehaving
    ``exit N``; ``signal NAME`` (``KILL``, ``SEGV``) to itself; ``ignore stop|term|shutdown|eof``;
    ``flood stderr|tokens|log N``; ``grandchild`` starts a sleeping process in the same group;
    ``close stdout|stdin``

Serving
    ``serve`` answers until it is told to end: any Load takes four steps of progress (unless the model's path does
    not exist and is not ``/scripted...``), any Generate gets ``REPLY`` of scripted_child.py in
    pieces, one word a token, and Stop ends it as ``cancelled``. Before it:
    ``reply TEXT``       another reply; ``{prompt}``, ``{temperature}``, ``{max_new_tokens}``, ``{seed}``, ``{system}``,
                         ``{turns}``, ``{model}``, ``{quantization}``, ``{pickles}``, ``{mode}``, ``{thinking}`` and
                         ``{images}`` are filled in; max_new_tokens cuts it as ``length``
    ``template TEXT``    the chat template that the model has
    ``thinks TEXT``      the model can reason, and this is what it thinks before each reply
    ``images``           the model takes images
    ``pace SECONDS``     between two tokens and two steps (default 0.005)
    ``load-gate PATH``   after the second step of a load, wait until the test makes that file
    ``reply-gate PATH``  after the second token of a reply, wait until the test makes that file, or for Stop
    ``fail-load KIND MESSAGE``  every load fails so
    ``move-gate PATH``   before a model is parked or woken, wait until the test makes that file
    ``fail-move MESSAGE``  every move fails so
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.pipeline_manager import EngineStarter


def scripted_command(script: str = "serve") -> tuple[str, ...]:
    """The command line of a child that runs the script."""
    return (sys.executable, str(Path(__file__).with_name("scripted_child.py").resolve()), script)


def scripted_starter(*scripts: str, on_log: Callable[[str], None] = lambda _line: None) -> EngineStarter:
    """What ``PipelineManager`` takes: each start runs the next script, the last one again and again."""
    remaining: Iterator[str] = chain(scripts[:-1], repeat(scripts[-1] if scripts else "serve"))

    async def start() -> EngineClient:
        return await EngineClient.start(scripted_command(next(remaining)), dict(os.environ), on_log=on_log)

    return start
