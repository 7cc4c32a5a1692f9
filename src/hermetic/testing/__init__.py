"""Public fakes for the tests of people who use Hermetic.

    fake_provider    FakeProvider: a root in memory, with faults on demand

Nothing here protects anything. Importing this package imports none of its modules.
"""
