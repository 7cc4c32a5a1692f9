"""A hermetic.yaml is planted where the victim's commands look for one.

Attacker: another user of the machine, who can write a folder above (/tmp, a shared scratch), or hands over a prepared folder.
Tries:    a project file in a parent folder that belongs to the attacker; one that belongs to the victim but can be written by others,
          or by a group; links in the place of hermetic.yaml, policies/ and its files; a FIFO that never answers; a custody home
          inside the project; and a project file that names commands, modules, buckets or pins.
Stops it: files that steer what happens in the user's name have to be theirs and nobody else's to write; what could act stands in
          the user's own settings.
"""

from __future__ import annotations

import os
import shutil

from _stage import ROWS, Skipped, Stage, another_uid, main

from hermetic.errors import ConfigError, Denied, HermeticError


def attack(stage: Stage) -> None:
    stage.create().seal()
    stage.honest("reading", stage.read(), ROWS)
    yaml, policies = stage.project / "hermetic.yaml", stage.project / "policies"
    text = yaml.read_text()
    for what, path, mode in (("hermetic.yaml", yaml, 0o666), ("policies/", policies, 0o777)):
        before = path.stat().st_mode
        path.chmod(mode)
        stage.refused(f"{what} of mode {mode:o}", stage.connect, Denied)
        path.chmod(before)
    stage.project.chmod(0o777)
    stage.refused("a project folder that everybody can write", stage.connect, Denied)
    stage.project.chmod(0o700)
    for path in (yaml, policies, policies / "guards.cedar"):
        aside = stage.base / "aside"
        path.rename(aside)
        path.symlink_to(aside)
        stage.refused(f"a link in place of {path.name}", stage.connect, HermeticError)
        path.unlink()
        aside.rename(path)
    guard = policies / "guards.cedar"
    kept = guard.read_bytes()
    guard.unlink()
    os.mkfifo(guard)
    stage.refused("a FIFO among the policies", stage.connect, HermeticError)
    guard.unlink()
    guard.write_bytes(kept)
    for line in ("command: [sh, -c, id]", "anchor: {command: [sh]}", "module: evil.py", "provider: local:x", "pins: {}", "token: x"):
        yaml.write_text(text + line + "\n")
        stage.refused(f"`{line}` in the project's file", stage.connect, ConfigError)
    yaml.write_text(text)
    os.environ["HERMETIC_HOME"] = str(stage.project / "home")
    stage.refused("a custody home inside the project", stage.connect, ConfigError)
    os.environ["HERMETIC_HOME"] = str(stage.home_folder)
    _of_another_user(stage)


def _of_another_user(stage: Stage) -> None:
    try:
        uid = another_uid()
    except Skipped as reason:
        stage.kept("a planted file of another user", str(reason))
        return
    yaml = stage.project / "hermetic.yaml"
    os.chown(yaml, -1, uid)
    yaml.chmod(0o664)
    stage.refused("a project file that a group can write", stage.connect, Denied)
    yaml.chmod(0o600)
    shared = stage.base / "shared"
    victim = shared / "work" / "deep"
    victim.mkdir(parents=True)
    shutil.copy(stage.project / "hermetic.yaml", shared / "hermetic.yaml")
    os.chown(shared / "hermetic.yaml", uid, uid)
    os.chdir(victim)
    from hermetic.assets.workspace import connect

    stage.refused("a planted file of another user, in a folder above", connect, Denied)
    done = stage.cli("status", cwd=victim)
    stage.found("the program says so", done.returncode == 3 and done.stderr.decode())
    os.chdir(stage.project)
    os.chown(stage.project / "policies" / "guards.cedar", uid, uid)
    stage.refused("one policy file of another user", stage.connect, Denied)


if __name__ == "__main__":
    main(attack)
