import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training import optimizer


@given(steps=st.integers(1, 500), warmup=st.floats(0, 0.99))
def test_the_rate_rises_then_falls_in_straight_lines_and_is_never_zero(steps: int, warmup: float) -> None:
    rates = [optimizer.rate(step, steps, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert abs(top - warmup * steps) <= 1


def test_the_rate_has_the_values_of_the_formula() -> None:
    assert [optimizer.rate(step, 4, 0.0) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert [optimizer.rate(step, 8, 0.5) for step in range(8)] == [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25]


def small() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 1))


def learn(model: torch.nn.Module, made: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    model(torch.randn(5, 3)).sum().backward()
    made.step()
    made.zero_grad()


def test_only_matrices_decay() -> None:
    model = small()
    made = optimizer.adamw(model, weight_decay=0.5)
    optimizer.set_rate(made, 0.1)
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    before = [weight.detach().clone() for weight in model.parameters()]
    made.step()
    for old, new in zip(before, model.parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old * 0.95 if old.ndim > 1 else old)


def test_a_state_put_back_goes_on_bit_by_bit() -> None:
    model, twin = small(), small()
    one, other = optimizer.adamw(model, 0.01), optimizer.adamw(twin, 0.01)
    optimizer.set_rate(one, 0.1)
    learn(model, one, seed=1)
    state = {name: tensor.clone() for name, tensor in optimizer.state_tensors(one).items()}
    twin.load_state_dict(model.state_dict())
    optimizer.load_state_tensors(other, state)
    optimizer.set_rate(other, 0.1)
    for trained, made in ((model, one), (twin, other)):
        learn(trained, made, seed=2)
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_that_do_not_learn_are_left_out() -> None:
    model = small()
    next(model.parameters()).requires_grad_(False)
    made = optimizer.adamw(model, 0.01)
    assert sum(len(group["params"]) for group in made.param_groups) == 5


@pytest.mark.parametrize("steps", [1, 2])
def test_even_the_shortest_training_learns(steps: int) -> None:
    assert optimizer.rate(steps - 1, steps, 0.1) > 0
