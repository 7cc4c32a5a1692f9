"""The contract of every kind of database, asked of a server: the same tests, over the fixtures of this folder.

Left out are those that go on in a transaction after a statement failed, which a server does not allow (`test_postgres_rows`), those
that edit the file of SQLite, and those that do the same with every table.
"""

from __future__ import annotations

from tests.unit.db.test_db_bulk import (  # noqa: F401 - tests and their fixtures
    bulk,
    many,
    test_a_row_that_moved_on_refuses_the_page,
    test_a_row_that_was_not_read_does_not_pass,
    test_every_row_is_changed_once,
    test_values_of_wrong_types_are_refused,
)
from tests.unit.db.test_db_rows import (  # noqa: F401 - tests
    test_missing_rows,
    test_null_comes_back_as_none_and_is_found,
    test_other_keys_open_nothing,
    test_plain_sql_sees_the_transaction,
    test_plain_tables_have_no_revision,
    test_protected_tables_need_keys,
    test_scan_takes_conditions_order_and_limit,
    test_searching_what_cannot_be_searched,
    test_stale_revision_conflicts_and_changes_nothing,
    test_subclasses_are_stored_as_their_plain_values,
    test_what_json_cannot_hold_is_a_usage_error,
)
