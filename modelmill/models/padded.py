"""Dense maps of a number of rows that is another one in each step."""

# N rows, D width, V width of what a map returns

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

_MULTIPLE = 32


def padded(head: Callable[[Tensor], Tensor], x_ND: Tensor) -> Tensor:
    """Return what a map makes of each row [N, V], computed for a multiple of 32 rows.

    On a processor with matrix units oneDNN writes code for each new shape of a product: for the slopes of 160 rows and
    a vocabulary of 16,000 it took 20 ms, ten times the product itself, and a batch hides another number of tokens than
    the one before.
    """
    rows = len(x_ND)
    return head(F.pad(x_ND, (0, 0, 0, -rows % _MULTIPLE)))[:rows]
