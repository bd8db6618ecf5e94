"""What crosses from the process that ran the learner's code to the one that judges: data only.

One message is one safetensors file. Its tensors are named ``t0``, ``t1``, ...; its metadata has one
entry, ``roofline``, JSON text of ``{"protocol": 1, "exercise": id, "value": value}``. In a value

- ``null``, booleans, strings, integers of 64 bits and finite numbers stand for themselves, and a
  JSON list is a list;
- everything else is an object with one key: ``{"tuple": [...]}``,
  ``{"dict": [[key, value], ...]}``, ``{"number": "nan" | "inf" | "-inf"}``,
  ``{"tensor": "t0", "device": "cuda:0"}`` (and where it came from),
  ``{"complex": "t0", "device": ...}`` (real and imaginary parts in the last dimension),
  ``{"meta": [shape, dtype]}`` (a tensor without data), ``{"strange": "a generator"}`` (something
  that isn't data), ``{"call": {...}}`` and ``{"outcome": {...}}`` (the fields of
  :class:`~roofline.grading.calling.Call` and :class:`Outcome`).

Nothing is ever unpickled or looked up by name. A message is refused, with a reason, if it is too
large, too deep, not of this form, or has a key too many or too few.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any

import safetensors
import safetensors.torch
import torch

from roofline.grading.calling import RAISED, Call
from roofline.grading.values import Strange, describe

VERSION = 1
MAX_BYTES = 32 * 2**20
MAX_JSON = 4 * 2**20
MAX_VALUES = 20_000
MAX_DEPTH = 24
MAX_TEXT = 20_000

_DTYPES = {
    str(d).removeprefix("torch."): d
    for d in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
    )
}


class Refused(ValueError):
    """A message that is not of this protocol's form. The text says why, in one line."""


@dataclass
class Outcome:
    """What a probe hands in.

    ``fault`` is a sentence if the probe as a whole came to nothing, else empty; ``broken`` is true
    if that is the exercise's fault. ``blank`` is true if nothing was attempted. ``forbidden`` lists
    the forbidden calls that were seen, ``notes`` what was printed and warned.
    """

    outputs: Any = None
    fault: str = ""
    broken: bool = False
    blank: bool = False
    forbidden: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


_FIELDS = {kind: {f.name for f in dataclasses.fields(kind)} for kind in (Call, Outcome)}


def pack(exercise: str, value: Any) -> bytes:
    """One message. Raises :class:`Refused` if the value is too large for one."""
    writer = _Writer()
    body = {"protocol": VERSION, "exercise": exercise, "value": writer.encode(value)}
    text = json.dumps(body, allow_nan=False)
    if len(text) > MAX_JSON:
        raise Refused(f"the outputs have {len(text):,} characters of text, at most {MAX_JSON:,}")
    return safetensors.torch.save(writer.tensors, {"roofline": text})


def unpack(message: bytes, exercise: str) -> Any:
    """The value in a message about ``exercise``. Raises :class:`Refused`."""
    if len(message) > MAX_BYTES + MAX_JSON + 2**20:
        raise Refused(f"the message has {len(message):,} bytes, at most {MAX_BYTES:,}")
    try:
        tensors = safetensors.torch.load(message)
        header = json.loads(message[8 : 8 + int.from_bytes(message[:8], "little")])
        text = header["__metadata__"]["roofline"]
        body = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant)
    except Refused:
        raise
    except RecursionError:
        raise Refused("the message is nested too deeply") from None
    except Exception as error:  # every way in which bytes can fail to be a message
        raise Refused(f"not a message of this protocol: {type(error).__name__}") from None
    if not isinstance(body, dict) or set(body) != {"protocol", "exercise", "value"}:
        raise Refused("the message does not have the keys protocol, exercise and value")
    if body["protocol"] != VERSION:
        raise Refused(f"protocol {str(body['protocol'])[:20]}, expected {VERSION}")
    if body["exercise"] != exercise:
        raise Refused(f"outputs of {str(body['exercise'])[:80]!r}, expected {exercise!r}")
    return _Reader(tensors).decode(body["value"])


class _Writer:
    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.bytes = 0
        self.values = 0

    def encode(self, value: Any, depth: int = 0) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            raise Refused(f"the outputs have more than {MAX_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise Refused(
                f"the outputs are nested more than {MAX_DEPTH} deep, or contain themselves"
            )
        if value is None or value is True or value is False:
            return value
        if isinstance(value, Call):
            return {"call": self._call(value, depth)}
        if isinstance(value, Outcome):
            return {"outcome": self._fields(value, depth)}
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, str):
            return str.__str__(value)[:MAX_TEXT].encode("utf-8", "replace").decode()
        if isinstance(value, int):
            value = int.__int__(value)
            return value if -(2**63) <= value < 2**63 else {"strange": "an int beyond 64 bits"}
        if isinstance(value, float):
            value = float.__float__(value)
            return value if math.isfinite(value) else {"number": str(value)}
        if type(value) is list:
            return [self.encode(v, depth + 1) for v in value]
        if isinstance(value, tuple):
            return {"tuple": [self.encode(v, depth + 1) for v in tuple.__iter__(value)]}
        if type(value) is dict and all(isinstance(k, (str, int)) for k in value):
            return {"dict": [[self.encode(k), self.encode(v, depth + 1)] for k, v in value.items()]}
        return {"strange": describe(value)[:100]}

    def _fields(self, value: Any, depth: int) -> dict[str, Any]:
        names = _FIELDS[type(value)]
        return {name: self.encode(getattr(value, name), depth + 1) for name in sorted(names)}

    def _call(self, call: Call, depth: int) -> dict[str, Any]:
        """A call whose value is too large is a call that failed; the others still count."""
        before = dict(self.tensors), self.bytes, self.values
        try:
            return self._fields(call, depth)
        except Refused as error:
            self.tensors, self.bytes, self.values = before
            fault = f"returned too much: {error}"
            return self._fields(
                dataclasses.replace(call, status=RAISED, value=None, fault=fault), depth
            )

    def _tensor(self, tensor: torch.Tensor) -> dict[str, Any]:
        if tensor.device.type == "meta":
            return {"meta": [list(tensor.shape), str(tensor.dtype).removeprefix("torch.")]}
        if tensor.is_quantized:
            return {"strange": "a quantized tensor"}
        if tensor.layout != torch.strided:
            return {"strange": f"a {str(tensor.layout).removeprefix('torch.')} tensor"}
        self.bytes += tensor.numel() * tensor.element_size()
        if self.bytes > MAX_BYTES:
            raise Refused(f"the outputs have more than {MAX_BYTES // 2**20} MB of tensors")
        kind = "tensor"
        device = str(tensor.device)
        tensor = tensor.detach().to("cpu").resolve_conj().resolve_neg()
        if tensor.is_complex():
            kind, tensor = "complex", torch.view_as_real(tensor)
        if tensor.dtype not in _DTYPES.values():
            return {"strange": f"a tensor of dtype {str(tensor.dtype).removeprefix('torch.')}"}
        name = f"t{len(self.tensors)}"
        # A copy: safetensors refuses tensors that share memory.
        self.tensors[name] = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)
        return {kind: name, "device": device}


