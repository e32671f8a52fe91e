"""An estimate in the words of the load dialog: what is needed, what is free, whether it fits, what would."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content

from modeldeck.backend.estimate.figures import DeviceNeed, Estimate, Suggestion, Verdict
from modeldeck.backend.estimate.planning import Holder, Room
from modeldeck.backend.memory_reading import DeviceMemory, MemoryReading
from modeldeck.backend.models import LoadRequest, ModelInfo, Quantization
from modeldeck.backend.text import clean_name
from modeldeck.tui.fitting import Fit
from modeldeck.tui.format import gigabytes, whole
from modeldeck.tui.marks import fit_mark

_STYLES = {
    Verdict.FITS: "bold $text-success",
    Verdict.TIGHT: "bold $text-warning",
    Verdict.OFFLOADS: "bold $text-warning",
    Verdict.DOES_NOT_FIT: "bold $text-error",
    Verdict.UNKNOWN: "bold $text-muted",
}
_WORTH_SAYING = 50_000_000
"""Bytes; what shows as 0.0 GB says nothing."""
_NAMED = 2
"""How many of the processes that hold a device's memory are named."""


def fit_lines(fit: Fit, request: LoadRequest, name_of: Callable[[str], str]) -> list[Content]:
    """Some lines, the verdict first, and last what becomes of the models that are held."""
    told = fit.estimate
    lines = [_verdict_line(told)]
    if told.devices:
        lines.append(_needs_line(told))
        lines += _passing_lines(told)
        if told.measured_bytes is not None and told.grounds:
            lines.append(Content(told.grounds[0]))  # what was measured, and for how long a conversation
        lines += _reclaimable_lines(told)
        lines += [_free_line(device) for device in told.devices if device.holds_model or _is_noticed(device)]
        lines += _held_lines(told, fit.memory)
    elif told.grounds:
        lines.append(Content(told.grounds[0]))
    if would := _would_fit(fit, request):
        lines.append(Content(would))
    return [*lines, *(Content(plan) for plan in plan_lines(fit.room, request.model_id, name_of))]


def plan_lines(room: Room, model_id: str, name_of: Callable[[str], str]) -> list[str]:
    """What goes for a load, and what stays; nothing where nothing else is held."""
    lines = []
    if gone := [one for one in room.unload if one.model_id != model_id]:
        again = "them" if len(gone) > 1 else "it"
        lines.append(f"{unloading_words(gone, name_of)} first, and loads {again} again if this load fails.")
    if anew := [one for one in room.unload if one.model_id == model_id]:
        first = "Ends its reply and loads it anew" if anew[0].generating else "Loads it anew"
        lines.append(f"{first}: what is loaded now goes first, and comes back if this load fails.")
    if room.keeps:
        names = _listed([clean_name(name_of(one.model_id)) for one in room.keeps])
        may_go = any(not one.pinned for one in room.keeps)
        lines.append(f"Keeps {names}{', unless memory runs out in the load' if may_go else ''}.")
    return lines


def replacing_words(
    model: ModelInfo, stops: str, room: Room, needs: Estimate | None, name_of: Callable[[str], str]
) -> str:
    """The plan of a load as a question; ``stops`` is what is being loaded now, or empty."""
    said = [f"{clean_name(stops)} is still loading, and stops."] if stops else []
    gone = [one for one in room.unload if one.model_id != model.id]
    if gone:
        said.append(f"{unloading_words(gone, name_of)}.")
    if any(one.generating for one in room.unload if one.model_id == model.id):
        said.append(f"Ends the reply of {clean_name(model.name)}, which is loaded.")
    load = f"Then loads {clean_name(model.name)}" if said else f"Loads {clean_name(model.name)}"
    if needs is not None and needs.verdict is not Verdict.UNKNOWN:
        load += f" (about {gigabytes(sum(need.needed_bytes for need in _holders(needs)))} GB): {needs.verdict.value}"
    return " ".join([*said, f"{load}."])


def waited_for(told: Estimate) -> dict[str, int]:
    """What must be free on each device for this load; empty where it fits, or a device is too small for it anyway."""
    if told.verdict is not Verdict.DOES_NOT_FIT or any(one.needed_bytes > one.total_bytes for one in told.devices):
        return {}
    return {one.device: one.needed_bytes for one in told.devices}


def unloading_words(gone: Sequence[Holder], name_of: Callable[[str], str]) -> str:
    """``Unloads Qwen3-8B (14.2 GB) and Llama (9.8 GB)``."""
    ends = "".join(
        f"Ends the reply of {clean_name(name_of(one.model_id))}, and unloads" for one in gone if one.generating
    )
    named = [f"{clean_name(name_of(one.model_id))}{_weight(one)}" for one in gone]
    return f"{ends or 'Unloads'} {_listed(named)}"


