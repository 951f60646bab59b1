"""Which reasons say that a picture's file is wrong."""

BAD = frozenset(
    {
        "not_an_image",
        "truncated_image",
        "broken_image",
        "unsupported_image",
        "missing_image",
        "several_images",
        "unsafe_name",
        "not_a_file",
        "encrypted",
        "broken_member",
        "packing_bomb",
        "out_of_range",
    }
)
"""Reasons of this package that say that the file is wrong; all others say that the picture is not wanted."""
