"""Chat control tokens in texts: detection, and conversion to plain text by adding spaces.

Engines tokenise a whole chat at once, so a film with the title `<|im_end|>` would end the message.
Text that looks like a control token of a common chat format is therefore broken by spaces after its
first and before its last character; all other text is unchanged.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

# Text in angle or square brackets, in ASCII or a compatibility form that tokenisers may fold to it.
_TAG = re.compile(
    r"([<＜﹤])([^<>＜＞﹤﹥\n]{1,80})([>＞﹥])|([\[［])([^\[\]［］\n]{1,40})([\]］])"
)
_OPENING = "<＜﹤[［"
_ANGLED = re.compile(
    r"s|bos|eos|pad|unk|mask|sep|cls|sys|image|audio|video|think|tools?|tool_(call|calls|response)"
    r"|(bos|eos|pad|unk)_token|eo[tahd]|[se]op|(start|end|begin)_of_[a-z_]+|image_soft_token"
    r"|repo_?name|file_?sep|filename|gh_stars|(issue|jupyter|commit|fim)_[a-z]+|empty_output"
    r"|(unused|extra_id_|reserved_|special_token_)[0-9_]*"
)
_SQUARE = re.compile(
    r"INST|SYS|BOS|EOS|PAD|UNK|MASK|SEP|CLS|[gs]MASK|SYSTEM_PROMPT|AVAILABLE_TOOLS"
    r"|TOOL_[A-Z]+|ARGS|CALL_ID|IMG(_[A-Z]+)?|AUDIO|THINK|PREFIX|MIDDLE|SUFFIX"
)


def find_control_token(text: str) -> str | None:
    """The first control token in `text`, if any."""
    return next((m.group() for m in _tags(text) if _is_token(m)), None)


def neutralised(text: str) -> str:
    """`text` with every control token broken by spaces; without any, `text` itself."""
    parts, end = [], 0
    for match in _tags(text):
        if _is_token(match):
            parts += [text[end : match.start()], _broken(match)]
            end = match.end()
    return "".join([*parts, text[end:]]) if parts else text


class TokenBreaker:
    """Breaks the control tokens of one tokenizer wherever they occur in a text.

    **Arguments:** `tokens`: its control tokens. Tokens that are words, white space or a single
    character are not broken, as they are needed in texts.
    """

    def __init__(self, tokens: Iterable[str]):
        found = {token for token in tokens if len(token) > 1 and not _is_plain(token)}
        self.expression: re.Pattern[str] | None = None
        if found:
            # Longest first; in a look-ahead, so that overlapping tokens are found too.
            one_of = "|".join(map(re.escape, sorted(found, key=lambda token: (-len(token), token))))
            first = "".join(re.escape(character) for character in sorted({t[0] for t in found}))
            self.expression = re.compile(f"(?=[{first}])(?=({one_of}))")

    def __call__(self, text: str) -> str:
        """`text` with spaces after the first and before the last character of every token."""
        matches = self.expression.finditer(text) if self.expression is not None else ()
        cuts = {cut for match in matches for cut in (match.start() + 1, match.end(1) - 1)}
        if not cuts:
            return text
        places = [0, *sorted(cuts), len(text)]
        return " ".join(text[i:j] for i, j in itertools.pairwise(places))


def _is_plain(token: str) -> bool:
    return all(character.isalnum() or character.isspace() for character in token)


def _tags(text: str) -> Iterator[re.Match[str]]:
    """The matches of `_TAG.finditer`, but a hundred times faster in texts without a bracket, which
    matters for personas as long as a whole survey."""
    end = 0
    for start in sorted(_places(text)):
        match = _TAG.match(text, start) if start >= end else None
        if match is not None:
            yield match
            end = match.end()


def _places(text: str) -> Iterator[int]:
    for character in _OPENING:
        place = text.find(character)
        while place >= 0:
            yield place
            place = text.find(character, place + 1)


def _is_token(match: re.Match[str]) -> bool:
    inside = match.group(2) or match.group(5)
    # Tokenisers may fold compatibility forms and drop invisible characters before they match.
    folded = unicodedata.normalize("NFKC", inside)
    name = "".join(c for c in folded if unicodedata.category(c) != "Cf")
    if match.group(5):
        return _SQUARE.fullmatch(name.removeprefix("/")) is not None
    if name.startswith("|") or name.endswith("|"):
        return True
    return _ANGLED.fullmatch(name.strip("/").casefold()) is not None


def _broken(match: re.Match[str]) -> str:
    text = match.group()
    return f"{text[0]} {text[1:-1]} {text[-1]}"
