"""Words and quantities as Kubernetes writes them, each with the message that a person gets for a wrong one."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from modelmill.errors import without_credentials

_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHOWN = 80


@dataclass(frozen=True)
class Written:
    """Marks a text that is written in one form; the message for another one says the form in words."""

    pattern: str
    """Regular expression of the whole text."""
    wanted: str
    """The form, in words."""

    def check(self, text: str) -> str:
        """Return the text.

        Raises:
            ValueError: it is not of the form.
        """
        if re.fullmatch(self.pattern, text) is None:
            shown = without_credentials(text)
            raise ValueError(f"wants {self.wanted}" + (f", got {shown!r}" if len(shown) <= _SHOWN else ""))
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check after pydantic has: see there."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Tell editors of the form: see pydantic."""
        return {**handler(schema), "pattern": f"^({self.pattern})$"}


# RFC 1123 names, and labels and resources as Kubernetes' API wants them.
Label = Annotated[
    str, Written(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a name of lower-case letters, digits and '-', 63 at most")
]
Name = Annotated[
    str,
    Written(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "a name of lower-case letters, digits, '-' and '.'"),
]
Key = Annotated[str, Written(r"[-._a-zA-Z0-9]{1,253}", "the name of a key, of letters, digits, '-', '_' and '.'")]
"""Of a Secret or a ConfigMap."""
LabelName = Annotated[
    str,
    Written(
        r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
        "the name of a label, such as nvidia.com/gpu.product",
    ),
]
LabelValue = Annotated[
    str,
    Written(
        r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?",
        "the value of a label: letters, digits, '-', '_' and '.', 63 at most",
    ),
]
Resource = Annotated[
    str,
    Written(
        r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?",
        "a resource of Kubernetes, such as nvidia.com/gpu",
    ),
]
Variable = Annotated[
    str, Written(r"[A-Za-z_][A-Za-z0-9_]*", "the name of an environment variable, such as AWS_DEFAULT_REGION")
]
Value = Annotated[str, Written(r"((?!\{\{)[\s\S])*", "a text without '{{', which Argo Workflows would replace")]
"""Of an environment variable that is no secret."""
Quantity = Annotated[
    str, Written(r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?", "bytes as Kubernetes writes them, such as 512Mi or 80Gi")
]
"""Bytes, as Kubernetes writes them: `512Mi`, `80Gi`."""
Cores = Annotated[
    str, Written(r"[0-9]+(\.[0-9]+)?|[0-9]+m", "cores as Kubernetes writes them, such as '4', '0.5' or 500m")
]
"""Processor cores, as Kubernetes writes them: `4`, `0.5`, `500m`."""
Duration = Annotated[str, Written(r"[1-9][0-9]*[smhd]", "a time, such as 90s, 30m, 12h or 2d")]
"""A time: `90s`, `30m`, `12h`, `2d`."""


def bytes_of(quantity: str) -> int:
    """Return the bytes of a quantity as Kubernetes writes it: `1.5Gi` is 1,610,612,736."""
    found = re.match(r"^([0-9.]+)([A-Za-z]*)$", quantity)
    assert found is not None, quantity
    return int(float(found[1]) * _BYTES[found[2]])


def seconds_of(duration: str) -> int:
    """Return the seconds of a duration: `12h` is 43,200."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]
