"""Which tables were accepted: the same sources are always compared with the same schema."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modelmill.accepted import accept, schema_before
from modelmill.store import open_store


@given(st.lists(st.integers(0, 5), max_size=12))
def test_sources_are_compared_with_what_was_accepted_before_they_first_were(
    tmp_path_factory: object, seen: list[int]
) -> None:
    store = open_store(str(tmp_path_factory.mktemp("accepted") / "store"))  # type: ignore[attr-defined]
    first: dict[int, str] = {}
    last = ""
    for number in seen:
        before = schema_before(store, "houses", f"sources {number}")
        assert before == first.setdefault(number, last)
        accept(store, "houses", sources=f"sources {number}", schema=f"schemas/{number}", before=before)
        # One that was there already is not added again, so that the last one stays the last.
        last = f"schemas/{list(first)[-1]}"
        assert schema_before(store, "houses", f"sources {number}") == before
    assert len(list(store.keys("accepted/houses/"))) == len(set(seen))


def test_each_recipe_has_its_own_past(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    accept(store, "houses", sources="a", schema="schemas/a", before="")

    assert schema_before(store, "houses", "b") == "schemas/a"
    assert schema_before(store, "wines", "b") == ""
