"""Split the cohort, and bring every measurement to one scale, learnt from the training half only.

python features.py COHORT TRAINING TEST
"""

from __future__ import annotations

import sys

import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

NOT_MEASURED = ["case", "decade_of_birth", "diagnosis"]


def features(cohort: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (training, test): the case, 30 scaled measurements, and whether the tumour is malignant."""
    measured = cohort.columns.drop(NOT_MEASURED)
    training, test = train_test_split(cohort, test_size=0.25, stratify=cohort["diagnosis"], random_state=0)
    scaler = StandardScaler().fit(training[measured])
    return scaled(training, measured, scaler), scaled(test, measured, scaler)


def scaled(cases: pd.DataFrame, measured: pd.Index, scaler: StandardScaler) -> pd.DataFrame:
    """Return one half, scaled."""
    table = pd.DataFrame(scaler.transform(cases[measured]), columns=measured)
    table.insert(0, "case", cases["case"].to_numpy())
    return table.assign(malignant=(cases["diagnosis"] == "malignant").to_numpy())


if __name__ == "__main__":
    source, training_target, test_target = sys.argv[1:]
    training, test = features(pd.read_parquet(source))
    training.to_parquet(training_target, index=False)
    test.to_parquet(test_target, index=False)
    print(f"{len(training)} cases to train on, {len(test)} to test on")
