"""The project's policy files are edited, so that everything is allowed.

Attacker: whoever can write the project (a pull request, a shared checkout, malware of a dependency).
Tries:    let debugging read restricted data, drop the guards, add a Cedar policy that permits everybody everything, switch the
          default class to public by rule, point the store elsewhere, and name another domain.
Stops it: custody decides by the bundle that the last logged `policy apply` accepted, authenticated under the root; the edit is a
          finding.
"""

from __future__ import annotations

from _stage import ROWS, Stage, main

from hermetic.errors import ConfigError, HermeticError, PolicyDenied

PERMIT_ALL = '@id("everything")\npermit (principal, action, resource);\n'


def attack(stage: Stage) -> None:
    stage.create().seal()
    yaml, guards = stage.project / "hermetic.yaml", stage.project / "policies" / "guards.cedar"
    text, cedar = yaml.read_text(), guards.read_text()
    stage.honest("preparing", stage.read(), ROWS)
    stage.refused("debugging, before", lambda: _debug(stage), PolicyDenied)

    guards.unlink()
    stage.refused("guards removed", lambda: _debug(stage), PolicyDenied)
    guards.write_text(cedar.replace("forbid", "permit"))
    stage.refused("every forbid made a permit", lambda: _debug(stage), PolicyDenied)
    guards.write_text(cedar)
    (stage.project / "policies" / "zz.cedar").write_text(PERMIT_ALL)
    stage.refused("a policy that permits everything", lambda: _debug(stage), PolicyDenied)
    yaml.write_text(text.replace("default_purpose: none", "default_purpose: debug"))
    stage.refused("a default purpose in the file", lambda: _without_purpose(stage), PolicyDenied, ConfigError)
    yaml.write_text(text)
    stage.found("status says that the files were edited", b"policy-not-applied" in stage.cli("status", "--json").stdout)
    yaml.write_text(text.replace(stage.domain, stage.domain[:-4] + "aaaa"))
    stage.refused("another domain", lambda: _debug(stage), HermeticError)
    yaml.write_text(text.replace("\nrules: []", "\nrules:\n  - {asset: '**', class: public}"))
    sealed = stage.seal("dataset/patients", b"patients", data_class=None)
    stage.honest("a rule in an edited file lowers nothing", (yaml.read_text() != text, sealed.data_class), (True, "restricted"))
    for path in ("/tmp", "../elsewhere", "~/x", "sealed/../../x"):
        yaml.write_text(text.replace("path: sealed", f"path: {path}"))
        if yaml.read_text() != text:
            stage.refused(f"a store at {path}", stage.connect, ConfigError)
    yaml.write_text(text)
    (stage.project / "policies" / "zz.cedar").unlink()
    (stage.project / "sealed").rename(stage.base / "real")
    (stage.project / "sealed").symlink_to(stage.base / "real")
    stage.refused("the store's folder replaced by a link out of the project", stage.connect, ConfigError)


def _debug(stage: Stage) -> bytes:
    with stage.connect(purpose="debug") as h, h.open("dataset/patients") as file:
        return file.read(10)


def _without_purpose(stage: Stage) -> bytes:
    with stage.connect() as h, h.open("dataset/patients") as file:
        return file.read(10)


if __name__ == "__main__":
    main(attack)
