"""Measure a model on cases it has not seen.

python evaluate.py MODEL TEST RESULT            RESULT is JSON
"""

from __future__ import annotations

import json
import sys

import fsspec
import pandas as pd
from score import probabilities
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score


def measure(model: str, test: pd.DataFrame) -> dict[str, float]:
    """Return accuracy, area under the curve, and the malignant tumours that were missed."""
    truth, probability = test["malignant"], probabilities(model, test)
    guess = probability > 0.5
    return {
        "cases": len(test),
        "accuracy": round(float(accuracy_score(truth, guess)), 6),
        "area_under_curve": round(float(roc_auc_score(truth, probability)), 6),
        "malignant_missed": int(confusion_matrix(truth, guess)[1, 0]),
    }


if __name__ == "__main__":
    model, test, result = sys.argv[1:]
    measured = measure(model, pd.read_parquet(test))
    with fsspec.open(result, "wt") as file:
        json.dump(measured, file)
    print(json.dumps(measured))
