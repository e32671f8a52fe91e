"""The child of ``scripted_engine.py``: run as a file, with the script as its only argument."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path
from queue import Queue

import msgspec

from modeldeck.backend.chat_messages import FinishReason, GenerationStats, TokenChoice
from modeldeck.backend.models import LoadedModel, LoadStage
from modeldeck.backend.protocol import (
    IMPORTED,
    PROTOCOL_VERSION,
    CopyWritten,
    CountTokens,
    EngineEvent,
    EngineLog,
    EngineReady,
    EngineStarted,
    Generate,
    GenerationFailed,
    GenerationFinished,
    Load,
    LoadFailed,
    LoadFinished,
    LoadProgress,
    LookedInto,
    LookInto,
    Moved,
    MoveFailed,
    Park,
    PrefillProgress,
    Request,
    Shutdown,
    Stop,
    TokensCounted,
    TokensGenerated,
    Wake,
    decode_request,
    encode,
)

REPLY = "You said **{prompt}** to `{model}`.\n\n- temperature {temperature}\n- turns {turns}\n- system {system}"
"""What ``serve`` answers: Markdown of fewer than 30 tokens that shows the settings it got."""

_CODE = re.compile(r"\\u([0-9a-f]{4})")


class _Engine:
    """The child's side: a reader thread for the requests, the script in the main thread."""

    def __init__(self, script: str) -> None:
        self.lines = [line.strip() for line in script.splitlines() if line.strip() and not line.strip().startswith("#")]
        self.requests: Queue[Request] = Queue()
        self.stopped: set[int] = set()
        self.ignored: set[str] = set()
        self.options = {"reply": REPLY, "pace": "0.005"}
        self.load: Load | None = None
        self.generate: Generate | None = None
        self.move_id = 0
        self.new_tokens = 0
        self.wire = sys.stdout.buffer

    def run(self) -> None:
        """The whole script, then serve."""
        if not self.lines or self.lines[0] not in {"started", "silent"}:
            self.say_started("")
        threading.Thread(target=self.read_requests, daemon=True).start()
        for line in self.lines:
            self.obey(line)
        self.serve("")

    def read_requests(self) -> None:
        for line in sys.stdin.buffer:
            request = decode_request(line)
            if isinstance(request, Stop) and "stop" not in self.ignored:
                self.stopped.add(request.request_id)
            if isinstance(request, Shutdown) and "shutdown" not in self.ignored:
                os._exit(0)
            self.requests.put(request)
        if "eof" not in self.ignored:
            os._exit(0)

    def obey(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        rest = _CODE.sub(lambda code: chr(int(code[1], 16)), rest)
        name = word.replace("-", "_")
        if name in {
            "reply",
            "pace",
            "load_gate",
            "reply_gate",
            "fail_load",
            "move_gate",
            "fail_move",
            "thinks",
            "images",
            "template",
        }:
            self.options[name] = rest.replace("\\n", "\n")
        else:
            (getattr(self, f"say_{name}", None) or getattr(self, name))(rest)

    def send(self, event: EngineEvent) -> None:
        self.send_line(encode(event))

    def send_line(self, line: bytes) -> None:
        self.wire.write(line)
        self.wire.flush()

    # what it says

    def say_started(self, _: str) -> None:
        self.send(EngineStarted(PROTOCOL_VERSION, os.getpid()))

    def say_silent(self, _: str) -> None:
        """No hello."""

    def say_ready(self, _: str) -> None:
        sys.stderr.write(f"{IMPORTED}\n")
        sys.stderr.flush()
        self.send(EngineReady({"python": "3.11", "torch": "scripted", "transformers": "scripted"}))

    def say_progress(self, rest: str) -> None:
        stage, done, total = rest.split()
        self.send(LoadProgress(self.load_id, LoadStage[stage.upper()], int(done), int(total), "bytes"))

    def say_finished(self, _: str) -> None:
        assert self.load is not None
        request, template = self.load.request, self.options.get("template", "")
        self.send(
            LoadFinished(
                self.load_id,
                LoadedModel(
                    model_id=request.model_id,
                    device="cpu" if request.device == "auto" else request.device,
                    dtype="bfloat16" if request.dtype == "auto" else request.dtype,
                    quantization=str(request.quantization),
                    context_length=8192,
                    weight_bytes=270_000_000,
                    parameters=135_000_000,
                    has_chat_template=True,
                    seconds=0.5,
                    peaks={"ram": 700_000_000},
                    takes_images="images" in self.options,
                    can_think="thinks" in self.options,
                    template_digest=sha256(template.encode()).hexdigest() if template else "",
                ),
            )
        )

    def say_failed(self, rest: str) -> None:
        kind, _, message = rest.partition(" ")
        self.send(LoadFailed(self.load_id, kind, message, "the traceback"))  # type: ignore[arg-type]  # as scripted

    def say_tokens(self, rest: str) -> None:
        assert self.generate is not None
        self.new_tokens += 1
        self.send(TokensGenerated(self.generate.request_id, rest.replace("\\n", "\n"), self.new_tokens))

    def say_thought(self, rest: str) -> None:
        assert self.generate is not None
        self.new_tokens += 1
        text = rest.replace("\\n", "\n")
        self.send(TokensGenerated(self.generate.request_id, text, self.new_tokens, reasoning=True))

    def say_prefill(self, rest: str) -> None:
        assert self.generate is not None
        done, total = rest.split()
        self.send(PrefillProgress(self.generate.request_id, int(done), int(total)))

    def say_end(self, rest: str) -> None:
        assert self.generate is not None
        reason = FinishReason(rest or "stop")
        stats = GenerationStats(
            prompt_tokens=5,
            new_tokens=self.new_tokens,
            first_token_seconds=0.1,
            seconds=0.5,
            finish_reason=reason,
            peaks={"ram": 750_000_000},
            cache_bytes=1_000_000,
            token_ids=tuple(range(self.new_tokens)),
        )
        self.send(GenerationFinished(self.generate.request_id, stats))

    def say_reply_failed(self, rest: str) -> None:
        assert self.generate is not None
        self.send(GenerationFailed(self.generate.request_id, rest, "the traceback"))

    def say_moved(self, _: str) -> None:
        self.send(Moved(self.move_id, 270_000_000, 0.25))

    def say_move_failed(self, rest: str) -> None:
        self.send(MoveFailed(self.move_id, rest, "the traceback"))

    def say_log(self, rest: str) -> None:
        self.send(EngineLog("info", rest))

    def say_copy(self, rest: str) -> None:
        self.send(CopyWritten(rest))

    def say_stderr(self, rest: str) -> None:
        os.write(2, rest.replace("\\n", "\n").replace("\\r", "\r").encode() + b"\n")

    def say_stdout(self, rest: str) -> None:
        self.send_line(rest.encode() + b"\n")

    say_garbage = say_event = say_stdout

    def say_long(self, rest: str) -> None:
        self.send_line(b"x" * int(rest) + b"\n")

    def say_huge(self, rest: str) -> None:
        form = msgspec.json.encode(EngineLog("info", ""))
        self.send_line(form.replace(b'""', b'"' + b"x" * (int(rest) - len(form) - 1) + b'"') + b"\n")

    # what it waits for

    def wait(self, rest: str) -> None:
        request = self.requests.get()
        while type(request).__name__.lower() != rest:
            request = self.requests.get()
        self.remember(request)

    def remember(self, request: Request) -> None:
        if isinstance(request, Load):
            self.load = request
        if isinstance(request, Generate):
            self.generate, self.new_tokens = request, 0
        if isinstance(request, Park | Wake):
            self.move_id = request.request_id

    def gate(self, rest: str) -> None:
        while not Path(rest).exists():
            time.sleep(0.005)

    def sleep(self, rest: str) -> None:
        time.sleep(float(rest))

    def hang(self, _: str) -> None:
        threading.Event().wait()

    # how it misbehaves

    def exit(self, rest: str) -> None:
        os._exit(int(rest))

    def signal(self, rest: str) -> None:
        os.kill(os.getpid(), signal.Signals[f"SIG{rest}"])
        time.sleep(60)

    def ignore(self, rest: str) -> None:
        self.ignored.add(rest)
        if rest == "term":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def flood(self, rest: str) -> None:
        what, number = rest.split()
        for index in range(int(number)):
            {"stderr": self.say_stderr, "log": self.say_log, "tokens": self.say_tokens}[what](f"{index} ")

    def grandchild(self, _: str) -> None:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def close(self, rest: str) -> None:
        os.close({"stdin": 0, "stdout": 1}[rest])

    # how it serves

    @property
    def load_id(self) -> int:
        assert self.load is not None, "the script says something about a load before it waited for one"
        return self.load.request_id

    def serve(self, _: str) -> None:
        self.say_ready("")
        while True:
            request = self.requests.get()
            self.remember(request)
            if isinstance(request, Load):
                self.serve_load(request)
            elif isinstance(request, Generate):
                self.serve_reply(request)
            elif isinstance(request, CountTokens):
                self.send(TokensCounted(request.request_id, tuple(len(text.split()) for text in request.texts)))
            elif isinstance(request, LookInto):
                words = [TokenChoice(f"{one} ", 0.75, (("other ", 0.125),)) for one in request.token_ids]
                self.send(LookedInto(request.request_id, tuple(words)))
            elif isinstance(request, Park | Wake):
                self.serve_move()

    def serve_load(self, load: Load) -> None:
        steps = ("reading_config 0 0", "reading_weights 0 100", "reading_weights 60 100", "warming_up 0 0")
        for number, step in enumerate(steps):
            self.say_progress(step)
            time.sleep(float(self.options["pace"]))
            if number == 1 and "load_gate" in self.options:
                self.gate(self.options["load_gate"])
        if "fail_load" in self.options:
            self.say_failed(self.options["fail_load"])
        elif not (load.request.path.startswith("/scripted") or Path(load.request.path).exists()):
            self.say_failed("load The model's files are gone.")
        else:
            self.say_finished("")

    def serve_reply(self, request: Generate) -> None:
        said = self.filled(request)
        pieces = [piece + " " for piece in said.split(" ")]
        pieces[-1] = pieces[-1][:-1]
        limit = request.settings.max_new_tokens
        limit = limit if isinstance(limit, int) else 512
        if "thinks" in self.options and request.thinking is not False:
            self.say_thought(self.options["thinks"])
        for number, piece in enumerate(pieces[:limit]):
            if number == 2 and not self.may_go_on(request.request_id):
                break
            if request.request_id in self.stopped:
                break
            self.say_tokens(piece)
            time.sleep(float(self.options["pace"]))
        stopped = request.request_id in self.stopped
        self.say_end("cancelled" if stopped else "length" if limit < len(pieces) else "stop")

    def serve_move(self) -> None:
        if "move_gate" in self.options:
            self.gate(self.options["move_gate"])
        if "fail_move" in self.options:
            self.say_move_failed(self.options["fail_move"])
        else:
            self.say_moved("")

    def may_go_on(self, request_id: int) -> bool:
        gate = self.options.get("reply_gate")
        while gate and not Path(gate).exists():
            if request_id in self.stopped:
                return False
            time.sleep(0.005)
        return True

    def filled(self, request: Generate) -> str:
        """The reply with what the request asked for in it."""
        settings = request.settings
        turns = [message for message in request.messages if message.role != "system"]
        system = next((m.content for m in request.messages if m.role == "system"), settings.system_prompt)
        values = {
            "prompt": turns[-1].content if turns else "",
            "turns": len(turns),
            "system": system,
            "model": self.load.request.model_id if self.load else "",
            "quantization": str(self.load.request.quantization) if self.load else "",
            "pickles": self.load.request.allow_pickles if self.load else "",
            "temperature": settings.temperature,
            "max_new_tokens": settings.max_new_tokens,
            "seed": settings.seed,
            "mode": request.mode.value,
            "thinking": request.thinking,
            "images": " ".join(path for message in request.messages for path in message.images),
        }
        reply = self.options["reply"]
        for name, value in values.items():
            reply = reply.replace("{" + name + "}", str(value))
        return reply.replace("UNSET", "unset")


if __name__ == "__main__":
    _Engine(sys.argv[1]).run()
