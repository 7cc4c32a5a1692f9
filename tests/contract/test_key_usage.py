"""spec/key-usage.md names every label that the code uses, where it uses it, and no other; its numbers are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from hermetic.audit.log import LEAVES
from hermetic.crypto.floe import FloeParameters
from hermetic.db import layout, tables
from hermetic.db.columns import REVISION_LIMIT
from hermetic.domain import backup
from hermetic.formats.manifest import MAX_OBJECTS
from hermetic.keys.derived import LABELS
from hermetic.keys.limits import KEK_WRAP_LIMIT, KEK_WRAP_WARNING

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "hermetic"
PAGE = (ROOT / "spec" / "key-usage.md").read_text()
LABEL = re.compile(r"hermetic/v\d+/[a-z0-9/-]+")
HOLDERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _docstrings(tree):
    """Texts that stand alone as a statement: docstrings, and remarks under constants."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}


def _of_node(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        return LABEL.findall(text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "derive":
        label = node.args[1]
        return [f"hermetic/v1/{label.value}"] if isinstance(label, ast.Constant) else []
    return []


def _in_code():
    found = {(f"hermetic/v1/{label}", "keys/derived.py") for label in (*LABELS.values(), "domain/check")}
    for path in SOURCE.rglob("*.py"):
        if "testing" in path.parts:  # fakes have keys of their own
            continue
        tree = ast.parse(path.read_text())
        apart = _docstrings(tree)
        for node in ast.walk(tree):
            if id(node) not in apart:
                found |= {(label, path.relative_to(SOURCE).as_posix()) for label in _of_node(node)}
    return found


def test_labels_of_the_page_are_those_of_the_code():
    section = PAGE[PAGE.index("## 5 Labels") : PAGE.index("## 6 ")]
    listed = re.findall(r"^\| `(hermetic/[^`]+)` \| [^|]+ \| `([^`]+)` \|$", section, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == _in_code()


def test_every_derive_has_a_label_that_can_be_read():
    """A label made up at run time could be any; two places make them so, from fixed tables."""
    allowed = {"keys/derived.py", "crypto/kdf.py", "testing/fake_provider.py"}
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "derive":
                assert isinstance(node.args[1], ast.Constant) or path.relative_to(SOURCE).as_posix() in allowed, path


def test_labels_end_where_contexts_begin():
    assert all("\n" not in label and label.isascii() for label, _ in _in_code())


def test_the_numbers():
    assert KEK_WRAP_LIMIT == LEAVES == 2**31 == 2 * KEK_WRAP_WARNING
    assert REVISION_LIMIT == 2**28
    assert max(len(layout.of(table).sealed) for table in tables.metadata.sorted_tables) <= 8
    assert (backup.INDEX_LIMIT, backup.ENTRY.size, backup.CHUNK) == (256 * 2**20, 36, 32 * 1024)
    assert backup.INDEX_LIMIT // backup.ENTRY.size < 2**23
    assert FloeParameters(2**20 + 32).rotation_mask == 20
    assert MAX_OBJECTS == 65_536
