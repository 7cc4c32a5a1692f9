"""A clinic's model, sealed from raw data to prediction: run by `make demo`, in a folder of its own that is gone afterwards.

    python examples/clinic/demo.py [--out DIR] [--keep DIR]

Every command shown is run, every claim is checked, and the demo fails if one does not hold. `--out` is where the map's picture goes
(default: out/ of the checkout), `--keep` leaves project and custody in DIR to look around.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from ingest import patients
from prepare import IDENTITY
from stage import NotAsItMustBe, Stage

HERE = Path(__file__).resolve().parent
SCRIPTS = ("ingest", "prepare", "deidentify", "features", "train", "evaluate", "score", "attacks")

MEMORY = Path("/dev/shm")  # where the plain files of the comparison lie

# What each script reads and writes. The same words name sealed assets and plain files.
PIPELINE = {
    "prepare": ("prepare", "dataset/patients", "dataset/prepared"),
    "features": ("prepare", "dataset/cohort", "features/training", "features/test"),
    "train": ("train", "features/training", "model/tumour", "checkpoint/tumour", "log/training"),
    "evaluate": ("evaluate", "model/tumour", "features/test", "log/evaluation"),
    "score": ("serve", "model/tumour", "features/test", "payload/predictions", "log/scoring"),
}


def main() -> int:
    """Tell the story."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "out")
    parser.add_argument("--keep", type=Path)
    wanted = parser.parse_args()
    if wanted.keep and wanted.keep.exists():
        parser.error(f"{wanted.keep} exists")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hermetic-demo-") as folder:
        place = wanted.keep.resolve() if wanted.keep else Path(folder)
        stage = Stage(place / "clinic", place / "home")
        try:
            story(stage, wanted.out)
        except NotAsItMustBe as failure:
            print(f"\ndemo: failed: {failure}", file=sys.stderr)
            return 1
    if wanted.keep:
        print(f"\nTo look around: cd {place / 'clinic'}; export HERMETIC_HOME={place / 'home'}")
    print(f"\nAll {len(stage.checked)} claims hold, and every command ended as it must. {time.monotonic() - started:.0f} s in all.")
    return 0


def story(stage: Stage, out: Path) -> None:
    """Run the pipeline sealed, look at what that gives, compare with plain files, attack it."""
    set_up(stage)
    seconds = {"ingest": ingest(stage)}
    seconds["prepare"] = step(
        stage, "prepare", "Prepare", "A script takes the identities out. Its result is restricted as its input is."
    )
    seconds["de-identify"] = decide(stage)
    seconds["features"] = step(stage, "features", "Features", "What is made of confidential data is confidential, without being told.")
    seconds["train"] = step(
        stage, "train", "Train", "train.py knows pandas, scikit-learn, safetensors, and not Hermetic: its arguments are URLs."
    )
    register(stage)
    train_by_path(stage)
    seconds["evaluate"] = step(stage, "evaluate", "Evaluate", "The model meets cases it has not seen.")
    seconds["score"] = step(stage, "score", "Serve", "Batch scoring: weights in memory only, predictions and log sealed.")
    look(stage, out)
    trace(stage)
    compare(stage, seconds)
    attack(stage)
    leave_nothing(stage)


def set_up(stage: Stage) -> None:
    """Make project and domain."""
    stage.tell("Set up", "A project like any other: scripts, and an export that somebody left in plaintext.")
    (stage.folder / "incoming").mkdir(parents=True)
    for name in SCRIPTS:
        shutil.copy(HERE / f"{name}.py", stage.folder)
    stage.run("python", "ingest.py", "incoming/patients.parquet")
    stage.run("hermetic", "scan", expect=7)
    stage.tell("Protect", "One command makes keys and policy; rules say what is what; an edited policy counts once it is applied.")
    stage.run("hermetic", "init", "--root", "local:insecure-file", lines=3)
    declare(stage.folder / "hermetic.yaml")
    stage.run("hermetic", "policy", "apply", since="applied")


def declare(path: Path) -> None:
    """Put the sections of policy.yaml into hermetic.yaml, in place of the empty ones."""
    tomorrow = dt.datetime.now(tz=dt.UTC).date() + dt.timedelta(days=2)
    text = path.read_text().replace("\nrules: []\n", "\n").replace("\nexceptions: []\n", "\n")
    path.write_text(text + "\n" + (HERE / "policy.yaml").read_text().replace("TOMORROW", str(tomorrow)))


def ingest(stage: Stage) -> float:
    """Seal the export and remove it."""
    stage.tell("Ingest", "The rule knows the file: restricted. The original goes only after the sealed copy was read back.")
    started = time.monotonic()
    stage.run("hermetic", "seal", "incoming/patients.parquet", "--remove-original")
    seconds = time.monotonic() - started
    stage.run("hermetic", "scan")
    return seconds


def step(stage: Stage, script: str, title: str, line: str) -> float:
    """Run a script of the pipeline on sealed assets; return the seconds it took."""
    stage.tell(title, line)
    purpose, *assets = PIPELINE[script]
    started = time.monotonic()
    stage.run(
        "hermetic", "run", script, "--purpose", purpose, "--", "python", f"{script}.py", *(f"hermetic://{name}" for name in assets)
    )
    return time.monotonic() - started


