"""Take the people out: random case numbers instead of identities, decades instead of birthdays.

python prepare.py PATIENTS COHORT
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

IDENTITY = ["insurance_number", "name", "born", "address", "phone", "email"]


def deidentified(patients: pd.DataFrame) -> pd.DataFrame:
    """Return the records in random order, without anything that names a person."""
    shuffled = patients.sample(frac=1, random_state=np.random.default_rng(7)).reset_index(drop=True)
    cohort = shuffled.drop(columns=IDENTITY)
    cohort.insert(0, "case", [f"case-{number:04d}" for number in range(1, len(cohort) + 1)])
    cohort.insert(1, "decade_of_birth", shuffled["born"].str[:3] + "0s")
    return cohort


if __name__ == "__main__":
    source, target = sys.argv[1:]
    cohort = deidentified(pd.read_parquet(source))
    cohort.to_parquet(target, index=False)
    print(f"{len(cohort)} cases left, without {', '.join(IDENTITY)}")
