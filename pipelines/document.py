"""YAML read with the place of every key, so that an error can say file and line.

YAML 1.2's core words for numbers and truth are used, not YAML 1.1's: `1e-4` is a number, `no` and `on` are text.
Nothing in a document is executed: only the safe loader's plain types exist.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modelmill.errors import UserError, without_credentials

Key = tuple[str | int, ...]
"""The way to a value: keys of mappings and positions in lists."""
_QUERY = re.compile(r"(https?://[^\s?'\",}\]]*)\?[^\s'\",}\]]*")


@dataclass(frozen=True)
class Place:
    """Where a value was said: a file and a line, or an override on the command line."""

    file: str
    line: int | None
    folder: Path
    """What a relative path at this place counts from."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line is not None else self.file


@dataclass
class Document:
    """Plain data, and the place of every key in it."""

    data: dict[str, Any]
    places: dict[Key, Place] = field(default_factory=dict)

    def place(self, key: Key) -> Place:
        """Return the place of a key, or of the nearest thing around it that was said somewhere."""
        while key and key not in self.places:
            key = key[:-1]
        return self.places[key]


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's scalars."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML reads the class attribute
        first: [
            (tag, pattern) for tag, pattern in resolvers if tag in {"tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"}
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    # YAML 1.1 would read 010 as eight.
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def read(path: Path) -> Document:
    """Read one YAML file and every file that it extends, the nearest one winning key by key.

    Raises:
        UserError: a file does not exist, is not YAML, says a key twice, or the files extend each other in a circle.
    """
    return _read(path, ())


def parse_value(text: str) -> Any:
    """Return the value that a text says in YAML: a number, a truth value, a list, or the text itself."""
    return yaml.load(text, _Loader)  # noqa: S506 - a subclass of the safe loader


def override(document: Document, setting: str) -> None:
    """Apply one `a.b=c` from the command line.

    Raises:
        UserError: there is no `=`, the value is not YAML, or the key leads through what is no mapping or list.
    """
    name, mark, text = setting.partition("=")
    said = _repeated(setting)
    if not mark or not name.strip():
        raise UserError(f"--set {said}: wants KEY=VALUE, as in --set finetune.lr=1e-4")
    try:
        value = parse_value(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {said}: the value is not YAML: {_repeated(str(error))}") from None
    key: Key = tuple(int(part) if part.isdigit() else part for part in name.strip().split("."))
    _put(document.data, key, value, said)
    _forget(document.places, key)
    place = Place(file=f"--set {said}", line=None, folder=Path.cwd())
    document.places[key] = place


def _repeated(text: str) -> str:
    """Return what a person typed as a message may repeat it: no password in a URI, no query, which may hold a key."""
    return _QUERY.sub(r"\1?…", without_credentials(text))


def _put(data: Any, key: Key, value: Any, setting: str) -> None:
    for position, part in enumerate(key):
        last = position == len(key) - 1
        if isinstance(data, list):
            if not isinstance(part, int) or part >= len(data):
                way = ".".join(map(str, key[:position]))
                raise UserError(f"--set {setting}: {way} is a list of {len(data)}; {part!r} is not a position in it")
        elif not isinstance(data, dict):
            raise UserError(f"--set {setting}: {'.'.join(map(str, key[:position]))} is a single value, it has no keys")
        if last:
            data[part] = value
        elif isinstance(data, dict) and data.get(part) is None:
            data[part] = {}
        data = data[part]


def _read(path: Path, above: tuple[Path, ...]) -> Document:
    path = path.resolve()
    if path in above:
        circle = " -> ".join(one.name for one in (*above, path))
        raise UserError(f"{path.name}: extends itself: {circle}")
    document = _compose(path)
    base = document.data.pop("extends", None)
    if base is None:
        return document
    if not isinstance(base, str):
        raise UserError(f"{document.place(('extends',))}: extends: wants the path of a file, got {base!r}")
    target = path.parent / base
    if not target.is_file():
        raise UserError(f"{document.place(('extends',))}: extends: there is no file {target}")
    merged = _read(target, (*above, path))
    # The whole is named by the file that the person gave.
    merged.places[()] = document.places[()]
    _merge(merged, document, ())
    return merged


def _compose(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    shown = _shown(path)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        places: dict[Key, Place] = {(): Place(shown, 1, path.parent)}
        if node is None:
            raise UserError(
                f"{shown}: the file is empty; `modelmill init` writes a recipe, pipelines/profiles has profiles to copy"
            )
        _find_places(node, (), shown, path.parent, places)
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"{shown}{line}: not YAML: {error.problem or error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{shown}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{shown}:1: wants keys, each with a value, this is {type(data).__name__}")
    return Document(data=data, places=places)


def _shown(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _find_places(node: yaml.Node, key: Key, shown: str, folder: Path, places: dict[Key, Place]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name_node, value in node.value:
            name = str(name_node.value)
            line = name_node.start_mark.line + 1
            if name in seen and name != "<<":
                way = ".".join(map(str, (*key, name)))
                raise UserError(f"{shown}:{line}: {way}: said twice; it stands on line {seen[name]} already")
            seen[name] = line
            places[(*key, name)] = Place(shown, line, folder)
            _find_places(value, (*key, name), shown, folder, places)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            places[(*key, position)] = Place(shown, item.start_mark.line + 1, folder)
            _find_places(item, (*key, position), shown, folder, places)


def _merge(base: Document, over: Document, key: Key) -> None:
    theirs, ours = _at(base.data, key), _at(over.data, key)
    for name, value in ours.items():
        way = (*key, name)
        if isinstance(value, Mapping) and isinstance(theirs.get(name), Mapping):
            base.places[way] = over.places[way]
            _merge(base, over, way)
            continue
        theirs[name] = value
        _forget(base.places, way)
        base.places.update({at: place for at, place in over.places.items() if at[: len(way)] == way})


def _forget(places: dict[Key, Place], key: Key) -> None:
    for at in [at for at in places if at[: len(key)] == key]:
        del places[at]


def _at(data: Any, key: Key) -> Any:
    for part in key:
        data = data[part]
    return data
