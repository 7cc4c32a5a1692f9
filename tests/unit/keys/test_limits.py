import pytest

from hermetic.db.columns import REVISION_LIMIT
from hermetic.errors import KeyUnusable, UsageError
from hermetic.keys.limits import (
    KEK_CHANGES_LIMIT,
    KEK_WRAP_LIMIT,
    KEK_WRAP_WARNING,
    check_changes,
    check_wraps,
    near_limit,
    used_percent,
)


def test_the_last_wrap_is_allowed_and_the_next_is_not():
    assert KEK_WRAP_LIMIT == 2**31
    assert check_wraps(KEK_WRAP_LIMIT - 1) == KEK_WRAP_LIMIT
    with pytest.raises(KeyUnusable, match="all the wraps") as caught:
        check_wraps(KEK_WRAP_LIMIT)
    assert "rotate" in caught.value.hint


def test_a_batch_counts_whole():
    assert check_wraps(0, 1_000_000) == 1_000_000
    with pytest.raises(KeyUnusable):
        check_wraps(KEK_WRAP_LIMIT - 10, 11)


@pytest.mark.parametrize(("used", "more"), [(0, 0), (0, -1), (-1, 1)])
def test_counts_that_make_no_sense(used, more):
    with pytest.raises(UsageError):
        check_wraps(used, more)


def test_warning_comes_at_half():
    assert not near_limit(KEK_WRAP_WARNING - 1)
    assert near_limit(KEK_WRAP_WARNING)
    assert KEK_WRAP_WARNING * 2 == KEK_WRAP_LIMIT


def test_the_row_that_counts_has_a_limit_of_its_own():
    assert check_changes(KEK_CHANGES_LIMIT - 1) == KEK_CHANGES_LIMIT - 1
    with pytest.raises(KeyUnusable) as caught:
        check_changes(KEK_CHANGES_LIMIT)
    assert "rotate" in caught.value.hint
    assert KEK_CHANGES_LIMIT + 1000 < REVISION_LIMIT  # so that it can still be rotated out
    assert not near_limit(0, KEK_CHANGES_LIMIT // 2 - 1)
    assert near_limit(0, KEK_CHANGES_LIMIT // 2)
    assert (used_percent(0, 1), used_percent(KEK_WRAP_LIMIT, 1), used_percent(1, KEK_CHANGES_LIMIT)) == (0, 100, 100)
