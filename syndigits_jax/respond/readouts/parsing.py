"""Free text to answers: a number, an option's label or a letter; a refusal; or neither.

A number that is not an admissible answer is never rounded to the nearest one, and a text with two
different answers counts as unparsed.

Longer than 400 lines: one function, its rules and an example.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...schema import Question
from ..prompts.render import Prompt

STATUSES = ("answered", "refused", "unparsed", "empty")
_SAME = 1e-9


@dataclass(frozen=True)
class Parsed:
    """Result of [`parse`][]. `value`: the answer's number, NaN if there is none. `status`: one of
    [`STATUSES`][]."""

    value: float
    status: str


_EMPTY = Parsed(math.nan, "empty")
_REFUSED = Parsed(math.nan, "refused")
_UNPARSED = Parsed(math.nan, "unparsed")

# Whole numbers and decimals, with point or comma, thousands in groups; not a part of a word or of a
# longer sequence (10.5 and 1-2-3 are recognised, 1.2.3 is not).
_NUMBER = (
    r"(?<![\w.,])[-+−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?)"
    r"(?!\w|[.,]\d|\s*(?:hundred|thousand|[mb]illion|trillion|dozen)\b)"
)
_NUMBERS = re.compile(_NUMBER)
_FRACTION = re.compile(
    rf"({_NUMBER})\s*(?:stars?\s*|points?\s*)?(?:/|out\s+of\b|of\b)\s*({_NUMBER})", re.I
)
_RANGE = re.compile(rf"({_NUMBER})\s*(?:-|–|—|\bto\b|\band\b|\bthrough\b)\s*({_NUMBER})", re.I)
_POINTS = re.compile(r"\b\d+[- ](?:point|star)s?\s+(?:rating\s+|likert\s+)?(?:scale|system)", re.I)
_YEAR = re.compile(r"(?<![\w.,])(?:18|19|20)\d\d(?!\w|[.,]\d)")
_OTHER = r"[^\w\n]*(?:(?:or|to|and|through|maybe|perhaps|possibly)\b[^\w\n]*)*"
# A number at the beginning of the text that stands alone: not "3 or 4", "3-4", "3 films".
_LONE = re.compile(
    rf"\W*?({_NUMBER})(?!{_OTHER}\d)(?!\s*\+|-(?!stars?\b|points?\b)[^\W\d_])"
    r"(?=\s*(?P<end>\n|$)|\s*[^\w\s]|\s+(?:stars?|points?|percent|because|since|as|for)\b)",
    re.I,
)
_LIST = re.compile(r"^\s*(\d+)[.)]\s", re.M)
_WORDS: tuple[str, ...] = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
)  # fmt: skip
_WORD = re.compile(
    rf"\W*({'|'.join(_WORDS)})(?P<half>\s+and\s+a\s+half)?(?:\s+(?:stars?|points?))?"
    rf"(?:\s+out\s+of\s+(?P<of>{'|'.join(_WORDS)}))?\W*",
    re.I,
)
_LETTERS = re.compile(
    r"\((\w)\)|\b([A-Z])\)"
    r"|(?i:\b(?:option|choice|answer|choose|pick|select|is):?) \(?([A-Z])\b(?!')"
)
_BULLET = re.compile(r"^\s*[-–—]\s+")
_NEGATED = re.compile(r"(?:\b(?:not|never|no|neither|nor|than|hardly)|n't)\s+(?:\w+\s+)?$")

# Words before a number which show that it is not the answer.
_COMPARED = re.compile(
    r"(?:\b(?:not|never|no|neither|nor|cannot|hardly|without|than|but|except|besides|below|above"
    r"|under|over|beyond|at least|at most|up to|instead of)|n't)\s+"
    r"(?:[\w'\"“‘(]+\s+){0,5}[\"'“‘($]*$",
    re.I,
)
_BUT = re.compile(r"\b(?<!anything )(?<!everything )(?<!nothing )(?<!all )but\b", re.I)
_COMPARED_AFTER = re.compile(
    r"\s*\+|\s+(?:or|and)\s+(?:more|less|fewer|higher|lower|above|below|over|under|up)\b", re.I
)
_BEFORE = 80  # characters before a number that are searched
# Words that may directly follow an answer; any other word is what the number counts.
_COUNTED = re.compile(
    r"(?:[ \t]+|-)(?!(?:stars?|points?|percent|per|out|of|because|since|as|for|on|in|at|to|by|from"
    r"|with|and|but|so|or|if|when|while|where|which|who|that|than|then|though|although|however"
    r"|given|based|due|is|was|are|would|will|seems?|feels?|fits?|sounds?|overall|here|too|also"
    r"|rather|even|again|really|actually|personally|probably|maybe|perhaps|please|this|these|the"
    r"|it|its|i|my|me|we|he|she|they|you|there|simply|just|mainly|mostly|considering|despite"
    r"|without|after|before|right|now|[a-z]+ly)\b)([^\W\d_]+)",
    re.I,
)

_CANNOT = (
    r"(?: ?can(?:no|')t| can not| could(?: not|n't)|(?: am|'m) (?:un|not )able to| will not| won't"
    r"| do(?: not|n't) (?:want|wish) to| (?:must )?decline to| refuse to"
    r"|(?: am|'m) not comfortable| would rather not)"
)
_TO_ANSWER = (
    r" (?:\w+ )?(?:answer|respond|reply|provid|rat[ei]|predict|determin|assist|compl[yi]|fulfil"
    r"|choos|select|simulat|impersonat|role|engag|participat|offer|generat|creat|writ|shar|disclos"
    r"|do (?:that|this)|continu|help (?:you|with)|giv(?:e|ing) (?:you )?(?:an?|my) (?:personal )?"
    r"(?:answer|rating|opinion|number|response)|say\s*(?:[.;!\n]|$))"
)
_REFUSALS = re.compile(
    rf"\bI{_CANNOT}{_TO_ANSWER}"
    r"|\bas an? (?:AI|artificial intelligence|(?:large )?language model)\b"
    r"|\bI(?:'m| am) (?:just |only )?an? (?:AI|(?:large )?language model)\b"
    r"|\b(?:prefer|rather) not (?:to )?(?:answer|say|respond|disclose|share)"
    r"|\bI do(?:n't| not) have (?:any )?(?:personal )?(?:opinion|preference|feeling|belief)"
    r"|^\W*(?:I(?:'m| am) sorry|sorry|I apologi[sz]e)\b.*\b(?:cannot|can't|unable|not able)\b"
    r"|^\W*(?:I )?(?:do(?:n't| not) know|refused?|no answer|no comment|unknown|unsure|not sure"
    r"|decline(?:d)?(?: to (?:answer|say))?)\W*$"
    r"|^\W*I (?:do(?:n't| not) know|(?:can't|cannot))\s*(?:[.!?;\n]|$)"
    r"|^\W*I cannot\b(?! (?:wait|help|stop|recommend|praise|get enough|say|give|imagine))",
    re.I,
)


def parse(text: str, question: Question, prompt: Prompt, answer_with: str) -> Parsed:
    """The answer in a free text.

    Rules, in this order:

    1. Only white space is `"empty"`.
    2. Only the text after the prompt's marker, or after the last "Answer:", is read. If the prompt
       has a marker and the text does not (it was cut off, for example), the text is only accepted
       if it consists of an answer and nothing else.
    3. An answer alone, or at the beginning of the text, is accepted.
    4. A text with a refusal ("As an AI", "I prefer not to answer") is `"refused"`.
    5. The only answer anywhere in the text is accepted, unless it is negated, a bound ("less than
       5") or counts something ("2 children").
    6. Any other text is `"unparsed"`.

    An answer that is the refusal's code or label is `"refused"`.

    **Arguments:**

    - `text`: the model's reply.
    - `question`: the question asked, for its options, scale and item.
    - `prompt`: the prompt sent, for its answers, values, marker and scale.
    - `answer_with`: `"value"`: answers are numbers (`4`, `4/5`, `**4**`, `3,5`, `4 out of 5`,
      `four`) among the prompt's values, or on its scale if it lists none; repeated scales ("from 1
      to 5"), the item's title and years are ignored. `"letter"`: `B`, `(b)`, `B) Somewhat safe`.
      `"label"`: the options' labels, which the other two accept as well; labels of two or more
      words are also found within the text. `"text"`: any text except an evident refusal is
      `"answered"`, without a value.

    **Returns:** a [`Parsed`][]. No text raises an error.

    **Example:**

        >>> from syndigits_jax.respond import find_template, parse, render
        >>> from syndigits_jax.schema import Option, Persona, Question
        >>> question = Question("q1", "Is it safe?", (Option(1, "Yes"), Option(2, "Not at all")))
        >>> template = find_template("survey")
        >>> prompt = render(template, Persona("p1", "A nurse."), question)
        >>> print(parse("2 = Not at all", question, prompt, template.answer_with))
        Parsed(value=2.0, status='answered')
    """
    plain = _plain(text)
    if not plain.strip():
        return _EMPTY if not text.strip() else _UNPARSED
    if answer_with == "text":
        start = plain.strip()[:200]
        found = _REFUSALS.search(start)
        return _REFUSED if found and found.start() < 40 else Parsed(math.nan, "answered")
    reader = _Reader(question, prompt, answer_with)
    marker = re.escape(_plain(prompt.marker).strip() or "Answer:")
    ends = [match.end() for match in re.finditer(marker, plain, re.I)]
    if ends:
        return reader.read(plain[ends[-1] :].lstrip(" :\t\n\r"))
    if prompt.marker:
        return reader.alone(plain) or (_REFUSED if _REFUSALS.search(plain) else _UNPARSED)
    return reader.read(plain)


class _Reader:
    """Reads answers to one question, as shown by one prompt."""

    def __init__(self, question: Question, prompt: Prompt, answer_with: str):
        self.question, self.prompt, self.answer_with = question, prompt, answer_with
        self.labels = [(_folded(o.label), float(o.value)) for o in question.options]
        self.labels = [(label, value) for label, value in self.labels if label]
        scale = prompt.scale or question.scale
        values = [*prompt.values, *([scale.low, scale.high] if scale is not None else [])]
        self.low, self.high = (min(values), max(values)) if values else (-math.inf, math.inf)
        proper = [v for v in values if v != question.refusal]
        self.ends = {(self.low, self.high)}
        if proper:
            self.ends.add((min(proper), max(proper)))
        self.scale = scale

    def read(self, text: str) -> Parsed:
        """An answer alone or in front; or else a refusal; or else the only answer anywhere."""
        found = self.alone(text) or self.in_front(text)
        if found is None and _REFUSALS.search(text):
            return _REFUSED
        return found or self.anywhere(text) or _UNPARSED

    def alone(self, text: str) -> Parsed | None:
        """The answer if `text` consists of it."""
        bare = _folded(_BULLET.sub("", text))
        by_label = self._label(bare)
        if self.answer_with == "label":
            return by_label
        if self.answer_with == "letter":
            letters = dict(zip(map(str.casefold, self.prompt.answers), self.prompt.values))
            return self._answer(letters[bare]) if bare in letters else by_label
        match = _NUMBERS.fullmatch(bare)
        if match and (not by_label or self._admits(_number(bare))):
            return self._of_number(_number(bare))
        if by_label:
            return by_label
        match = _NUMBERS.match(bare)
        shown = self._label(_folded(bare[match.end() :])) if match else None
        if match and shown:  # an option as shown in the prompt: "1 = $10"
            return shown if shown == self._of_number(_number(match.group())) else _UNPARSED
        cleaned = self._without_fractions(text)
        if cleaned is None:
            return _UNPARSED
        match = _NUMBERS.fullmatch(re.sub(r"\s*(?:stars?|points?|%|★|⭐)$", "", _folded(cleaned)))
        if match:
            return self._of_number(_number(match.group()))
        return self._of_word(text)

    def in_front(self, text: str) -> Parsed | None:
        """The answer at the beginning of `text`, if it stands alone there."""
        if self.answer_with == "letter":
            match = re.match(r"\W*([A-Za-z])(?:\s*[).:,;\]—–]|\s+-|\s*\n)(.*)", text, re.S)
            if match and not re.match(r"\W*(?:(?:or|and)\b)?\W*[A-Z]\b(?!')", match.group(2)):
                letters = dict(zip(self.prompt.answers, self.prompt.values))
                letter = match.group(1).upper()
                return self._answer(letters[letter]) if letter in letters else None
        if self.answer_with == "value":
            cleaned = self._without_fractions(self._without_echoes(text))
            match = None if cleaned is None else _LONE.match(cleaned)
            if cleaned is not None and match and not _opens_list(cleaned, match):
                return self._of_number(_number(match.group(1)))
        # Longer labels first, so that "Yes" is not found in "Yes, always".
        for label, value in sorted(self.labels, key=lambda one: -len(one[0])):
            words = r"\s+".join(map(re.escape, label.split()))
            alone = r"(?![^\w\n]*(?:or|to|and|/)\b)(?=\s*(?:[^\w\s/]|\n|$))"
            if re.match(rf"\W*{words}{alone}", text.casefold()):
                return self._answer(value) if self._label(label) else None
        return None

    def anywhere(self, text: str) -> Parsed | None:
        """The only answer in `text`."""
        if self.answer_with == "letter":
            found = _LETTERS.findall(text)
            letters = {"".join(groups).upper() for groups in found} & set(self.prompt.answers)
            if letters:
                values = dict(zip(self.prompt.answers, self.prompt.values))
                return self._answer(values[letters.pop()]) if len(letters) == 1 else None
        if self.answer_with == "value":
            cleaned = self._without_fractions(self._without_echoes(text))
            if cleaned is None:
                return None
            numbers = {_number(found) for found in _NUMBERS.findall(cleaned)}
            if len(numbers) == 1:
                found = _NUMBERS.finditer(cleaned)
                if any(self._is_something_else(cleaned, match) for match in found):
                    return None
                return self._of_number(numbers.pop())
            if numbers:
                return None
        return self._label_within(_folded(self._without_item(text)))

    def _is_something_else(self, text: str, number: re.Match[str]) -> bool:
        """Whether a number is negated, a bound, or counts something."""
        before = text[max(0, number.start() - _BEFORE) : number.start()]
        if _COMPARED.search(_BUT.sub(",", before)):
            return True
        if _COMPARED_AFTER.match(text, number.end()):
            return True
        word = _COUNTED.match(text, number.end())
        if word is None:
            return False
        rest = _folded(text[word.start(1) : word.start(1) + 200])
        if any(rest.startswith(label) for label, _ in self.labels):
            return False  # an option as shown in the prompt
        # Asked how many countries, "54 countries" is an answer.
        counted = rf"\b{re.escape(word[1].rstrip('s'))}"
        return bool(self.labels) or not re.search(counted, self.question.text, re.I)

    def _label_within(self, text: str) -> Parsed | None:
        found = set()
        # Longer labels first, so that "agree" is not found in "agree strongly".
        for label, value in sorted(self.labels, key=lambda one: -len(one[0])):
            pattern = rf"(?<!\w){re.escape(label)}(?!\w)"
            for match in re.finditer(pattern, text):
                if " " not in label or _NEGATED.search(text[: match.start()]):
                    return None  # ambiguous: "some people", "not very safe"
                found.add(value)
            text = re.sub(pattern, "|", text)
        return self._answer(found.pop()) if len(found) == 1 else None

    def _label(self, text: str) -> Parsed | None:
        values = {value for label, value in self.labels if label == text}
        return self._answer(values.pop()) if len(values) == 1 else None

    def _answer(self, value: float) -> Parsed:
        return _REFUSED if value == self.question.refusal else Parsed(float(value), "answered")

    def _of_number(self, number: float) -> Parsed:
        refusal = self.question.refusal
        if refusal is not None and abs(number - refusal) < _SAME:
            return _REFUSED
        if not self._admits(number):
            return _UNPARSED
        # The exact value of the option, not its decimal representation.
        near = [value for value in self.prompt.values if abs(value - number) < _SAME]
        return Parsed(float(near[0] if near else number), "answered")

    def _of_word(self, text: str) -> Parsed | None:
        match = _WORD.fullmatch(text)
        if match is None:
            return None
        if match["of"] and _WORDS.index(match["of"].lower()) not in self._tops():
            return _UNPARSED
        return self._of_number(_WORDS.index(match[1].lower()) + (0.5 if match["half"] else 0.0))

    def _admits(self, number: float) -> bool:
        if not math.isfinite(number):
            return False
        if self.prompt.answers:
            return any(abs(value - number) < _SAME for value in self.prompt.values)
        scale = self.scale
        if scale is None:
            return True
        if not scale.low - _SAME <= number <= scale.high + _SAME:
            return False
        if scale.step is None:
            return True
        steps = (number - scale.low) / scale.step
        return abs(steps - round(steps)) < 1e-6

    def _tops(self) -> set[float]:
        return {high for _, high in self.ends}

    def _without_fractions(self, text: str) -> str | None:
        """The text with `4/5` and `4 out of 5` as `4`; `None` if a denominator is not the top of
        the scale."""
        strange = False

        def numerator(match: re.Match[str]) -> str:
            nonlocal strange
            strange |= not _among(_number(match[2]), self._tops())
            return match[1]

        text = _FRACTION.sub(numerator, text)
        return None if strange else text

    def _without_echoes(self, text: str) -> str:
        """The text without the item's title, years, and the ends of the scale."""
        text = self._without_item(text)
        text = _POINTS.sub(" ", text)
        text = _RANGE.sub(
            lambda m: (
                " "
                if any(
                    _among(_number(m[1]), [a]) and _among(_number(m[2]), [b]) for a, b in self.ends
                )
                else m[0]
            ),
            text,
        )
        return text if self.high >= 1800 else re.sub(rf"\(?{_YEAR.pattern}\)?", " ", text)

    def _without_item(self, text: str) -> str:
        title = str(self.question.item.get("title", "")).strip()
        bare = re.sub(r"\s*\(\d{4}\)$", "", title)
        for name in (title, bare):
            # A title such as "10" cannot be distinguished from an answer.
            if re.search(r"[^\W\d_]", name):
                text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text, flags=re.I)
        return text


