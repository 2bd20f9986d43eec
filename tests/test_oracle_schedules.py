"""Learning-rate schedules against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

from _requirements import require
from estimators.training.schedules import PER_STEP, WARM_UP, epoch_rates

torch = require("torch", "oracle")


def one_cycle(optimizer, total):
    # PyTorch counts its share of the warm-up from 1, ours is of the way from first to last step.
    share = (WARM_UP * (total - 1) + 1) / total
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=total, pct_start=share)


def cosine(optimizer, total):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total - 1)


SCHEDULERS = {"one_cycle": one_cycle, "cosine": cosine}


@pytest.mark.parametrize("total", [2, 5, 11, 100, 101, 1000])
@pytest.mark.parametrize("name", PER_STEP)
def test_rates_are_pytorchs(name, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = SCHEDULERS[name](optimizer, total)
    expected = []
    for _ in range(total - 1):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    expected.append(scheduler.get_last_lr()[0])
    whole = epoch_rates(name, 0.3, 0, total, total)
    np.testing.assert_allclose(whole, expected, rtol=1e-9, atol=1e-15)
    half = total // 2  # an epoch goes on where the one before it ended
    parts = [epoch_rates(name, 0.3, 0, half, total), epoch_rates(name, 0.3, half, 3, total)]
    np.testing.assert_array_equal(np.concatenate(parts)[:total], whole[: half + 3])
