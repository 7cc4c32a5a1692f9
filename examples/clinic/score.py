"""Score cases with a trained model, and keep a log of what was scored.

python score.py MODEL CASES PREDICTIONS LOG            PREDICTIONS is CSV
"""

from __future__ import annotations

import sys

import fsspec
import numpy as np
import pandas as pd
from safetensors.numpy import load


def probabilities(model: str, cases: pd.DataFrame) -> np.ndarray:
    """Return, for each case, how likely its tumour is malignant."""
    with fsspec.open(model, "rb") as file:
        weights = load(file.read())
    inputs = cases.drop(columns=["case", "malignant"], errors="ignore").to_numpy()
    return 1 / (1 + np.exp(-(inputs @ weights["coefficients"] + weights["intercept"])))


if __name__ == "__main__":
    model, source, target, log = sys.argv[1:]
    cases = pd.read_parquet(source)
    scored = pd.DataFrame({"case": cases["case"], "probability": probabilities(model, cases).round(6)})
    scored.to_csv(target, index=False)
    with fsspec.open(log, "wt") as lines:
        lines.writelines(f"{case} scored\n" for case in scored["case"])
    print(f"scored {len(scored)} cases, {int((scored['probability'] > 0.5).sum())} look malignant")
