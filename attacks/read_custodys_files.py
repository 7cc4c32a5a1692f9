"""Another user of the machine against custody kept apart: its files.

Attacker: a user of the machine, enrolled to audit and nothing more, with custody serving under another user id.
Tries:    list and open custody's home, the database, its write-ahead log and lock, the root, settings and pins, the backup place; by
          their names, through the folders of custody's process under /proc, and through a hard link; write beside them.
Stops it: user ids of the system: every folder of custody's is 0700 and every file 0600, and the backup is sealed besides.
"""

from __future__ import annotations

from _apart import separated
from _stage import Stage, main


def attack(stage: Stage) -> None:
    stage.create(backup=stage.backup, recovery_passphrase=_passphrase()).seal()
    with separated(stage) as apart:
        custody, settings = stage.custody, stage.settings
        files = sorted(path for folder in (custody, settings, stage.backup) for path in folder.rglob("*") if path.is_file())
        names = {path.name for path in files}
        stage.honest("there is a write-ahead log to read", "custody.db-wal" in names, True)
        stage.honest("there is a copy at the backup place", any(path.is_relative_to(stage.backup) for path in files), True)
        for folder in (custody, settings, stage.backup):
            apart.tried(f"list {folder.relative_to(stage.base).parts[0]}/{folder.name[:8]}", f"os.listdir({str(folder)!r})")
        left = apart.child(_ANY, files=[str(path) for path in files])
        stage.refused(f"open any of {len(files)} files", lambda: _all_refused(left, len(files)))
        apart.tried("link the database elsewhere", f"os.link({str(stage.database)!r}, '/tmp/hermetic-attack-link')")
        apart.tried("write a database of their own beside it", f"open({str(custody / 'custody.db-journal')!r}, 'wb')")
        for way in ("root", "cwd"):
            apart.tried(f"by /proc/PID/{way}", f"os.listdir('/proc/{apart.pid}/{way}')")


_ANY = """
refused = 0
for path in files:
    try:
        open(path, 'rb').close()
    except PermissionError:
        refused += 1
raise OSError(0, str(refused))
"""


def _all_refused(left: str, count: int) -> str:
    from hermetic.errors import Denied

    if left == str(count):
        raise Denied("permission denied, each of them")
    return f"{left} of {count} refused"


def _passphrase():
    from hermetic.crypto.secret import Secret

    return Secret(b"correct horse battery staple")


if __name__ == "__main__":
    main(attack)