def decide(stage: Stage) -> float:
    """Lower the class, on record; return the seconds it took."""
    stage.tell("De-identify", "A lower class needs a reason on record, and means other keys: the cohort is sealed anew, in memory.")
    reason = "identities replaced by random case numbers, birthdays by decades"
    started = time.monotonic()
    stage.run("python", "deidentify.py", "dataset/prepared", "dataset/cohort", "confidential", reason)
    return time.monotonic() - started


def register(stage: Stage) -> None:
    """Look at what training has registered."""
    stage.tell("Register", "The model is a signed version, which verifies without its key; so are its checkpoints.")
    stage.run("hermetic", "verify", "model/tumour", "checkpoint/tumour")
    shown = stage.run("hermetic", "show", "checkpoint/tumour", since="Members")
    stage.must(shown.count(".safetensors") == 4, "four checkpoints were sealed on the way")


def train_by_path(stage: Stage) -> None:
    """Run the same script on paths: a sealed version is a folder that only its command sees. Without FUSE say so and go on."""
    stage.tell("Train by path", "The same script, not one line changed, with paths: it reads and fills folders that only it can see.")
    tried = stage.quietly("hermetic", "run", "train", "--purpose", "train", "--mount", "data=features/training", "--", "true")
    if "FUSE" in tried.stderr or "namespace" in tried.stderr:
        print(f"   left out here: {tried.stderr.splitlines()[0]}", flush=True)
        return
    mounts = ("--mount", "data=features/training", "--mount-new", "trained=model/by-path")
    script = ("python", "train.py", "data/data", "trained/model", "trained/checkpoints", "trained/log")
    stage.run("hermetic", "run", "train", "--purpose", "train", *mounts, "--", *script)
    stage.must(not (stage.folder / "data").exists() and not (stage.folder / "trained").exists(), "neither folder is on the disk")
    both = ("--mount", "url=model/tumour", "--mount", "path=model/by-path")
    differs = stage.run("hermetic", "run", "evaluate", "--purpose", "evaluate", *both, "--", "cmp", "url/data", "path/model")
    stage.must(not differs, "the model is the same, byte for byte, read by path or by URL")


def look(stage: Stage, out: Path) -> None:
    """Ask what is there, who can open it, and where it came from."""
    stage.tell("Look", "What there is, and whether it is safe yet: keys, people, plaintext, retention, gaps.")
    stage.run("hermetic", "ls")
    stage.run("hermetic", "status", "--scan", ".")
    stage.tell("Map", "Seven stages: what is stored, moving and processed where.")
    out.mkdir(parents=True, exist_ok=True)
    picture = (out / "clinic-map.svg").resolve()
    stage.run("hermetic", "map", "--scan", ".", "--svg", str(picture), lines=8)
    stage.must(picture.read_text().startswith("<svg"), f"the map is drawn: {picture}")


def trace(stage: Stage) -> None:
    """Follow a prediction back, and check the record."""
    stage.tell("Trace", "One prediction, back to raw data: code, purpose, person, decision.")
    predictions = stage.run("hermetic", "cat", "payload/predictions", "--purpose", "audit", lines=2)
    stage.must(len(list(csv.DictReader(predictions.splitlines()))) > 100, "every case has its prediction")
    lineage = stage.run("hermetic", "lineage", "payload/predictions")
    stage.must("dataset/patients@1" in lineage, "the prediction goes back to the raw table")
    stage.must("; decision: identities replaced" in lineage, "the decision that lowered the class is part of its history")
    stage.tell("Prove", "Every opening above is in the log, a Merkle tree whose head is signed and remembered outside the database.")
    stage.run("hermetic", "log", "verify", expect=7)