class _Reader:
    def __init__(self, tensors: dict[str, torch.Tensor]):
        self.tensors = tensors
        self.values = 0

    def decode(self, value: Any, depth: int = 0) -> Any:
        self.values += 1
        # A call's own fields count as values here, so the reader's limits are wider.
        if self.values > 4 * MAX_VALUES or depth > 2 * MAX_DEPTH:
            raise Refused("the message has too many values, or is nested too deeply")
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, float):
            if not math.isfinite(value):  # 1e999, say
                raise Refused("a number that is too large")
            return value
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise Refused("an integer of more than 64 bits")
            return value
        if isinstance(value, list):
            return [self.decode(v, depth + 1) for v in value]
        keys = set(value)
        if keys == {"tuple"} and isinstance(value["tuple"], list):
            return tuple(self.decode(v, depth + 1) for v in value["tuple"])
        if keys == {"dict"} and isinstance(value["dict"], list):
            return self._dict(value["dict"], depth)
        if keys == {"number"} and value["number"] in ("nan", "inf", "-inf"):
            return float(value["number"])
        if keys == {"strange"} and isinstance(value["strange"], str):
            return Strange(value["strange"][:100])
        if keys in ({"tensor", "device"}, {"complex", "device"}):
            return self._tensor(value)
        if keys == {"meta"}:
            return self._meta(value["meta"])
        if keys == {"call"}:
            return self._fields(Call, value["call"], depth)
        if keys == {"outcome"}:
            return self._fields(Outcome, value["outcome"], depth)
        raise Refused(f"an object with the keys {sorted(map(str, keys))[:4]}")

    def _dict(self, pairs: list, depth: int) -> dict:
        result: dict[Any, Any] = {}
        for pair in pairs:
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], (str, int))):
                raise Refused("a dict that is not a list of keys and values")
            if pair[0] in result:
                raise Refused("a dict with a key twice")
            result[pair[0]] = self.decode(pair[1], depth + 1)
        return result

    def _tensor(self, value: dict[str, Any]) -> torch.Tensor:
        name = value.get("tensor", value.get("complex"))
        device = value["device"]
        if not isinstance(name, str) or name not in self.tensors or not isinstance(device, str):
            raise Refused("a tensor that is not in the message")
        tensor = self.tensors[name]
        if tensor.dtype not in _DTYPES.values():
            raise Refused(f"a tensor of dtype {tensor.dtype}")
        if "complex" in value:
            if not tensor.is_floating_point() or tensor.shape[-1:] != (2,):
                raise Refused("a complex tensor that is not pairs of numbers")
            tensor = torch.view_as_complex(tensor.contiguous())
        if device != "cpu":
            tensor.came_from = device[:20]  # type: ignore[attr-defined]
        return tensor

    def _meta(self, value: Any) -> torch.Tensor:
        try:
            shape, dtype = value
            return torch.empty([int(n) for n in shape], dtype=_DTYPES[dtype], device="meta")
        except Exception:
            raise Refused("a meta tensor without a shape and a dtype") from None

    def _fields(self, kind: type[Call] | type[Outcome], value: Any, depth: int) -> Any:
        if not isinstance(value, dict) or set(value) != _FIELDS[kind]:
            raise Refused(f"{_a(kind)} with other fields than expected")
        fields = {name: self.decode(v, depth + 1) for name, v in value.items()}
        blank = kind()
        for name, v in fields.items():
            default = getattr(blank, name)
            if name not in ("value", "outputs") and type(v) is not type(default):
                raise Refused(f"{_a(kind)} whose {name} is {describe(v)}")
            inner = int if name == "counts" else str
            if isinstance(default, (list, dict)):
                inside = v.values() if isinstance(v, dict) else v
                if not all(type(x) is inner for x in inside):
                    raise Refused(f"{_a(kind)} whose {name} is not plain")
        return kind(**fields)


def _a(kind: type[Call] | type[Outcome]) -> str:
    return "a call" if kind is Call else "an outcome"


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Refused("an object with a key twice")
    return result


def _no_constant(name: str) -> Any:
    raise Refused(f"the number {name}")
