import pytest

from hermetic.errors import KeyUnusable, UsageError
from hermetic.keys.limits import KEK_WRAP_LIMIT, KEK_WRAP_WARNING, check_wraps, near_limit


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
