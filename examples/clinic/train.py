"""Train a classifier. Plain pandas, scikit-learn and safetensors: this script has never heard of Hermetic.

    python train.py TRAINING MODEL CHECKPOINTS LOG

TRAINING is Parquet, MODEL safetensors, CHECKPOINTS a folder of safetensors, LOG a text file; all are paths or URLs.
"""

from __future__ import annotations

import sys

import fsspec
import numpy as np
import pandas as pd
from safetensors.numpy import save
from sklearn.linear_model import SGDClassifier

EPOCHS, CHECKPOINT_EVERY = 40, 10


def train(training: pd.DataFrame, checkpoints: str, log: str) -> SGDClassifier:
    """Return the trained classifier; write a checkpoint now and then, and a line of log each epoch."""
    inputs, truth = training.drop(columns=["case", "malignant"]).to_numpy(), training["malignant"].to_numpy()
    classifier = SGDClassifier(loss="log_loss", alpha=0.01, average=True, random_state=0)
    with fsspec.open(log, "wt") as lines:
        for epoch in range(1, EPOCHS + 1):
            classifier.partial_fit(inputs, truth, classes=[False, True])
            lines.write(f"epoch {epoch}: accuracy on the training half {classifier.score(inputs, truth):.4f}\n")
            if epoch % CHECKPOINT_EVERY == 0:
                write(classifier, f"{checkpoints}/epoch-{epoch:03d}.safetensors")
    return classifier


def write(classifier: SGDClassifier, target: str) -> None:
    """Write the weights."""
    with fsspec.open(target, "wb") as file:
        file.write(save({"coefficients": classifier.coef_[0].astype(np.float64), "intercept": classifier.intercept_}))


if __name__ == "__main__":
    source, model, checkpoints, log = sys.argv[1:]
    files, folder = fsspec.url_to_fs(checkpoints)
    files.makedirs(folder, exist_ok=True)
    write(train(pd.read_parquet(source), checkpoints, log), model)
    print(f"trained for {EPOCHS} epochs, a checkpoint every {CHECKPOINT_EVERY}")
