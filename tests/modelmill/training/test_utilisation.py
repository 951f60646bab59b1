import torch

from modelmill.training import utilisation


def test_the_operations_of_a_dense_map_are_counted_forward_and_backward() -> None:
    dense = torch.nn.Linear(8, 4)
    with utilisation.counter() as counter:
        dense(torch.ones(16, 8)).sum().backward()
    # Two operations for each of 16 x 8 x 4 products, forward and for the weights' gradient; the input has none.
    assert counter.get_total_flops() == 2 * 2 * 16 * 8 * 4


def test_the_peak_is_what_a_processor_can_do() -> None:
    assert 1e8 < utilisation.peak(torch.device("cpu"), "fp32") < 1e14
