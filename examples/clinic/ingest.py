"""What the clinic's system exports: 569 real tumour records (scikit-learn's breast_cancer), each with an invented person.

python ingest.py TARGET            TARGET is a Parquet file: a path or a URL
"""

from __future__ import annotations

import sys

import pandas as pd
from faker import Faker
from sklearn.datasets import load_breast_cancer

SEED = 20260107


def patients() -> pd.DataFrame:
    """Return the table: identity, 30 measurements of the cell nuclei, diagnosis. The same on every call."""
    source = load_breast_cancer(as_frame=True)
    fake = Faker("en_GB")
    fake.seed_instance(SEED)
    people = pd.DataFrame(person(fake) for _ in range(len(source.data)))
    diagnosis = source.target.map({0: "malignant", 1: "benign"}).rename("diagnosis")
    return pd.concat([people, source.data, diagnosis], axis=1)


def person(fake: Faker) -> dict[str, str]:
    """Invent one patient."""
    return {
        "insurance_number": fake.unique.bothify("??######?").upper(),
        "name": fake.name(),
        "born": fake.date_of_birth(minimum_age=25, maximum_age=85).isoformat(),
        "address": fake.address().replace("\n", ", "),
        "phone": fake.phone_number(),
        "email": fake.unique.email(),
    }


if __name__ == "__main__":
    (target,) = sys.argv[1:]
    table = patients()
    table.to_parquet(target, index=False)
    print(f"exported {len(table)} patients with {len(table.columns)} columns")
