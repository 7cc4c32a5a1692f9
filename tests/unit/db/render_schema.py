"""Print the TABLES block of the first migration for the tables as they are now.

    .venv/bin/python tests/unit/db/render_schema.py

Only for use before a first release; afterwards a change of `tables.py` takes a migration of its own.
"""

from __future__ import annotations

import textwrap

import sqlalchemy as sa

from hermetic.db.tables import metadata

LETTERS = {sa.BigInteger: "I", sa.Text: "T", sa.LargeBinary: "B"}


def columns(table: sa.Table) -> str:
    return " ".join(f"{c.name}:{LETTERS[type(c.type)]}{'?' if c.nullable else ''}" for c in table.columns)


def names(found: object) -> str:
    return " ".join(column.name for column in found)


def reference(constraint: sa.ForeignKeyConstraint) -> str:
    targets = [element.target_fullname.split(".") for element in constraint.elements]
    return f"{' '.join(constraint.column_keys)} -> {targets[0][0]} {' '.join(name for _, name in targets)}"


def render(table: sa.Table) -> str:
    wrapped = textwrap.wrap(columns(table), 100)
    lines = "\n".join(f'        "{line}{" " if number < len(wrapped) else ""}"' for number, line in enumerate(wrapped, 1))
    out = [f'    Spec(\n        "{table.name}",\n{lines},\n        key="{names(table.primary_key.columns)}",']
    uniques = [names(c.columns) for c in table.constraints if isinstance(c, sa.UniqueConstraint)]
    foreign = sorted(reference(c) for c in table.constraints if isinstance(c, sa.ForeignKeyConstraint))
    indexes = sorted(names(index.columns) for index in table.indexes)
    for word, found in (("unique", uniques), ("foreign", foreign), ("indexes", indexes)):
        if found:
            out.append(f"        {word}=({', '.join(chr(34) + f + chr(34) for f in found)},),")
    return "\n".join([*out, "    ),"])


if __name__ == "__main__":
    print("TABLES = (\n" + "\n".join(render(table) for table in metadata.sorted_tables) + "\n)")
