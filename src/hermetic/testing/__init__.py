"""Public fakes for the tests of people who use Hermetic.

    fake_provider    FakeProvider: a root in memory, with faults on demand
    codec_port       CodecPort: a port through which everything passes as bytes

Nothing here protects anything. Importing this package imports none of its modules.
"""
