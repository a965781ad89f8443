"""The code of a recipe's own steps: its hashes, which decide results, and the line of it that raised an error."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import linecache
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from transforms.recipe.spec import BUILT_IN, StepSpec

_OURS = ("beam_pipeline", "runners", "schemas", "transforms")
_PACKAGE = Path(__file__).parents[2]
_LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def is_own(spec: StepSpec) -> bool:
    """Whether a step is the user's: named by an import path, not by the name of one that comes with the package."""
    return spec.use not in BUILT_IN


def code_of(specs: Iterable[StepSpec]) -> dict[str, str]:
    """SHA-256 (hex) of every file that the user's steps are made of, by module name, sorted (``files_of``).

    Raises:
      ImportError: a step's module can't be imported.
    """
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files_of(specs).items()}


def files_of(specs: Iterable[StepSpec]) -> dict[str, Path]:
    """Every file that the user's steps are made of, by module name, sorted.

    These are the file of a step's module, and the files that it imports from the folder in which its top-level package
    or module lies, and those that they import. Of an installed package only its own files count.

    Raises:
      ImportError: a step's module can't be imported.
    """
    found: dict[str, Path] = {}
    for spec in specs:
        if is_own(spec):
            name = spec.use.partition(":")[0]
            file = getattr(importlib.import_module(name), "__file__", None)
            if file:
                _add(name, Path(file), found)
    return dict(sorted(found.items()))


def files_unimported(specs: Iterable[StepSpec]) -> set[Path]:
    """The files of ``files_of``, as far as they are found without an import: those that can't be imported, too."""
    found: dict[str, Path] = {}
    for name in {spec.use.partition(":")[0] for spec in specs if is_own(spec)}:
        try:
            top = importlib.util.find_spec(name.partition(".")[0])
        except (ImportError, ValueError):
            continue
        places = [] if top is None else [*(top.submodule_search_locations or [top.origin or ""])]
        for place in places:
            file = _file_of(Path(place).parent, name)
            if file is not None:
                _add(name, file, found)
    return set(found.values())


def _add(name: str, file: Path, found: dict[str, Path]) -> None:
    """Adds a module and what it imports from beside its top-level package."""
    is_package = file.stem == "__init__"
    root = file.parents[name.count(".") + is_package]
    installed = any(root == library for library in _LIBRARIES)
    waiting = [(name, file)]
    while waiting:
        name, file = waiting.pop()
        if name in found:
            continue
        found[name] = file
        if file.suffix != ".py":
            continue  # compiled: what it imports can't be seen
        for imported in _imports(file.read_bytes(), name, file.stem == "__init__"):
            top = imported.partition(".")[0]
            if top in _OURS or (installed and top != name.partition(".")[0]):
                continue
            if (place := _file_of(root, imported)) is not None:
                waiting.append((imported, place))


def _imports(source: bytes, name: str, is_package: bool) -> Iterator[str]:
    """Names of modules that may be imported by a source; some are names within modules instead."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            modules = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1) if parts[0])


def _file_of(root: Path, module: str) -> Path | None:
    place = root.joinpath(*module.split("."))
    candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def place_of(error: BaseException, function: Any = None) -> str:
    """The line of the user's code at which an error was raised, in words; else where the function is defined.

    Example:
      ``my_steps.py, line 12, in keep: return len(txt) > 3``
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if not _is_library(file):
            return f"{_short(file)}, line {frame.lineno}, in {frame.name}: {(frame.line or '').strip()}"
    code = inspect.unwrap(getattr(function, "function", function)) if function is not None else None
    code = code if inspect.isroutine(code) or inspect.isclass(code) else type(code)
    try:
        written, line = inspect.getsourcefile(code), inspect.getsourcelines(code)[1]
    except (OSError, TypeError):
        return ""
    if written is None or _is_library(Path(written)):
        return ""
    while linecache.getline(written, line).lstrip().startswith("@"):
        line += 1
    return f"{_short(Path(written))}, line {line}: {linecache.getline(written, line).strip()}"


def _is_library(file: Path) -> bool:
    """Whether a file is ours, or of Python or an installed package."""
    if not file.is_absolute():  # <string>, <frozen importlib>
        return True
    ours = file.is_relative_to(_PACKAGE) and file.relative_to(_PACKAGE).parts[0] in _OURS
    return ours or any(file.is_relative_to(library) for library in _LIBRARIES)


def _short(file: Path) -> Path:
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file
