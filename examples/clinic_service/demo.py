"""A clinic's model with custody as a service: run by `make demo-service`, in a folder of its own that is gone afterwards.

Four machines, played by four folders with homes of their own: custody's, with PostgreSQL and the service, and those of Ana, who
trains, of Ben, who approves, and of the scorer, a program. They reach custody over HTTPS on the loopback interface, with certificates
of the domain's own authority. Every command shown is run, every claim is checked, and the demo fails if one does not hold. What it
starts it stops, by process id. The root key lies in a file (local:insecure-file): enough to show what a service does, not to protect
anything.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CLINIC = HERE.with_name("clinic")
sys.path.insert(0, str(CLINIC))  # the scripts of `make demo`: what they do does not change

import pyotp  # noqa: E402
from database import Postgres  # noqa: E402
from features import features  # noqa: E402
from ingest import patients  # noqa: E402
from machine import Machine, Show  # noqa: E402
from prepare import IDENTITY, deidentified  # noqa: E402
from stage import NotAsItMustBe  # noqa: E402

SCRIPTS = [CLINIC / f"{name}.py" for name in ("prepare", "deidentify", "features", "train")]
PASSPHRASE = "correct horse battery staple"  # of Ben's key, for a minute
LABEL = ("--label", "phone")


class Phone:
    """Ben's app for codes. Each counts once: after one of this half minute it shows that of the next, which clocks may be off by."""

    def __init__(self, secret: str) -> None:
        self._codes, self._used = pyotp.TOTP(secret), 0

    def code(self) -> str:
        """Return a code that was not used."""
        self._used = max(int(time.time()) // self._codes.interval, self._used + 1)
        return str(self._codes.generate_otp(self._used))


@dataclass
class Clinic:
    """The four machines, and what is between them."""

    show: Show
    root: Path
    custody: Machine
    ana: Machine
    ben: Machine
    scorer: Machine
    url: str = ""
    phone: Phone | None = None

    @property
    def callers(self) -> tuple[Machine, ...]:
        """Everybody but custody."""
        return self.ana, self.ben, self.scorer

    def carry(self, file: str, source: Machine, target: Machine) -> None:
        """Bring a file that is no secret from one machine to another."""
        shutil.copy(source.project / file, target.project / file)

    @property
    def domain(self) -> str:
        """The domain's id, from the project's hermetic.yaml."""
        return re.findall(r"(?m)^domain: (\S+)", (self.custody.project / "hermetic.yaml").read_text())[0]


def main() -> int:
    """Tell the story."""
    started, show = time.monotonic(), Show()
    with tempfile.TemporaryDirectory(prefix="hermetic-demo-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # the database server may be another user's
        try:
            story(Clinic(show, root, *(Machine(name, root / name) for name in ("custody", "ana", "ben", "scorer"))))
        except NotAsItMustBe as failure:
            print(f"\ndemo: failed: this does not hold: {failure}", file=sys.stderr)
            return 1
    print(f"\nAll {len(show.checked)} claims hold, and every command ended as it must. {time.monotonic() - started:.0f} s in all.")
    return 0


def story(clinic: Clinic) -> None:
    """Set up, build, promote, serve, refuse, revoke, prove."""
    with ExitStack() as running:
        server = running.enter_context(Postgres(clinic.root / "postgres"))
        clinic.show.must(server.asks_for_passwords(), "a PostgreSQL server of the demo's own is running, and asks for passwords")
        set_up(clinic, server)
        certify(clinic)
        service = serve(clinic, running)
        second_factor(clinic)
        build(clinic)
        promote(clinic)
        scoring = score(clinic, running)
        refuse(clinic)
        revoke(clinic, scoring)
        prove(clinic)
        service.send_signal(signal.SIGTERM)
        clinic.show.must(service.wait(60) == 0, "the service ends in order when it is told to")
    leave_nothing(clinic)


def set_up(clinic: Clinic, server: Postgres) -> None:
    """Make the domain on custody's machine, with its database in PostgreSQL, and give everybody a clone of the project."""
    custody = clinic.custody
    clinic.show.tell(
        "Custody", "Keys, records and the log are in PostgreSQL. The password is in a file of custody's own, never in a URL."
    )
    place, passwords = server.database("custody")
    custody.more["PGPASSFILE"] = str(passwords)
    custody.run("hermetic", "init", "--root", "local:insecure-file", "--project", "clinic", "--database", place, lines=3)
    clinic.show.must(not list(custody.root.rglob("custody.db")), "there is no database file on custody's machine")
    declare(custody.project / "hermetic.yaml")
    (clinic.root / "elsewhere").mkdir()
    custody.settings(clinic.domain, f"anchor: {{command: [tee, {clinic.root / 'elsewhere' / 'checkpoint'}]}}")
    custody.run("hermetic", "policy", "apply", since="applied")
    stores = ", ".join(f"{name}: {{folder: {clinic.root / 'stores' / name}}}" for name in ("sealed", "staging", "production"))
    for machine in clinic.callers:
        shutil.copy(custody.project / "hermetic.yaml", machine.project)
        shutil.copytree(custody.project / "policies", machine.project / "policies")
        machine.settings(clinic.domain, f"stores: {{{stores}}}")
    for script in SCRIPTS:
        shutil.copy(script, clinic.ana.project)
    shutil.copy(HERE / "scorer.py", clinic.scorer.project)


def declare(path: Path) -> None:
    """Put the sections of policy.yaml in the place of those in hermetic.yaml."""
    text = path.read_text()
    for section in re.split(r"(?m)^(?=\w)", (HERE / "policy.yaml").read_text())[1:]:
        name = section.partition(":")[0]
        text = re.sub(rf"(?m)^{name}:.*\n(?: .*\n)*", "", text) + f"\n{section}"
    path.write_text(text)


def certify(clinic: Clinic) -> None:
    """Make three principals known and give them certificates: keys are made where they stay."""
    custody = clinic.custody
    clinic.show.tell("Identities", "The domain has an authority of its own. Who calls makes a key, which never leaves their machine.")
    custody.run("hermetic", "identity", "authority", "create", "--reason", "the service begins", lines=4)
    enrol = ("hermetic", "identity", "enrol")
    custody.run(*enrol, "ana", "--kind", "person", "--role", "data-steward", "--role", "research-lead", "--reason", "leads the study")
    custody.run(*enrol, "ben", "--kind", "person", "--role", "approver", "--reason", "approves promotions")
    custody.run(*enrol, "scorer", "--kind", "workload", "--role", "service", "--reason", "scores new cases")
    for machine, kind in ((clinic.ana, "person"), (clinic.ben, "person"), (clinic.scorer, "workload")):
        name = machine.name
        machine.run("hermetic", "identity", "request", name, "--kind", kind, "-o", f"{name}.csr")
        clinic.carry(f"{name}.csr", machine, custody)
        issue = ("hermetic", "identity", "issue", name, "--csr", f"{name}.csr", "--for", "1h", "-o", f"{name}.pem")
        issued = custody.run(*issue, "--reason", "first certificate")
        clinic.carry(f"{name}.pem", custody, machine)
        installed = machine.run("hermetic", "identity", "install", f"{name}.pem")
        known = [re.findall(rf"(?m)^{word} +(\S+)", text) for word, text in (("authority", issued), ("believes", installed))]
        clinic.show.must(bool(known[0]) and known[0] == known[1], f"{name} compares the authority's fingerprint: it is the same")


def serve(clinic: Clinic, running: ExitStack) -> subprocess.Popen[str]:
    """Start the service, and tell everybody where it is."""
    clinic.show.tell("Serve", "HTTPS, TLS 1.3 alone, and nobody is answered without a certificate of the domain.")
    service = clinic.custody.start("hermetic", "serve", "--listen", "127.0.0.1:0", "--name", "localhost")
    running.callback(stop, service)
    said = service.stderr.readline() if service.stderr else ""
    print(f"     {said.strip()}")
    port = re.search(r"https://127\.0\.0\.1:(\d+)", said)
    clinic.show.must(port is not None, "the service is ready")
    assert port is not None
    clinic.url = f"https://localhost:{port[1]}"
    for machine in clinic.callers:
        machine.more["HERMETIC_URL"] = clinic.url
    print(f"   Ana, Ben and the scorer: export HERMETIC_URL={clinic.url}")
    seen = clinic.ana.quietly("hermetic", "ls", "--json")
    clinic.show.must(seen.returncode == 0, f"ana is answered, and known by her certificate {seen.stderr}".strip())
    return service


def stop(process: subprocess.Popen[str]) -> None:
    """End what was started, if it has not ended."""
    if process.poll() is None:
        process.terminate()
        process.wait(60)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def second_factor(clinic: Clinic) -> None:
    """Ben gets a key to approve with, and a second factor beside it."""
    custody, ben = clinic.custody, clinic.ben
    clinic.show.tell(
        "Approver", "Ben approves with a key file, and shows a second factor besides. (Codes: this program plays his phone.)"
    )
    (ben.project / "passphrase").touch(mode=0o600)
    (ben.project / "passphrase").write_text(PASSPHRASE)
    ben.run("hermetic", "approver", "key", "new", "ben.key", "--passphrase-file", "passphrase")
    clinic.carry("ben.key.pub", ben, custody)
    custody.run("hermetic", "approver", "enrol", "ben", "--public-key", "ben.key.pub", "--reason", "answers for models")
    invited = custody.at_terminal("hermetic", "identity", "factor", "invite", "ben", "--reason", "joins").end()
    code = re.findall(r"\b[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}\b", invited)
    clinic.show.must(len(code) == 1, "custody's administrator reads Ben an invitation, which is good once")
    adding = ben.at_terminal("hermetic", "identity", "factor", "add", "totp", *LABEL)
    adding.type(code[0])
    shown = adding.wait_for("otpauth://")
    phone = Phone(re.findall(r"secret  ([A-Z2-7]{32})", shown)[0])
    adding.type(phone.code())
    adding.end()
    clinic.show.must("active" in ben.run("hermetic", "identity", "factor", "ls"), "ben has a second factor")
    clinic.phone = phone


def build(clinic: Clinic) -> None:
    """Ana seals what the hospital exports, and trains in development."""
    ana = clinic.ana
    clinic.show.tell(
        "Build", "Ana's scripts are those of `make demo`. Ciphertext goes to her store, only requests and keys cross the network."
    )
    patients().to_parquet(ana.project / "patients.parquet", index=False)
    ana.run("hermetic", "seal", "patients.parquet", "--as", "dataset/patients", "--owner", "ana", "--remove-original")
    run = ("hermetic", "run")
    ana.run(*run, "prepare", "--purpose", "prepare", "--", "python", "prepare.py", *urls("dataset/patients", "dataset/prepared"))
    ana.run("python", "deidentify.py", "dataset/prepared", "dataset/cohort", "confidential", "identities replaced by case numbers")
    made = urls("dataset/cohort", "features/training", "features/test")
    ana.run(*run, "features", "--purpose", "prepare", "--", "python", "features.py", *made)
    made = urls("features/training", "model/tumour", "checkpoint/tumour", "log/training")
    ana.run(*run, "train", "--purpose", "train", "--", "python", "train.py", *made)
    listed = ana.run("hermetic", "ls", "--environment", "development")
    clinic.show.must("model/tumour" in listed, "the model is in development")
    shown = ana.run("hermetic", "status", expect=7, lines=12)
    clinic.show.must("service" in shown, "the enforcement level is `service`")


def urls(*names: str) -> list[str]:
    """Return assets as URLs, which plain scripts open."""
    return [f"hermetic://{name}" for name in names]


def promote(clinic: Clinic) -> None:
    """The model goes to staging, and from there to production, when Ben has agreed; each time."""
    ana, ben = clinic.ana, clinic.ben
    clinic.show.tell("Promote", "Nothing crosses environments without somebody else's yes, for this version and this place.")
    ana.run("hermetic", "promote", "model/tumour", "--to", "production", "--reason", "in a hurry", expect=3)
    clinic.show.holds("nothing goes to production past staging")
    to_staging = ("hermetic", "promote", "model/tumour", "--to", "staging", "--reason", "evaluated, report 12")
    ana.run(*to_staging, expect=5)
    request = waiting(clinic)
    yes = ("--key", "ben.key", "--passphrase-file", "passphrase", "--reason", "read report 12")
    ben.run("hermetic", "approve", request, *yes, expect=5, since="hermetic: error")
    clinic.show.holds("ben's key alone is not enough: a second factor is asked for")
    assert clinic.phone is not None
    ben.run("hermetic", "identity", "confirm", typed=f"{clinic.phone.code()}\n")
    ben.run("hermetic", "approve", request, *yes)
    ana.run(*to_staging)
    to_production = ("hermetic", "promote", "model/tumour", "--environment", "staging", "--to", "production", "--reason", "report 13")
    ana.run(*to_production, expect=5)
    ben.run("hermetic", "approve", waiting(clinic), *yes, since="approved")
    ana.run(*to_production)
    both = [json.loads(ana.quietly("hermetic", "ls", "model/tumour", "--environment", name, "--json").stdout) for name in PLACES]
    clinic.show.must(all("model/tumour" in json.dumps(found) for found in both), "the model is in all three environments")
    sealed = {name: next((clinic.root / "stores" / name).rglob("*.sealed"), None) for name in ("staging", "production")}
    clinic.show.must(all(sealed.values()), "each has a copy of its own, sealed under keys of its own")


PLACES = ("development", "staging", "production")


def waiting(clinic: Clinic) -> str:
    """Return the one request that waits for Ben."""
    found = json.loads(clinic.ben.run("hermetic", "request", "ls", "--json", lines=0))["requests"]
    clinic.show.must(len(found) == 1, "one request waits for ben")
    return str(found[0]["id"])


def score(clinic: Clinic, running: ExitStack) -> subprocess.Popen[str]:
    """The scorer opens the production model and scores cases that come over a pipe; it goes on waiting for more."""
    clinic.show.tell(
        "Serve the model",
        "A program that imports hermetic. It opens the production model anew for each batch, for the purpose `serve`.",
    )
    clinic.scorer.more["HERMETIC_ENVIRONMENT"] = "production"
    words = ("python", "scorer.py", "model/tumour", "payload/predictions")
    scoring = clinic.scorer.start(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    running.callback(stop, scoring)
    answer = ask(scoring, batch())
    clinic.show.must(answer.startswith("payload/predictions@1: 143 cases"), f"the scorer answers: {answer}")
    found = clinic.ana.run("hermetic", "ls", "--environment", "production")
    clinic.show.must("payload/predictions" in found, "predictions are sealed, in production")
    return scoring


def batch() -> dict[str, Any]:
    """Return what the clinic's system sends at night: the cases of the test half, measured and scaled. It stays in memory."""
    _training, test = features(deidentified(patients()))
    return {"cases": test["case"].tolist(), "inputs": test.drop(columns=["case", "malignant"]).to_numpy().tolist()}


def ask(scoring: subprocess.Popen[str], cases: dict[str, Any]) -> str:
    """Send a batch; return the line that comes back, or "" when the scorer has ended."""
    assert scoring.stdin is not None
    assert scoring.stdout is not None
    scoring.stdin.write(json.dumps(cases) + "\n")
    scoring.stdin.flush()
    return scoring.stdout.readline().strip()


def refuse(clinic: Clinic) -> None:
    """What nobody of them may: refused, and on record."""
    ana, ben = clinic.ana, clinic.ben
    clinic.show.tell("Refuse", "Ana built the model and had it promoted. That does not open production to her.")
    cat = ("hermetic", "cat")
    tries = (
        (
            ana,
            "ana does not open the production model",
            (*cat, "model/tumour", "--environment", "production", "--purpose", "evaluate"),
        ),
        (ana, "ana does not debug on the raw table, names and all", (*cat, "dataset/patients", "--purpose", "debug")),
        (ana, "nor is it trained on", (*cat, "dataset/patients", "--purpose", "train")),
        (ben, "ben, who approves, reads nothing", (*cat, "model/tumour", "--environment", "production", "--purpose", "audit")),
    )
    for who, claim, words in tries:
        before = denials(clinic)
        who.run(*words, expect=3)
        clinic.show.must(denials(clinic) == before + 1, f"{claim}, and the refusal is on record")


def denials(clinic: Clinic) -> int:
    """Return how many refusals are on the log."""
    listed = clinic.custody.quietly("hermetic", "log", "ls", "--kind", "release.denied", "--limit", "1000", "--json")
    return len(json.loads(listed.stdout)["entries"])


def revoke(clinic: Clinic, scoring: subprocess.Popen[str]) -> None:
    """The scorer's certificate is revoked while it is connected."""
    clinic.show.tell("Revoke", "The scorer's machine was broken into. It is connected, and its model was open a moment ago.")
    clinic.custody.run("hermetic", "identity", "revoke", "scorer", "--reason", "broken into")
    answer = ask(scoring, batch())
    code = scoring.wait(60)
    print(f"     {scoring.stderr.read().strip() if scoring.stderr else ''}\n   exit code {code}")
    clinic.show.must(not answer and code == 3, "the next request of the scorer is refused, on the connection that it had")
    clinic.scorer.run("hermetic", "cat", "model/tumour", "--purpose", "serve", expect=3)
    clinic.show.holds("and so is a new one")


def prove(clinic: Clinic) -> None:
    """Verify the log, against a checkpoint that was kept elsewhere."""
    custody = clinic.custody
    clinic.show.tell("Prove", "Who promoted, who agreed, who opened what for which purpose, who was refused: one log, signed.")
    custody.run("hermetic", "log", "ls", "--limit", "12")
    anchor = clinic.root / "elsewhere" / "checkpoint"
    verified = custody.run("hermetic", "log", "verify", "--anchor", str(anchor))
    clinic.show.must(re.search(r"(?m)^log +whole", verified) is not None, "the log is whole, and what was kept elsewhere agrees")


def leave_nothing(clinic: Clinic) -> None:
    """Look for the people's data in everything that was written: stores, homes, the database's files."""
    clinic.show.tell("Leave nothing", "Is any of the people's data on this disk: in a project, a store, a home, the database's files?")
    secrets = {str(value) for column in IDENTITY for value in patients()[column]}
    files = sum(path.is_file() for path in clinic.root.rglob("*"))
    grep = ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--file=-", str(clinic.root)]
    done = subprocess.run(grep, input="\n".join(secrets), capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    found = [Path(line).name for line in done.stdout.splitlines()]
    claim = f"{len(secrets):,} names, numbers, addresses and birthdays are in none of {files:,} files"
    clinic.show.must(done.returncode == 1 and not found, " ".join([claim, *found]))


if __name__ == "__main__":
    sys.exit(main())
