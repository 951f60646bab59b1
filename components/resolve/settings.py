"""What resolve is told."""

from modelmill.settings import Section


class ResolveSettings(Section):
    """Pins whatever can change under a name: sources, and the base model."""

    sources: tuple[str, ...]
    """URIs of every source file, folder or prefix that ingest reads, each once."""
    base: str = ""
    """URI of the base model; '' for none."""
