"""The public names of the three packages, read from their source: what the reference lists, and the tests count.

Public are the classes and functions of every module, and the constants that a package offers from its own modules, that
`shared` has, or that have a docstring; without an underscore before them. A name belongs to the package that offers it;
where none does, to the module that defines it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("tsdiff", "speech", "shared")
LEFT_OUT = ("commands", "__main__")
"""The programs, whose reference is their --help."""

Kind = Literal["class", "function", "data"]
Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


@dataclass(frozen=True)
class Module:
    """A module's source.

    Attributes:
        name: with dots.
        path: of its file.
    """

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__` of a folder."""
        return self.path.name == "__init__.py"

    @cached_property
    def tree(self) -> ast.Module:
        """What Python reads there."""
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @cached_property
    def defined(self) -> dict[str, Definition]:
        """Definitions of public names, by name; of several the last."""
        found: dict[str, Definition] = {}
        for node in self.tree.body:
            for name in [] if _is_type_variable(node) else _bound(node):
                if not name.startswith("_"):
                    found[name] = node  # type: ignore[assignment]
        return found

    @cached_property
    def offered(self) -> dict[str, str]:
        """Names that a package imports to offer them, with the modules that they come from."""
        if not self.is_package:
            return {}
        return {
            alias.asname or alias.name: node.module or ""
            for node, lazily in _imports(self.tree)
            for alias in node.names
            if lazily or (node.module or "").startswith(f"{self.name}.")
            if not alias.name.startswith("_")
        }


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [
        part.id
        for target in targets
        for part in (target.elts if isinstance(target, ast.Tuple) else [target])
        if isinstance(part, ast.Name)
    ]


def _is_type_variable(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and "TypeVar" in ast.dump(node.value.func)


def _imports(tree: ast.Module) -> Iterator[tuple[ast.ImportFrom, bool]]:
    """Imports at the top of a package, and whether they stand for names that are loaded on first use."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield node, False
        elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            loaded = any(isinstance(part, ast.ImportFrom) and part.module == "shared.lazy" for part in node.orelse)
            for part in node.body:
                if isinstance(part, ast.ImportFrom):
                    yield part, loaded


@dataclass(frozen=True)
class Name:
    """A public name.

    Attributes:
        home: the module under which it is documented.
        name: in that module.
        source: the module that defines it.
        node: its definition there.
    """

    home: str
    name: str
    source: Module
    node: Definition

    @property
    def path(self) -> str:
        """How it is imported."""
        return f"{self.home}.{self.name}"

    @property
    def kind(self) -> Kind:
        """What it is."""
        if isinstance(self.node, ast.ClassDef):
            return "class"
        return "function" if isinstance(self.node, ast.FunctionDef) else "data"

    @property
    def text(self) -> str:
        """The docstring in its definition, or behind it; empty where there is none."""
        if isinstance(self.node, ast.ClassDef | ast.FunctionDef):
            return ast.get_docstring(self.node) or ""
        after = self.source.tree.body[self.source.tree.body.index(self.node) + 1 :]
        found = after[0].value if after and isinstance(after[0], ast.Expr) else None
        return inspect.cleandoc(found.value) if isinstance(found, ast.Constant) and isinstance(found.value, str) else ""

    def members(self) -> dict[str, bool]:
        """The public methods of a class by their paths, and whether each has a docstring of its own or a base's."""
        if not isinstance(self.node, ast.ClassDef):
            return {}
        return {f"{self.path}.{name}": _explained(self.node, name) for name in _methods(self.node)}

    def undocumented(self) -> list[str]:
        """It and its methods, as far as nothing says what they are."""
        itself = [] if self.text else [self.path]
        return itself + [path for path, explained in self.members().items() if not explained]


def _methods(node: ast.ClassDef) -> dict[str, ast.FunctionDef]:
    return {
        part.name: part for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
    }


def _explained(node: ast.ClassDef, method: str) -> bool:
    """Whether the method has a docstring, here or in a base; bases from other packages are taken to have one."""
    own = _methods(node)
    if method in own and ast.get_docstring(own[method]):
        return True
    bases = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    names = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in bases]
    return any(name not in _classes() or _explained(_classes()[name], method) for name in names)


@cache
def _classes() -> dict[str, ast.ClassDef]:
    """Classes of all modules, by their bare names."""
    return {
        node.name: node for module in modules().values() for node in module.tree.body if isinstance(node, ast.ClassDef)
    }


@cache
def modules() -> dict[str, Module]:
    """All modules by name, packages before what is in them."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if not any(part in LEFT_OUT for part in parts):
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = Module(name, path)
    return dict(sorted(found.items(), key=lambda item: (PACKAGES.index(item[0].split(".")[0]), item[0])))


def _origin(module: str, name: str) -> tuple[Module, Definition] | None:
    """Where a name that a package offers is defined."""
    found = modules().get(module)
    if found is None:
        return None
    if name in found.defined:
        return found, found.defined[name]
    return _origin(found.offered[name], name) if name in found.offered else None


@cache
def public_names() -> tuple[Name, ...]:
    """Every public name once, under the shortest module that has it."""
    taken: set[tuple[str, str]] = set()
    found = []
    for module in sorted(modules().values(), key=lambda one: one.name.count(".")):
        sources = {**module.offered, **dict.fromkeys(module.defined, module.name)}
        for name, source in sources.items():
            origin = _origin(source, name)
            if origin is not None and (origin[0].name, name) not in taken:
                taken.add((origin[0].name, name))
                found.append(Name(module.name, name, *origin))
    return tuple(name for name in found if _is_public(name))


def _is_public(name: Name) -> bool:
    return name.kind != "data" or name.home != name.source.name or name.home.startswith("shared") or bool(name.text)
