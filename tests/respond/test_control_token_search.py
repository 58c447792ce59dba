"""The search for control tokens finds what its regular expression finds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from syndigits_jax.respond import _control_tokens as tokens

pieces = st.sampled_from(
    [
        "<",
        ">",
        "[",
        "]",
        "＜",
        "＞",
        "﹤",
        "［",
        "］",
        "|",
        "/",
        "s",
        "INST",
        "im_end",
        "eos",
        " ",
        "\n",
        "é",
    ]
)


@settings(max_examples=50)
@given(st.lists(pieces, max_size=25).map("".join))
def test_search_finds_what_the_expression_finds(text):
    assert [m.span() for m in tokens._tags(text)] == [m.span() for m in tokens._TAG.finditer(text)]
    expected = tokens._TAG.sub(
        lambda m: tokens._broken(m) if tokens._is_token(m) else m.group(), text
    )
    assert tokens.neutralised(text) == expected
