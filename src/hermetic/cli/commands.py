"""The table of commands.

The help of `hermetic` is printed from this table alone, so that no command has to be imported for it. `summary` is repeated as
the first sentence of the command's own help; a test compares them.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command lives: module under `hermetic.cli` and attribute in it."""

    summary: str
    module: str
    attribute: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Start": {
        "init": Entry("Create a domain here: policy, keys, custody database.", "init", "init"),
        "unlock": Entry("Open the root for a while.", "locking", "unlock"),
        "lock": Entry("Close the root now.", "locking", "lock"),
        "status": Entry("Answer: are we safe yet?", "status", "status"),
        "map": Entry("Draw the pipeline: what is stored, moving and processed where.", "map", "map_"),
        "scan": Entry("Find unprotected ML files in folders.", "scan", "scan"),
        "bench": Entry("Measure what sealing costs here, against plain files.", "bench", "bench"),
    },
    "Work": {
        "seal": Entry("Encrypt files as a new version of an asset.", "seal", "seal"),
        "cat": Entry("Write the bytes of a version to stdout.", "cat", "cat"),
        "expose": Entry("Put plaintext on disk, on record and for a time.", "expose", "expose"),
        "run": Entry("Run a command with a declared purpose; lineage is recorded.", "run", "run"),
        "mount": Entry("Open a shell that sees versions as plain files.", "mount", "mount"),
        "package": Entry("A version for people outside the domain, in one sealed file.", "package", "package"),
        "verify": Entry("Check signature and ciphertext of a version, without its data key.", "verify", "verify"),
    },
    "Look": {
        "ls": Entry("List assets, or the versions of one.", "catalogue", "ls"),
        "show": Entry("Show everything about a version but its bytes.", "catalogue", "show"),
        "inspect": Entry("Say what a sealed file tells without keys.", "inspect", "inspect"),
        "lineage": Entry("Show what a version was made of.", "lineage", "lineage"),
    },
    "Change": {
        "promote": Entry("Carry a version into another environment, under its keys.", "promote", "promote"),
        "rollback": Entry("Make an earlier version the latest of its environment.", "promote", "rollback"),
        "rename": Entry("Give an asset another name.", "changes", "rename"),
        "decide": Entry("Change owner, class or retention, with a reason on record.", "changes", "decide"),
        "reseal": Entry("Seal anew what the policy's retired suites sealed.", "reseal", "reseal"),
        "gc": Entry("Remove what interrupted writes left behind.", "changes", "gc"),
    },
    "Govern": {
        "key": Entry("Keys and roots: rotate, suspend, revoke, destroy, shred, recover.", "key", "key"),
        "request": Entry("What waits for approval: list, show, carry to approvers elsewhere.", "request", "request"),
        "approve": Entry("Say yes to a request, with your own key.", "request", "approve"),
        "deny": Entry("Say no to a request, with your own key.", "request", "deny"),
        "approver": Entry("Approvers: enrol, list, remove; make a key to sign with.", "approver", "approver"),
        "identity": Entry("Who may call the service: certificates, authorities, second factors.", "identity", "identity"),
        "access": Entry("Who may do what: grants and roles.", "access", "access"),
        "policy": Entry("The policy in force: show, apply, explain.", "policy", "policy"),
        "log": Entry("The tamper-evident log: read, verify, prove, export, compare.", "log", "log"),
        "serve": Entry("Keep custody for other users of this machine, or for other machines.", "serve", "serve"),
        "backup": Entry("Encrypted copies of custody: state, and bring up to date.", "backup", "backup"),
        "migrate": Entry("Bring custody to the schema of this release.", "migrate", "migrate"),
        "restore": Entry("Bring a domain back from its backup.", "restore", "restore"),
    },
}

COMMANDS: dict[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
