import pytest

from hermetic.stores.memory import MemoryStore
from tests.unit.stores.contract import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()
