"""A seeded sample of the mutants of all files."""

from __future__ import annotations

import ast
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutants.covers import mutable_files
from tests.mutants.mutant import Mutant, difference

Place = tuple[tuple[int, int], tuple[int, int]]
_NEED_ARGUMENTS = ("VariableReplacer", "VariableInserter")
_CORE_WEIGHT = 2.0
"""How much likelier a line of the core is to be chosen than one of a domain: both stand on it."""


def sample(root: Path, count: int, seed: int) -> list[Mutant]:
    """`count` mutants: a line, a place in it, and one of its changes there.

    A line's lot is drawn from the seed, its file and its text alone: a change elsewhere does not move the sample.
    """
    texts = {file: (root / file).read_text() for file in mutable_files(root)}
    lots: list[tuple[float, str, int]] = []
    for file, text in texts.items():
        weight = _CORE_WEIGHT if file.startswith("shared/") else 1.0
        seen: Counter[str] = Counter()
        for number, line in enumerate(text.splitlines(), 1):
            seen[line.strip()] += 1
            drawn = random.Random(f"{seed} {file} {line.strip()} {seen[line.strip()]}").random()
            lots.append((drawn ** (1 / weight), file, number))
    found: dict[tuple[str, str, str], Mutant] = {}
    places: dict[str, dict[Place, list[tuple[list[str], int]]]] = {}
    for drawn, file, number in sorted(lots, reverse=True):
        if len(found) == count:
            break
        if file not in places:
            places[file] = _places(texts[file])
        own = sorted(place for place in places[file] if place[0][0] == number)
        if not own:
            continue
        rng = random.Random(drawn)
        operators, occurrence = rng.choice(places[file][rng.choice(own)])
        try:
            mutated = mutate_code(texts[file], get_operator(rng.choice(operators))(), occurrence)
        except AttributeError:  # Cosmic Ray's on `except a.b:` with more than one such name
            continue
        made = None if mutated is None else difference(file, texts[file], mutated)
        if made is not None:
            found.setdefault(made.key, made)
    return list(found.values())


def _places(text: str) -> dict[Place, list[tuple[list[str], int]]]:
    """Where a text can be changed → operators that do the same there but for the outcome, and which of theirs it is."""
    nodes = list(ast_nodes(get_ast(text)))
    unread = list(_unread(ast.parse(text)))
    found: dict[Place, list[tuple[list[str], int]]] = defaultdict(list)
    for operators in _alike():
        occurrence = 0
        operator = get_operator(operators[0])()
        for node in nodes:
            for place in operator.mutation_positions(node):
                if not any(start <= place[0] < stop for start, stop in unread):
                    found[place].append((operators, occurrence))
                occurrence += 1
    return found


def _alike() -> Iterator[list[str]]:
    """Names of operators, those together that apply at the same places."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(operator_names()):
        if not name.endswith(_NEED_ARGUMENTS) and "NoOp" not in name:
            groups[name if "_Delete_" in name or "_" not in name else name.rsplit("_", 1)[0]].append(name)
    yield from groups.values()


def _unread(tree: ast.Module) -> Iterator[Place]:
    """Spans of annotations, which nothing evaluates, and of `__all__`."""
    for node in ast.walk(tree):
        annotations = [getattr(node, name, None) for name in ("annotation", "returns")]
        for found in annotations:
            if isinstance(found, ast.expr) and found.end_lineno is not None and found.end_col_offset is not None:
                yield (found.lineno, found.col_offset), (found.end_lineno, found.end_col_offset)
