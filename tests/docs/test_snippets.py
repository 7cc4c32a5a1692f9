"""The tutorial and the how-tos: every command and script in them runs, in order, and shows what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.errors import HermeticError
from hermetic.providers import kernel_keyring
from tests.docs.pages import ROOT, Step, check, first_missing, merge, normal, run, steps

TUTORIAL = ROOT / "docs" / "tutorial.md"
HOW_TO = ROOT / "docs" / "how-to"

# What a how-to says that you have.
DOMAIN = ["hermetic init --root local:insecure-file --project clinic"]
SEALED = [*DOMAIN, "hermetic seal patients.parquet --as dataset/patients --class restricted --remove-original"]
NOTES = [
    *DOMAIN,
    "rm patients.parquet",
    "mkdir -p notes/more data",
    "printf 'first, note\\n\\n' > notes/a.txt && printf 'second, note\\n' > notes/more/b.txt",
    "printf 'case,age\\n1,44\\n2,53\\n' > data/visits.csv",
]
BENCH = [*DOMAIN, "hermetic seal patients.parquet --as dataset/patients --class restricted"]
KEPT = [*DOMAIN, "hermetic seal patients.parquet --as dataset/patients --class restricted"]
BEFORE = {
    "seal-a-folder": NOTES,
    "read-in-pandas": SEALED,
    "fsspec": SEALED,
    "tables": SEALED,
    "parquet-column-keys": SEALED,
    "runs": SEALED,
    "mount": SEALED,
    "expose": SEALED,
    "rotate-keys": SEALED,
    "retire-a-suite": SEALED,
    "destroy-and-shred": KEPT,
    "approve-critical-operations": SEALED,
    "give-access": SEALED,
    "move-the-root": SEALED,
    "back-up-and-restore": [],
    "recover-from-shares": [],
    "change-the-policy": SEALED,
    "anchor-the-log": SEALED,
    "watch-the-service": SEALED,
    "notifications": DOMAIN,
    "benchmark": BENCH,
    "s3": BENCH,
    "load-weights": DOMAIN,
    "identities": DOMAIN,
    "log-in-with-oidc": DOMAIN,
    "keep-custody-in-postgresql": [],
    "promote-and-roll-back": DOMAIN,
    "keep-data-in-a-region": [],
    "share-a-version": [*SEALED, "printf 'group,cases\\nall,400\\n' > summary.csv"],
}

ELSEWHERE = {  # pages that need an environment of their own: tests/interop/NAME/test_pages.py runs them there
    "train-on-sealed-data": "torch",
    "checkpoints": "torch",
    "lightning": "lightning",
    "transformers": "transformers",
    "mlflow": "mlflow",
    "root-in-openbao": "openbao",
    "keep-keys-in-the-provider": "openbao",
    "reconcile-the-log": "openbao",
    "root-in-aws-kms": "aws",
    "root-in-google-cloud-kms": "gcp",
    "root-in-azure-key-vault": "azure",
    "root-in-an-hsm": "pkcs11",
    "root-in-a-tpm": "tpm",
}

APART = {  # take several users of the machine, or a service
    "keep-custody-apart": "tests/unit/server/test_separated.py",
    "second-factors": "tests/unit/server/test_second_factors_apart.py",
    "run-a-service": "tests/unit/server/test_https_page.py",
}

pytest.importorskip("pyarrow")


def test_tutorial(folder: Path, home: Path) -> None:
    check(TUTORIAL, run(steps(TUTORIAL), folder, home))


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_how_to(name: str, folder: Path, home: Path, patients: None, request: pytest.FixtureRequest) -> None:
    page = HOW_TO / f"{name}.md"
    if "unlock" in page.read_text(encoding="utf-8") and not kernel_keyring_works():
        pytest.skip("the kernel keyring is not available here")
    if "--mount" in page.read_text(encoding="utf-8") and not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse here")
    asked = steps(page)
    if name == "s3":
        asked = request.getfixturevalue("bucket")(asked)
    if name == "keep-custody-in-postgresql":
        asked = request.getfixturevalue("server")(asked)
    check(page, run([*(Step(command, 0) for command in BEFORE[name]), *asked], folder, home))


def test_every_how_to_is_run_and_listed() -> None:
    names = {page.stem for page in HOW_TO.glob("*.md")}
    assert names == set(BEFORE) | set(ELSEWHERE) | set(APART)
    for name, file in APART.items():
        assert f'"{name}.md"' in (ROOT / file).read_text(encoding="utf-8")
    for name, environment in ELSEWHERE.items():
        assert f'"{name}"' in (ROOT / "tests" / "interop" / environment / "test_pages.py").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [name for name in names if f"how-to/{name}.md" not in index] == []


def kernel_keyring_works() -> bool:
    """Tell whether this machine lets a process keep something in the kernel's keyring."""
    try:
        kernel_keyring.unlocked()
    except HermeticError:
        return False
    return True


def test_what_the_checks_themselves_catch() -> None:
    output = "sealed     dataset/a@1\nsize       5.9 KiB in 1 object\nlog entry  8\n"
    assert first_missing(("sealed dataset/a@1", "…", "log entry 8"), output) is None
    assert first_missing(("size 6.0 KiB in 1 object",), output) is None
    assert first_missing(("log entry 8", "sealed dataset/a@1"), output) == "sealed dataset/a@1"
    assert first_missing(("sealed … @2",), output) == "sealed … @2"
    assert normal("at 2026-11-21 08:51:54Z") == normal("at 2027-01-01 00:00:00Z")


def test_sections_are_replaced() -> None:
    text = "a: 1\nrules: []\n# why\nb:\n  c: 2\n"
    once = merge(text, "rules:\n  - {x: 1}\n")
    assert merge(once, "rules:\n  - {y: 2}\n").count("rules:") == 1
    assert "c: 2" in once
    assert "- {x: 1}" in once
