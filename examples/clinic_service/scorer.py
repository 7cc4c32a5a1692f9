"""A program that scores batches of cases for as long as it gets them: one JSON line in, one line out.

    python scorer.py MODEL PREDICTIONS            MODEL and PREDICTIONS are assets

It opens the model of the environment that HERMETIC_ENVIRONMENT names, for the purpose `serve`, anew for each batch; weights and cases
are in memory only, predictions are sealed. It ends with the exit code of the first refusal.
"""

from __future__ import annotations

import io
import json
import sys

import numpy as np

import hermetic
from hermetic.errors import HermeticError


def probabilities(weights: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Return, for each case, how likely its tumour is malignant."""
    return 1 / (1 + np.exp(-(inputs @ weights["coefficients"] + weights["intercept"])))


def score(h: hermetic.Workspace, model: str, predictions: str, batch: dict[str, list[list[float]]]) -> str:
    """Score one batch and seal what came of it."""
    found = probabilities(h.load_tensors(model, framework="numpy"), np.array(batch["inputs"]))
    table = "case,probability\n" + "".join(f"{case},{one:.6f}\n" for case, one in zip(batch["cases"], found, strict=True))
    sealed = h.seal(io.BytesIO(table.encode()), name=predictions)
    return f"{sealed.ref}: {len(found)} cases, {int((found > 0.5).sum())} look malignant"


if __name__ == "__main__":
    model, predictions = sys.argv[1:]
    with hermetic.connect(purpose="serve") as h:
        for line in sys.stdin:
            try:
                print(score(h, model, predictions, json.loads(line)), flush=True)
            except HermeticError as error:
                print(error.diagnostics(), file=sys.stderr)
                sys.exit(error.exit_code)
