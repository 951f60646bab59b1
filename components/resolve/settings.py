"""What resolve is told."""

from modelmill.settings import Section


class ResolveSettings(Section):
    """Pins whatever can change under a name: sources, the base model, and the table that was accepted before."""

    sources: tuple[str, ...]
    """URIs of every source file, folder or prefix that ingest reads, each once."""
    base: str = ""
    """URI of the base model; '' for none."""
    teacher: str = ""
    """URI of the model that fine-tuning learns from beside the labels; '' for none."""
    table: str = ""
    """The recipe under whose name accepted tables are remembered; '' where it reads none."""