def _plain(text: str) -> str:
    """The text without reasoning and mark-up, with plain quotes and fractions."""
    text = text.rpartition("</think>")[2]
    text = text.partition("<think>")[0]  # cut off within the reasoning
    text = re.sub(r"\\boxed\{([^{}]*)\}", r"\nAnswer: \1\n", text)
    text = text.replace("’", "'").replace("½", " 1/2")
    text = re.sub(r"(\d)\s+1/2\b", r"\1.5", text)
    text = re.sub(r"(?<!\d)\s1/2\b", " 0.5", text)
    return re.sub(r"[*`]+|(?<!\w)_+|_+(?!\w)|^#+\s", "", text, flags=re.M)


def _folded(text: str) -> str:
    """The text in one line and lower case, without surrounding quotes and punctuation."""
    return " ".join(text.split()).casefold().strip(" .,;:!?\"'“”‘()[]{}<>|=~#&•·\\")


def _number(text: str) -> float:
    text = text.replace("−", "-")
    if re.search(r",\d{3}(?!\d)", text) and not re.search(r",(?!\d{3}(?!\d))", text):
        return float(text.replace(",", ""))
    return float(text.replace(",", "."))


def _among(number: float, values: Iterable[float]) -> bool:
    return any(abs(number - value) < _SAME for value in values)


def _opens_list(text: str, first: re.Match[str]) -> bool:
    """Whether the number is the first of a numbered list, not an answer."""
    if first["end"] is not None:
        return False
    return len(set(_LIST.findall(text))) > 1
