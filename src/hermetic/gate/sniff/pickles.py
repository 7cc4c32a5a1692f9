"""Pickles of protocol 2 and above, and what they would build. Opcodes are read; nothing is ever unpickled or imported.

`pickletools.genops` walks opcodes and their arguments without executing any. The head alone is walked: what stands at the start of a
pickle (the module of the outermost object) tells a model from a table.
"""

from __future__ import annotations

import pickletools
from typing import TYPE_CHECKING

from hermetic.gate.sniff.sample import Guess

if TYPE_CHECKING:
    from hermetic.gate.sniff.sample import Sample

_MAX_OPCODES = 400
_MODELS = frozenset(
    {
        "torch",
        "sklearn",
        "xgboost",
        "lightgbm",
        "catboost",
        "keras",
        "tensorflow",
        "transformers",
        "jax",
        "flax",
        "spacy",
        "statsmodels",
        "onnx",
    }
)
_DATA = frozenset({"numpy", "pandas", "polars", "pyarrow", "scipy", "datasets"})
_TORCH_LEGACY = bytes.fromhex("80028a0a6cfc9c46f920 6aa850192e".replace(" ", ""))


def pickled(sample: Sample) -> Guess | None:
    """Return what a pickle is, or None if this is none. Raises OSError."""
    head = sample.head
    if len(head) < 4 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        return None
    if head.startswith(_TORCH_LEGACY):
        return Guess("model", "torch-legacy", "plaintext", "torch file of the old layout, a pickle: loading it may run code")
    if head[1] >= 4 and not _frame_fits(sample):
        return None
    modules, stopped, count, cut = _walk(head)
    joblib = any(name.startswith("joblib") for name in modules)
    if not (stopped and count >= 2) and not (cut and count >= 3 and not sample.whole) and not joblib:
        return None
    roots = {name.split(".")[0] for name in modules}
    kind = "model" if roots & _MODELS else "dataset" if roots & _DATA else "pickle"
    built = f"names {', '.join(sorted(roots)[:4])}; " if roots else ""
    return Guess(kind, "joblib" if joblib else "pickle", "plaintext", f"pickle of protocol {head[1]}: {built}loading it may run code")


def _frame_fits(sample: Sample) -> bool:
    """Check the FRAME opcode that opens protocol 4 and 5 (a very short pickle has none)."""
    head = sample.head
    if head[2] != 0x95:
        return sample.whole and len(head) < 64
    length = int.from_bytes(head[3:11], "little")
    return length > 0 and (sample.size is None or 11 + length <= sample.size)


def _walk(head: bytes) -> tuple[list[str], bool, int, bool]:
    """Return modules named, whether STOP came, how many opcodes were read, and whether the head ended before anything was wrong."""
    modules: list[str] = []
    texts: list[str] = []
    count, last = 0, 0
    try:
        for opcode, argument, position in pickletools.genops(head):
            count, last = count + 1, position or 0
            if opcode.name == "GLOBAL" and isinstance(argument, str):
                modules.append(argument.split(" ")[0])
            elif opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
                modules.append(texts[-2])
            elif isinstance(argument, str):
                texts.append(argument)
            if opcode.name == "STOP":
                return modules, True, count, False
            if count >= _MAX_OPCODES:
                return modules, False, count, True
    except ValueError as error:
        # genops says "expected N bytes … but only M remain" and the like at the end of its input
        cut = "remain" in str(error) or "not enough data" in str(error) or "no newline" in str(error) or last > len(head) - 512
        return modules, False, count, cut
    return modules, False, count, True
