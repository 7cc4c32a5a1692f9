"""Rows that no policy reads are taken away: lineage, data keys, so that nobody knows what a model was made from.

Attacker: whoever can write the database file, the root locked.
Tries:    delete the edges of a version, all or one of two; put back older ones; delete a data key; put text where the log keeps bytes;
          delete the log's checkpoints; put words and bytes where the state of the backup keeps numbers.
Stops it: the log says for each version how many parents it has, with a digest of them, and for each data key that it exists:
          `log verify` compares. What is read without authentication is read as untrusted.
"""

from __future__ import annotations

from _stage import Stage, main

from hermetic.errors import HermeticError, LogTampered


def attack(stage: Stage) -> None:
    stage.create().seal()
    stage.seal(name="dataset/visits", data=b"visits")
    stage.seal(name="features/one", data=b"one", parents=("dataset/patients",))
    model = stage.seal(name="model/risk", data=b"model", parents=("dataset/patients", "dataset/visits")).version
    saved = stage.save()
    codes = ("row-missing", "row-put-back", "row-changed", "row-unlogged", "row-returned")
    stage.honest("the log agrees with the rows", stage.log_finds(*codes), "")

    stage.sql("DELETE FROM edge")
    stage.found("all lineage deleted", stage.log_finds("row-missing"))
    stage.put_back(saved)
    latest = "(SELECT max(parent_version) FROM edge WHERE child_version = ?)"
    stage.sql(f"DELETE FROM edge WHERE child_version = ? AND parent_version = {latest}", (model, model))
    stage.found("one of two parents", stage.log_finds("row-put-back"))
    stage.put_back(saved)
    stage.sql("DELETE FROM object")
    stage.sql("DELETE FROM data_key WHERE version_id = ?", (model,))
    stage.refused("reading without a data key", lambda: stage.read("model/risk"), HermeticError)
    stage.found("the data key taken out, as the error's hint says", stage.log_finds("row-missing"))
    stage.put_back(saved)
    _types(stage, saved)


def _types(stage: Stage, saved: dict) -> None:
    stage.sql("UPDATE log_leaf SET leaf = 'text' WHERE idx = 1")
    done = stage.cli("log", "ls")
    stage.found("text in the place of an entry", done.returncode == 4 and done.stderr.decode())
    stage.put_back(saved)
    for statement in ("DELETE FROM log_checkpoint", "UPDATE log_leaf SET generation = 2"):
        stage.sql(statement)
        stage.refused(statement.lower(), stage.connect, LogTampered)
        stage.put_back(saved)
    for value in ("'soon'", "x'ff'", "'9'||replace(hex(zeroblob(3000)), '0', '9')", "'-1'"):
        for key in ("last_ms", "log_size", "checked_ms", "place", "problem", "anchor_size"):
            stage.sql(f"INSERT OR REPLACE INTO backup_state VALUES ('{key}', {value})")
        done = stage.cli("status")
        stage.found(
            f"{value[:20]} for the state of the backup", done.returncode == 7 and b"unexpected" not in done.stderr and "status"
        )
    stage.put_back(saved)


if __name__ == "__main__":
    main(attack)
