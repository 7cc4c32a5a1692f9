"""The house stands on its floors: DESIGN section 3, as imports. The layers themselves are in pyproject.toml, [tool.importlinter]."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "hermetic"

ABOVE_DOMAIN = {
    "assets", "bench", "cli", "evidence", "gate", "inference", "integrations", "private", "recovery", "server", "telemetry", "testing",
    "watch",
}  # fmt: skip
BEHIND_DOMAIN = {"access", "audit", "catalog", "custody", "db", "keys", "providers"}
MAY_USE_CRYPTOGRAPHY = {"crypto", "providers"}

PURE = ["policy", "formats", "keys/states.py", "audit/tree.py"]
IMPURE_MODULES = {
    "asyncio", "fcntl", "glob", "http", "io", "mmap", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil", "socket",
    "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IN_MEMORY = {("io", "StringIO"), ("io", "BytesIO"), ("pathlib", "PurePath"), ("pathlib", "PurePosixPath")}
IMPURE_CALLS = {"open", "input", "print", "now", "today", "utcnow", "urandom", "read_text", "read_bytes", "write_text", "write_bytes"}

HEAVY = {
    "alembic", "blake3", "cedarpy", "click", "cryptography", "fsspec", "numpy", "pandas", "pyarrow", "pydantic", "rich", "ruamel",
    "safetensors", "sklearn", "sqlalchemy", "torch",
}  # fmt: skip


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("hermetic", include_external_packages=True, cache_dir=None)


def room(module):
    return module.split(".")[1] if "." in module else ""


def direct_imports(graph):
    for module in sorted(graph.modules):
        if module.startswith("hermetic."):
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                yield module, imported


def test_floors():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_is_hidden_from_the_floors():
    """A folder without __init__.py is invisible to import-linter."""
    folders = {path.parent for path in SOURCE.rglob("*.py")}
    assert sorted(str(folder.relative_to(SOURCE)) for folder in folders if not (folder / "__init__.py").is_file()) == []


PROTOCOLS = {("testing", "hermetic.keys.provider")}  # a public fake has to name the protocol it stands in for


def test_rooms_above_the_domain_ask_the_domain(graph):
    wrong = [
        f"{module} imports {imported}"
        for module, imported in direct_imports(graph)
        if room(module) in ABOVE_DOMAIN
        and imported.startswith("hermetic.")
        and room(imported) in BEHIND_DOMAIN
        and (room(module), imported) not in PROTOCOLS
    ]
    assert wrong == []


def test_every_room_is_above_or_below(graph):
    rooms = {room(module) for module in graph.modules if module.startswith("hermetic.")}
    floors = BEHIND_DOMAIN | {"crypto", "domain", "errors", "formats", "ids", "policy", "sealed", "signing", "steps", "stores"}
    assert rooms - floors <= ABOVE_DOMAIN, "a new room: say here and in [tool.importlinter] where it stands"


def test_only_crypto_and_providers_use_cryptography(graph):
    wrong = [
        f"{module} imports {imported}"
        for module, imported in direct_imports(graph)
        if imported.split(".")[0] == "cryptography" and room(module) not in MAY_USE_CRYPTOGRAPHY
    ]
    assert wrong == []


def pure_files():
    for place in PURE:
        path = SOURCE / place
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path] * path.exists()


def impure(node):
    """Return what `node` does that needs more than its arguments, or None."""
    if isinstance(node, ast.Import):
        found = [alias.name for alias in node.names if alias.name.split(".")[0] in IMPURE_MODULES]
        return f"import {found[0]}" if found else None
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in IMPURE_MODULES:
        found = [alias.name for alias in node.names if (node.module, alias.name) not in IN_MEMORY]
        return f"from {node.module} import {found[0]}" if found else None
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return f"{name}()" if name in IMPURE_CALLS else None
    return None


IMPURE = ["import os", "import os.path", "from time import time", "open('x')", "Path('x').read_text()", "datetime.now()"]
PURE_LINES = ["from io import BytesIO", "import json", "datetime.fromisoformat(x)"]


@pytest.mark.parametrize(("line", "found"), [*((line, True) for line in IMPURE), *((line, False) for line in PURE_LINES)])
def test_the_purity_rule_itself(line, found):
    assert any(impure(node) for node in ast.walk(ast.parse(line))) is found


def is_resource_read(node):
    """Data shipped inside the package is code, not I/O."""
    return isinstance(node, ast.Call) and "files(" in ast.unparse(node.func)


def library_part(source):
    """Yield the nodes of a module without `if __name__ == "__main__"`, which is a script that shares its file."""
    for statement in ast.parse(source).body:
        if not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"):
            yield from ast.walk(statement)


def test_pure_rooms_do_no_io():
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {impure(node)}"
        for path in pure_files()
        for node in library_part(path.read_text())
        if impure(node) and not is_resource_read(node)
    ]
    assert wrong == []


@pytest.mark.parametrize("statement", ["import hermetic", "import hermetic.errors, hermetic.ids, hermetic.steps"])
def test_importing_hermetic_is_light(statement):
    code = f"import json, sys; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert sorted(loaded & HEAVY) == []


@pytest.mark.parametrize("package", sorted(path.parent.name for path in SOURCE.glob("*/__init__.py")))
def test_a_room_is_light_until_used(package):
    code = f"import json, sys, hermetic.{package}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert sorted(loaded & HEAVY) == []
