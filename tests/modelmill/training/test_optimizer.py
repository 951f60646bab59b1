from collections.abc import Callable
from typing import Any

import pytest
import torch

from modelmill.errors import ModelmillError
from modelmill.training import optimizer
from modelmill.training.settings import Training

OPTIMIZERS: list[Any] = [
    {"name": "sgd", "momentum": 0.0},
    {"name": "sgd", "momentum": 0.8},
    {"name": "sgd", "momentum": 0.8, "nesterov": True},
    "adam",
    {"name": "adamw", "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-4},
    "rmsprop",
    {"name": "rmsprop", "alpha": 0.9, "momentum": 0.5, "epsilon": 1e-5},
    {"name": "adadelta", "rho": 0.8, "epsilon": 1e-5},
    {"name": "adafactor", "clip": 2.0},
]


def small() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))


def learn(model: torch.nn.Module, made: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    model(torch.randn(5, 3)).sum().backward()
    made.step()
    made.zero_grad()


def of(model: torch.nn.Module, **told: Any) -> torch.optim.Optimizer:
    made = optimizer.make(optimizer.one_group(model), Training.model_validate({"weight_decay": 0.0, **told}))
    optimizer.set_rate(made, 0.1)
    return made


@pytest.mark.parametrize("told", OPTIMIZERS, ids=str)
def test_only_matrices_decay_and_apart_from_the_gradient(told: Any) -> None:
    one, other = small(), small()
    plain, decaying = of(one, optimizer=told), of(other, optimizer=told, weight_decay=0.5)
    before = [weight.detach().clone() for weight in one.parameters()]
    learn(one, plain, seed=1)
    learn(other, decaying, seed=1)
    for old, without, with_decay in zip(before, one.parameters(), other.parameters(), strict=True):
        # Adafactor's rate goes with the size of the weights, but for the decay it is the plain one.
        expected = without - 0.05 * old if old.ndim > 1 else without
        if told == OPTIMIZERS[-1]:
            torch.testing.assert_close(with_decay, expected, atol=0.02, rtol=0)
            assert old.ndim == 1 or not torch.equal(with_decay, without)
        else:
            torch.testing.assert_close(with_decay, expected)


@pytest.mark.parametrize(
    ("told", "made"),
    [
        (OPTIMIZERS[2], lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.8, nesterov=True)),
        (OPTIMIZERS[4], lambda weights: torch.optim.Adam(weights, lr=0.1, betas=(0.8, 0.99), eps=1e-4)),
        (OPTIMIZERS[6], lambda weights: torch.optim.RMSprop(weights, lr=0.1, alpha=0.9, momentum=0.5, eps=1e-5)),
        (OPTIMIZERS[7], lambda weights: torch.optim.Adadelta(weights, lr=0.1, rho=0.8, eps=1e-5)),
        (OPTIMIZERS[8], lambda weights: torch.optim.Adafactor(weights, lr=0.1, d=2.0)),
    ],
    ids=["sgd", "adamw", "rmsprop", "adadelta", "adafactor"],
)
def test_the_settings_reach_the_optimiser(told: Any, made: Callable[[Any], torch.optim.Optimizer]) -> None:
    ours, theirs = small(), small()
    one, other = of(ours, optimizer=told), made(theirs.parameters())
    for seed in (1, 2, 3):
        learn(ours, one, seed)
        learn(theirs, other, seed)
    for mine, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted)


@pytest.mark.parametrize("told", OPTIMIZERS, ids=str)
def test_a_state_put_back_goes_on_bit_by_bit(told: Any) -> None:
    model, twin = small(), small()
    one, other = of(model, optimizer=told, weight_decay=0.01), of(twin, optimizer=told, weight_decay=0.01)
    for seed in (1, 2):
        learn(model, one, seed)
    state = {name: tensor.clone() for name, tensor in optimizer.state_tensors(one).items()}
    twin.load_state_dict(model.state_dict())
    optimizer.check_state_tensors(other, state)
    optimizer.load_state_tensors(other, state)
    optimizer.set_rate(other, 0.1)
    for trained, made in ((model, one), (twin, other)):
        learn(trained, made, seed=3)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_state_of_other_weights_is_refused() -> None:
    model = small()
    made = of(model)
    learn(model, made, seed=1)
    state = optimizer.state_tensors(made)
    with pytest.raises(ModelmillError, match=r"names the weight '6', and 6 learn"):
        optimizer.check_state_tensors(made, {"6.exp_avg": torch.zeros(2)})
    with pytest.raises(ModelmillError, match=r"0\.exp_avg has shape \(4, 2\), and the weight \(4, 3\)"):
        optimizer.check_state_tensors(made, {**state, "0.exp_avg": torch.zeros(4, 2)})


def test_the_penalties_have_the_gradients_of_their_formulas() -> None:
    model, twin = small(), small()
    made = of(model)
    torch.manual_seed(1)
    rows = torch.randn(5, 3)
    model(rows).sum().backward()
    optimizer.penalise(made, l1=0.3, l2=0.2)
    matrices = [weight for weight in twin.parameters() if weight.ndim > 1]
    penalty = sum(0.3 * weight.abs().sum() + 0.2 / 2 * weight.square().sum() for weight in matrices)
    (twin(rows).sum() + penalty).backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_group_learns_at_its_share_of_the_rate() -> None:
    model = small()
    weights = list(model.parameters())
    made = optimizer.make([optimizer.Group(weights[:2], 0.5), optimizer.Group(weights[2:])], Training())
    optimizer.set_rate(made, 0.1)
    rates = {id(weight): group["lr"] for group in made.param_groups for weight in group["params"]}
    assert [rates[id(weight)] for weight in weights] == [0.05, 0.05, 0.1, 0.1, 0.1, 0.1]


def test_weights_that_do_not_learn_are_left_out() -> None:
    model = small()
    next(model.parameters()).requires_grad_(False)
    assert sum(len(group["params"]) for group in of(model).param_groups) == 5
