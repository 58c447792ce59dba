"""A small simulated stand-in for the published data, in the layout of its repository."""

import numpy as np

from syndigits_jax.datasets import simulate_panel
from syndigits_jax.schema import Scale

DEFAULT = "Text Persona - GPT4.1-mini"
OTHER = "JSON Persona - GPT4.1"


def write_published(folder, users=24, questions=10):
    """Write MovieLens with in-context twins and two constructions of Twin-2K-500."""
    films = folder / "MovieLens-20M" / "synthetic_control"
    survey = folder / "2K500" / "synthetic_control"
    places = [
        (films, "userId", 1),
        (survey / DEFAULT, "TWIN_ID", 2),
        (survey / OTHER, "TWIN_ID", 3),
    ]
    for place, key, seed in places:
        human, twin = frames(seed, users, questions)
        place.mkdir(parents=True)
        human.to_csv(place / "real.csv", index_label=key)
        twin.to_csv(place / "LLM.csv", index_label=key)
        if place == films:
            noise = np.random.default_rng(0).normal(size=human.shape)
            close = (twin.to_numpy() + human.fillna(3.0).to_numpy()) / 2 + 0.2 * noise
            twin = twin.assign(**{name: close[:, j] for j, name in enumerate(twin.columns)})
            twin.clip(0.5, 5.0).to_csv(
                place / "LLM_in_context_other_ratings_full.csv", index_label=key
            )
    return folder


def frames(seed, users, questions, missing=0.1):
    """A simulated panel as data frames with identifiers that are not positions."""
    panel, _ = simulate_panel(
        seed,
        n=users,
        m=questions,
        rank=2,
        question_mean=3.0,
        question_spread=0.4,
        noise=0.4,
        twin_noise=0.3,
        missing=missing,
        scale=Scale(1.0, 5.0, 1.0),
    )
    panel = panel.replace(
        users=[str(100 + 7 * i) for i in range(users)],
        questions=[f"Q{j + 1}" for j in range(questions)],
    )
    return panel.to_frames()
