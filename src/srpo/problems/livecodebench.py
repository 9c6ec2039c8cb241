"""LiveCodeBench's public and private tests -> cases. No torch, and nothing is unpickled.

The benchmark ships its private tests as base64 of zlib of a pickled JSON text. A pickle is a
program; of this one only the opcodes of a lone text are accepted, and they are read, not run.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickletools
import zlib
from collections.abc import Mapping
from typing import Any

from srpo.problems.row_words import BadRowError, kind_of
from srpo.types import CodeCase, FunctionCase, StdioCase

FIELDS = ("public_test_cases", "private_test_cases", "metadata")
MAX_UNPACKED_BYTES = 256 << 20
_TEXT_OPCODES = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE")
_OTHER_OPCODES = ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP")


def livecodebench_cases(row: Mapping[str, Any]) -> tuple[CodeCase, ...]:
    """The cases of a row's `public_test_cases` and `private_test_cases`, public ones first.

    Functional tests call the function that `metadata` names; each line of their input is an
    argument as JSON. Raises BadRowError.

    >>> row = {"public_test_cases": '[{"input": "1", "output": "1", "testtype": "stdin"}]'}
    >>> livecodebench_cases(row)
    (StdioCase(stdin='1', stdout='1', checker='lines'),)
    """
    function = _function_name(row.get("metadata"))
    cases: list[CodeCase] = []
    for field in FIELDS[:2]:
        for number, test in enumerate(_tests(row.get(field), field), start=1):
            cases.append(_case(test, function, f"{field}, test {number}"))
    return tuple(cases)


def unpack_private(text: str) -> str:
    """The JSON text inside base64, zlib and a pickle. Raises BadRowError for anything else."""
    try:
        packed = base64.b64decode(text, validate=True)
        inflate = zlib.decompressobj()
        pickled = inflate.decompress(packed, MAX_UNPACKED_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise BadRowError(f"field 'private_test_cases' cannot be unpacked ({error})") from error
    if inflate.unconsumed_tail or not inflate.eof:
        size = f"{MAX_UNPACKED_BYTES >> 20} MiB"
        raise BadRowError(f"field 'private_test_cases' is cut short, or over {size} unpacked")
    return _pickled_text(pickled)


def _pickled_text(pickled: bytes) -> str:
    """The one text that a pickle holds."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(pickled)):
            if opcode.name in _TEXT_OPCODES:
                texts.append(str(argument))
            elif opcode.name not in _OTHER_OPCODES:
                raise BadRowError(
                    f"field 'private_test_cases' holds a pickle with {opcode.name}, which is more "
                    "than a text; it is not opened"
                )
    except (ValueError, IndexError) as error:
        raise BadRowError(f"field 'private_test_cases' holds no pickle ({error})") from error
    if len(texts) != 1:
        raise BadRowError(f"field 'private_test_cases' holds {len(texts)} texts, not one")
    return texts[0]


def _tests(value: object, field: str) -> list[Any]:
    if value is None or value == "":
        return []
    if isinstance(value, str):
        text = value if value.lstrip()[:1] == "[" else unpack_private(value)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"field {field!r} is not JSON ({str(error)[:100]})") from error
    if not isinstance(value, list):
        raise BadRowError(f"field {field!r} is {kind_of(value)}; it must be a list of tests")
    return value


def _function_name(metadata: object) -> str:
    if isinstance(metadata, str) and metadata.strip():
        try:
            metadata = json.loads(metadata)
        except (ValueError, RecursionError) as error:
            raise BadRowError(f"field 'metadata' is not JSON ({str(error)[:100]})") from error
    if not isinstance(metadata, Mapping):
        return ""
    name = metadata.get("func_name")
    return name if isinstance(name, str) else ""


def _case(test: object, function: str, place: str) -> CodeCase:
    if not isinstance(test, Mapping):
        raise BadRowError(f"{place} is {kind_of(test)}; it must be a JSON object")
    given, expected = test.get("input"), test.get("output")
    if not (isinstance(given, str) and isinstance(expected, str)):
        raise BadRowError(f"{place} needs both input and output, as texts")
    if test.get("testtype", "stdin") == "stdin":
        return StdioCase(given, expected)
    if test.get("testtype") != "functional":
        raise BadRowError(f"{place} is neither of type stdin nor functional")
    if not function.isidentifier():
        raise BadRowError(f"{place} is a call, and 'metadata' names no function as func_name")
    try:
        args = [json.loads(line) for line in given.split("\n") if line.strip()]
        return FunctionCase(function, tuple(args), json.loads(expected))
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"{place}: its values are not JSON ({str(error)[:100]})") from error
