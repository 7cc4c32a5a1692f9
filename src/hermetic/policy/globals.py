"""Which importable names a policy never lets a pickle have."""

from __future__ import annotations

# Modules whose names run programs or code when they are called, or reach those that do.
RUNS_CODE = frozenset({
    "__builtin__", "__main__", "_io", "_pickle", "asyncio", "builtins", "cloudpickle", "code", "codeop", "commands",
    "copy_reg", "copyreg", "ctypes", "dill", "functools", "imp", "importlib", "inspect", "io", "joblib", "marshal",
    "multiprocessing", "nt", "operator", "os", "pathlib", "pickle", "pip", "pkgutil", "platform", "posix", "posixpath",
    "pty", "runpy", "shutil", "site", "socket", "subprocess", "sys", "tempfile", "threading", "timeit", "types",
    "webbrowser",
})  # fmt: skip


def runs_code(name: str) -> bool:
    """Whether `module.name` is of a module that is known to run programs or code; a no is no promise."""
    return name.partition(".")[0] in RUNS_CODE
