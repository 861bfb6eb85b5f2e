"""The types of the browser's client: what the server and its clients say, in TypeScript, below a line of daysheet.d.ts.

They are made from the same structs that the server encodes and decodes, by way of their JSON Schema, so they cannot
say anything else. What stands above the line, the module's own functions, is written by hand and left alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from gateway.live import messages, protocol
from projections import shapes

FILE: Final = Path(__file__).parents[1] / "gateway" / "web" / "daysheet.d.ts"
LINE: Final = "// --- from here on made by scripts/types: what goes over the wire\n"
SHOWN: Final = (shapes.Day, shapes.DoctorDay, shapes.PublicDay, shapes.PublicDoctorDay)
CHANGES: Final = (shapes.DayChange, shapes.PublicDayChange)
RENAMED: Final = {"Error": "ErrorMessage"}  # TypeScript has an Error already
WIDTH: Final = 120


class Data(msgspec.Struct):
    """Stands for the type parameter of a generic message."""


def main() -> None:
    text = FILE.read_text(encoding="utf-8")
    FILE.write_text(with_types(text), encoding="utf-8")
    sys.stdout.write(f"{FILE.name} is made anew\n")


def with_types(text: str) -> str:
    """The file's text with what is below the line made anew."""
    by_hand, line, _ = text.partition(LINE)
    assert line, f"{FILE.name} has lost its line"
    return by_hand + line + types()


def types() -> str:
    said, asked = tagged(messages), tagged(protocol)
    parameters = [each[Data] if _is_generic(each) else each for each in said]  # type: ignore[index]
    _, schemas = msgspec.json.schema_components([*SHOWN, *CHANGES, *parameters, *asked], ref_template="{name}")
    unions = [
        _union("Shown", "What a subscription shows.", (each.__name__ for each in SHOWN)),
        _union("Change", "What a delta carries.", (each.__name__ for each in CHANGES)),
        _union("ServerMessage", "All that the server says.", map(_filled, said)),
        _union("ClientMessage", "All that a client says.", (_name(each.__name__) for each in asked)),
    ]
    interfaces = [_interface(name, schemas[name]) for name in sorted(schemas) if name != Data.__name__]
    return "".join(f"\n{each}" for each in [*unions, *interfaces])


def tagged(module: ModuleType) -> list[type[msgspec.Struct]]:
    """The module's messages: its structs that name themselves on the wire."""
    return [
        each
        for each in vars(module).values()
        if inspect.isclass(each)
        and issubclass(each, msgspec.Struct)
        and each.__module__ == module.__name__
        and each.__struct_config__.tag is not None
    ]


def _is_generic(message: type[msgspec.Struct]) -> bool:
    return bool(getattr(message, "__parameters__", ()))


def _filled(message: type[msgspec.Struct]) -> str:
    parameter = "Change" if message is messages.Delta else "Shown"
    return f"{message.__name__}<{parameter}>" if _is_generic(message) else _name(message.__name__)


def _name(schema_name: str) -> str:
    """`Snapshot_Data_` is how JSON Schema writes Snapshot[Data]."""
    generic = schema_name.removesuffix(f"_{Data.__name__}_")
    return f"{generic}<{Data.__name__}>" if generic != schema_name else RENAMED.get(schema_name, schema_name)


def _union(name: str, says: str, members: Iterable[str]) -> str:
    return f"/** {says} */\nexport type {name} =\n" + "\n".join(f"  | {each}" for each in members) + ";\n"


def _interface(name: str, schema: dict[str, Any]) -> str:
    required = schema["required"]
    fields = [
        f"  {key}{'' if key in required else '?'}: {_type(value)};\n" for key, value in schema["properties"].items()
    ]
    return f"{_comment(schema.get('description'))}export interface {_name(name)} {{\n{''.join(fields)}}}\n"


def _comment(docstring: str | None) -> str:
    if docstring is None:
        return ""
    lines = inspect.cleandoc(docstring).splitlines()
    if len(lines) == 1 and len(lines[0]) + len("/**  */") <= WIDTH:
        return f"/** {lines[0]} */\n"
    return "".join(["/**\n", *(f" * {line}".rstrip() + "\n" for line in lines), " */\n"])


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"$ref": name}:
            return _name(name)
        case {"enum": values}:
            return " | ".join(f"'{value}'" for value in values)
        case {"anyOf": choices}:
            return " | ".join(dict.fromkeys(map(_type, choices)))
        case {"type": "array", "items": items}:
            item = _type(items)
            return f"({item})[]" if " " in item else f"{item}[]"
        case {"type": "object", "additionalProperties": values}:
            return f"Record<string, {_type(values)}>"
        case {"type": "integer" | "number"}:
            return "number"
        case {"type": "string" | "boolean" | "null" as simple}:
            return str(simple)
    raise NotImplementedError(f"no TypeScript for {schema}")


if __name__ == "__main__":
    main()
