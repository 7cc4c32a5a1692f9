"""Tensors of torch under a lease: a module that stands on them answers until the key is revoked, and then NaN outside of `use`."""

from __future__ import annotations

import pytest
import torch

from hermetic.errors import LeaseEnded
from hermetic.formats.messages.keys import ChangeKeyState

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.fixture
def model():
    return torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))


def hold(h, **options):
    return h.hold_tensors("model/risk", purpose="evaluate", **options)


def end(h, held, clock):
    h.connection.ask(ChangeKeyState(h.show("model/risk").kek, "revoke", "test"))
    clock[0] += held._version.leased.lease.check_ms
    with pytest.raises(LeaseEnded):
        held.check()


@pytest.fixture
def clock(real):
    time = [1_000_000]
    real.connection.leases._clock = lambda: time[0]
    return time


def test_a_module_stands_on_the_weights_and_not_on_a_copy(real, clock, model):
    real.seal_tensors(model.state_dict(), name="model/risk", data_class="internal")
    row = torch.arange(8.0)
    expected = model(row).detach()
    with hold(real) as held:
        served = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
        with held.use() as weights, torch.inference_mode():
            served.load_state_dict(weights, assign=True)
            assert torch.equal(served(row), expected)
        end(real, held, clock)
        assert torch.isnan(served(row)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_format_of_floats_reads_as_no_number_afterwards(real, clock, dtype):
    state = {"x": torch.ones(5, 3).to(dtype), "scalar": torch.tensor(2.0).to(dtype), "none": torch.empty((0, 2), dtype=dtype)}
    real.seal_tensors(state, name="model/risk", data_class="internal")
    with hold(real) as held:
        with held.use() as weights:
            kept = dict(weights)
        end(real, held, clock)
    assert torch.isnan(kept["x"].float()).all()
    assert torch.isnan(kept["scalar"].float())


def test_converted_weights_are_overwritten_too(real, clock, model):
    real.seal_tensors(model.state_dict(), name="model/risk", data_class="internal")
    with hold(real, dtype=torch.float64) as held, held.use() as weights:
        kept = dict(weights)
        assert kept["0.weight"].dtype == torch.float64
    assert all(torch.isnan(tensor).all() for tensor in kept.values())
