"""The requests to the real engines."""

from syndigits_jax.respond.requests import Message, Request

PERSONA = (
    "You are a person who answers a survey. You are 46 years old, live in a small town, work as a "
    "nurse, read two newspapers a day, and have bought nothing on credit in your life. "
)
LABELS = ("Very dissatisfied", "Dissatisfied", "Satisfied", "Very satisfied")
DIGITS = ("1", "2", "3", "4", "5")
TEN = tuple(str(value) for value in range(1, 11))
THINGS = ("a radio", "a tent", "a kettle", "a red bicycle", "a lamp", "a novel", "a train", "soup")


def chat(thing, persona=PERSONA, answers=DIGITS):
    return (
        Message("system", persona),
        Message(
            "user",
            f"How satisfied are you with {thing}? Answer with one of: {', '.join(answers)}.",
        ),
    )


def rating(thing, readout="probabilities", answers=DIGITS, **rest):
    persona = rest.pop("persona", PERSONA)
    if readout == "sample":
        rest = {"temperature": 1.0} | rest
    return Request(chat(thing, persona, answers), readout, tuple(answers), **rest)


def workload(things=THINGS):
    """All four read-outs, of answers of one token and of several."""
    requests = []
    for number, thing in enumerate(things):
        for answers in (DIGITS, TEN, LABELS):
            requests += [
                rating(thing, answers=answers),
                rating(thing, "choice", answers=answers),
                rating(thing, "sample", answers=answers, seed=number),
            ]
        requests.append(Request(chat(thing), "text", max_tokens=12))
    return requests
