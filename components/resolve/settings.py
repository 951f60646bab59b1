"""What resolve is told."""

from modelmill.settings import Section


class ResolveSettings(Section):
    """Pins whatever can change under a name: sources, base model and champion, and the table accepted before."""

    sources: tuple[str, ...]
    """URIs of every source file, folder or prefix that ingest reads, each once."""
    base: str = ""
    """URI of the base model; '' for none."""
    teacher: str = ""
    """URI of the model that fine-tuning learns from beside the labels; '' for none."""
    table: str = ""
    """The recipe under whose name accepted tables are remembered; '' where it reads none."""
    registered: str = ""
    """Name of the registered model whose champion the recipe's model is judged beside; '' for none."""
    warm_start: bool = False
    """Whether training on new data starts from that champion instead of from `base`."""