def compare(stage: Stage, sealed: dict[str, float]) -> None:
    """Run the same scripts on plain files, elsewhere, and compare results and time."""
    stage.tell("Compare", "The same scripts on plain files, outside the project: the same numbers, and what sealing costs.")
    with tempfile.TemporaryDirectory(prefix="hermetic-demo-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        plain = Path(folder)
        for kind in ("dataset", "features", "model", "checkpoint", "payload", "log"):
            (plain / kind).mkdir()
        stage.quietly("python", "ingest.py", str(plain / "dataset/patients"))
        seconds = {script: run_plain(stage, script, plain) for script in PIPELINE}
        results = {name: (plain / name).read_text() for name in ("log/training", "log/evaluation", "payload/predictions")}
    for name, result in results.items():
        opened = stage.quietly("hermetic", "cat", name, "--purpose", "audit").stdout
        stage.must(opened == result, f"{name} is the same, byte for byte")
    accuracy = json.loads(results["log/evaluation"])["accuracy"]
    stage.must(accuracy > 0.95, f"accuracy is {accuracy}, sealed and plain")
    stage.run("hermetic", "run", "nothing", "--purpose", "train", "--", "python", "-c", "pass")
    show_cost(seconds, sealed)


def show_cost(plain: dict[str, float], sealed: dict[str, float]) -> None:
    """Print a table of seconds."""
    print("\n     seconds        plain  sealed")
    for name, seconds in sealed.items():
        print(f"     {name:<13}{plain.get(name, 0.0):7.1f}{seconds:8.1f}")
    base, total = sum(plain.values()), sum(sealed.values())
    print(f"     {'all':<13}{base:7.1f}{total:8.1f}   {total / base:.1f} times, {total - base:.1f} s more for {len(sealed)} steps")
    print("     The data is tiny: nearly all of it is starting custody, in two processes a step; the empty run above starts one.")


def run_plain(stage: Stage, script: str, plain: Path) -> float:
    """Run a script on plain files; return the seconds it took."""
    started = time.monotonic()
    done = stage.quietly("python", f"{script}.py", *(str(plain / name) for name in PIPELINE[script][1:]))
    stage.must(done.returncode == 0, f"{script}.py works on plain files: {done.stderr}", silent=True)
    if script == "prepare":
        (plain / "dataset/prepared").rename(plain / "dataset/cohort")
    return time.monotonic() - started


def attack(stage: Stage) -> None:
    """Four attacks, each refused."""
    flip_a_byte(stage)
    declare_a_wrong_purpose(stage)
    edit_the_policy(stage)
    cut_the_log(stage)


def flip_a_byte(stage: Stage) -> None:
    """Somebody who can write to the store changes one bit of the model."""
    stage.tell("Attack: a flipped bit", "Whoever can write to the store changes one bit of the model's sealed object.")
    version = json.loads(stage.quietly("hermetic", "show", "model/tumour", "--json").stdout)["version"]
    sealed = f"sealed/{version}/0.sealed"
    flip = ("python", "attacks.py", "flip", sealed, str((stage.folder / sealed).stat().st_size // 3))
    stage.run(*flip)
    stage.run("hermetic", "verify", "model/tumour", expect=4)
    weights = stage.run("hermetic", "cat", "model/tumour", "--purpose", "serve", expect=4)
    stage.must(not weights, "not one byte of the altered model came out")
    stage.run(*flip)
    stage.run("hermetic", "verify", "model/tumour")


def declare_a_wrong_purpose(stage: Stage) -> None:
    """Somebody wants to train on the raw table."""
    stage.tell("Attack: a wrong purpose", "Somebody wants to train on the raw table, names and all.")
    table = stage.run("hermetic", "cat", "dataset/patients", "--purpose", "train", expect=3)
    stage.must(not table, "nothing of the table came out")
    denied = stage.run("hermetic", "log", "ls", "--limit", "1")
    stage.must("denied" in denied, "the refusal is on record")


def edit_the_policy(stage: Stage) -> None:
    """Somebody who can write to the project allows it in the policy file."""
    stage.tell(
        "Attack: an edited policy",
        "Whoever can write to the project allows it there. A file edited is not a policy in force.",
    )
    stage.run("sed", "-i", "s/purposes: .prepare, audit./purposes: [prepare, train, audit]/", "hermetic.yaml")
    stage.run("hermetic", "cat", "dataset/patients", "--purpose", "train", expect=3)
    shown = stage.run("hermetic", "status", expect=7, since="Findings")
    stage.must("policy-not-applied" in shown, "the edit is a finding")
    stage.run("sed", "-i", "s/purposes: .prepare, train, audit./purposes: [prepare, audit]/", "hermetic.yaml")
    stage.run("hermetic", "policy", "show", "--diff", lines=3)


def cut_the_log(stage: Stage) -> None:
    """Somebody who can write to the custody database deletes the newest entries."""
    stage.tell(
        "Attack: a cut log", "Whoever can write to the database deletes its newest entries, the refusals too (here: in a copy)."
    )
    copy = stage.home.with_name("copy-of-home")
    shutil.copytree(stage.home, copy)
    (database,) = copy.glob("data/*/custody.db")
    stage.run("python", "attacks.py", "cut", f"../{database.relative_to(stage.folder.parent)}", "12")
    stage.run("hermetic", "log", "verify", expect=4, home=copy)
    error = json.loads(stage.quietly("hermetic", "log", "verify", "--json", home=copy).stdout)["error"]
    stage.must(error["kind"] == "log-tampered", "the database alone does not convince: the user's pins remember more")
    shutil.rmtree(copy)


def leave_nothing(stage: Stage) -> None:
    """Look for plaintext in everything that the demo has written."""
    stage.tell("Leave nothing", "Is any of the people's data on this disk, in the project or beside it?")
    stage.run("hermetic", "scan", "--recognise", ".", "../home")
    secrets = [value.encode() for column in IDENTITY for value in patients()[column].unique()]
    files = [path for path in stage.folder.parent.rglob("*") if path.is_file()]
    found = [path.name for path in files if holds_any(path.read_bytes(), secrets)]
    stage.must(not found, f"{len(secrets):,} names, numbers, addresses and birthdays are in none of {len(files)} files")


def holds_any(content: bytes, secrets: list[bytes]) -> bool:
    """Tell whether one of `secrets` stands in `content`."""
    return any(secret in content for secret in secrets)


if __name__ == "__main__":
    sys.exit(main())
