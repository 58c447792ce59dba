"""The search for control tokens finds what its regular expression finds."""

from hypothesis import given, settings
from hypothesis import strategies as st

from syndigits_jax.respond.prompts import control_tokens as tokens

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


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from(["|x|", "|xx|", "[/A]", "[/A", "x|y"]), min_size=1),
    st.lists(st.sampled_from([*"|x[/A]y ", "|x|", "[/A]"]), max_size=25).map("".join),
)
def test_no_token_of_a_tokenizer_survives(special, text):
    result = tokens.TokenBreaker(special)(text)
    assert not any(token in result for token in special)
    assert result.replace(" ", "") == text.replace(" ", "")
    if not any(token in text for token in special):
        assert result == text


def test_tokens_of_a_tokenizer_that_are_ordinary_text_are_left():
    for special in ([], ["word", "!", "  ", "\n\n", ""]):
        assert tokens.TokenBreaker(special)("a word!  b\n\n") == "a word!  b\n\n"
    assert tokens.TokenBreaker(["<|a|>", "^-]"])("<|a|><|a|>^-]") == "< |a| >< |a| >^ - ]"
