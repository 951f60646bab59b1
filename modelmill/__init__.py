"""The library that every step shares and that knows no stage."""

__version__ = "0.1.0"