def _weight(holder: Holder) -> str:
    on_gpus = {device: size for device, size in holder.held.items() if device != "ram"}
    size = sum((on_gpus or holder.held).values())
    return f" ({gigabytes(size)} GB)" if size >= _WORTH_SAYING else ""


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def out_of_memory_words(fit: Fit, request: LoadRequest, instead: Estimate | None) -> str:
    """Why a load ran out of memory, in figures, and what to press; ``instead`` is the estimate of what would fit.

    Empty where the estimate did not see it coming: the engine's own words are then worth more.
    """
    told, other = fit.estimate, fit.suggestion
    said = " and ".join(
        f"needs about {gigabytes(need.needed_bytes)} GB, "
        f"{gigabytes(need.free_bytes + need.credit_bytes)} GB free {_place(need.device)}"
        for need in told.devices
        if need.left_bytes < 0
    )
    if not said:
        return ""
    if other.dtype is None or other.quantization is None:
        return f"{said} · nothing that can be chosen would fit"
    if not _differs(other, request) or instead is None:
        return said
    needed = gigabytes(sum(need.needed_bytes for need in _holders(instead)))
    return f"{said} · l: load in {_way(other)} ({needed} GB)"


def _way(other: Suggestion) -> str:
    return str(other.dtype if other.quantization in {None, Quantization.NONE} else other.quantization)


def _verdict_line(told: Estimate) -> Content:
    mark = fit_mark(told.verdict, ascii_only=False)
    short = [device for device in told.devices if device.left_bytes < 0]
    named = short if told.verdict is Verdict.DOES_NOT_FIT and short else _holders(told)
    where = " and ".join(_place(device.device) for device in named)
    on = f" {where}" if where and told.verdict is not Verdict.UNKNOWN else ""
    word = "It is not known whether this fits" if told.verdict is Verdict.UNKNOWN else f"{told.verdict}{on}"
    return Content.assemble((f"{mark} {word}", _STYLES[told.verdict]), f"  for {whole(told.context_tokens)} tokens")


def _needs_line(told: Estimate) -> Content:
    holders = _holders(told)
    parts = (
        ("weights", sum(device.weights_bytes for device in holders)),
        ("cache", sum(device.cache_bytes for device in holders)),
        ("working", sum(device.working_bytes for device in holders)),
        ("engine", sum(device.engine_bytes for device in holders)),
    )
    told_parts = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts if size >= _WORTH_SAYING)
    return Content(f"Needs about {gigabytes(sum(size for _, size in parts))} GB: {told_parts}")


def _passing_lines(told: Estimate) -> list[Content]:
    """What RAM is needed beside the devices that hold the weights, where that decides something."""
    beside = [device for device in told.devices if not device.holds_model and _is_noticed(device)]
    return [
        Content(f"Needs about {gigabytes(device.needed_bytes)} GB {_place(device.device)}, too") for device in beside
    ]


def _holders(told: Estimate) -> list[DeviceNeed]:
    return [device for device in told.devices if device.holds_model]


def _is_noticed(device: DeviceNeed) -> bool:
    """The engine alone is worth a word only where there is no room for it."""
    return device.working_bytes >= _WORTH_SAYING or device.left_bytes < device.needed_bytes


def _reclaimable_lines(told: Estimate) -> list[Content]:
    """Said where it matters: why more will be used than is needed."""
    reclaimable = told.peak_bytes - told.needed_bytes
    if reclaimable < max(_WORTH_SAYING, told.needed_bytes // 10):
        return []
    return [Content(f"More will show as used: {gigabytes(reclaimable)} GB of the file, until others need the room")]


def _free_line(device: DeviceNeed) -> Content:
    freed = f" + {gigabytes(device.credit_bytes)} from unloading" if device.credit_bytes else ""
    short = f", {gigabytes(-device.left_bytes)} GB short" if device.left_bytes < 0 else ""
    total = f" of {gigabytes(device.total_bytes)}" if device.total_bytes else ""
    return Content(f"Free  {gigabytes(device.free_bytes)}{total} GB {_place(device.device)}{freed}{short}")


def _place(device: str) -> str:
    return "in RAM" if device == "ram" else f"on {device}"


def _held_lines(told: Estimate, memory: MemoryReading) -> list[Content]:
    """Who else holds memory of the devices that would be used."""
    names = {device.device for device in _holders(told)}
    lines = []
    for device in memory.devices:
        held = _held(device) if device.name in names else ""
        if held:
            lines.append(Content(f"Held by others on {device.name}: {held}"))
    return lines


def _held(device: DeviceMemory) -> str:
    others = [process for process in device.processes if not process.ours]
    named = [
        f"pid {process.pid} ({clean_name(process.user, 20)}) "
        + ("?" if process.used_bytes is None else f"{gigabytes(process.used_bytes)} GB")
        for process in others[:_NAMED]
    ]
    more = [f"{len(others) - _NAMED} more"] if len(others) > _NAMED else []
    return ", ".join([*named, *more])


def _would_fit(fit: Fit, request: LoadRequest) -> str:
    """What to change, where this does not fit well; empty where it does, or where nothing would."""
    told, other = fit.estimate, fit.suggestion
    if told.verdict in {Verdict.FITS, Verdict.UNKNOWN}:
        return ""
    ways = []
    if other.longest_context is not None and other.longest_context < told.context_tokens:
        ways.append(f"{whole(other.longest_context)} tokens with these options")
    if other.dtype is not None and other.quantization is not None and _differs(other, request):
        ways.append(f"{_way(other)} for {whole(told.context_tokens)} tokens")
    if not ways:
        return "" if told.verdict is Verdict.TIGHT else "Nothing that can be chosen here would fit."
    return f"Would fit: {'; '.join(ways)}"


def _differs(other: Suggestion, request: LoadRequest) -> bool:
    return (other.dtype, other.quantization) != (request.dtype, request.quantization)
