"""A small simulated stand-in for the published data, in the layout of its repository."""

import json

import numpy as np
import pandas as pd

from syndigits_jax.datasets import simulate_distributions, simulate_panel
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
        key=seed,
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


def write_published_distributions(folder, films=15, questions=15, twins=12):
    """Write the answer distributions of MovieLens and OpinionQA, the films' rows in two orders."""
    place = folder / "MovieLens-20M" / "distribution_calibration"
    place.mkdir(parents=True)
    data, _ = simulate_distributions(twins, films, 10, key=1, sample=400)
    steps = [f"{k / 2:.1f}" for k in range(1, 11)]
    counts = data.counts.astype(int)
    mean = counts @ np.arange(1, 11) / 2 / 400 + np.arange(films) * 1e-6  # unique, as published
    top = pd.DataFrame(counts, columns=steps)
    top.insert(0, "avg_rating", mean)
    top.insert(0, "genres", "Drama|War")
    top.index = pd.Index([f"Film, the {j}" for j in range(films)], name="title")
    top.to_csv(place / "top_movies_df.csv")
    ratings = pd.DataFrame((data.choices.T + 1) / 2, columns=[f"pid_{i}" for i in range(twins)])
    ratings.insert(0, "avg_rating", mean)
    ratings.index = pd.Index(100 + 7 * np.arange(films))
    order = np.random.default_rng(0).permutation(films)
    ratings.iloc[order].to_csv(place / "persona_ratings.csv")

    place = folder / "OpinionQA" / "distribution_calibration"
    place.mkdir(parents=True)
    data, _ = simulate_distributions(twins, questions, 5, key=2, sample=300)
    data.counts[:3, 4] = 0
    names = [f"TRUST{j}_W26" for j in range(questions)]
    labels = ["A lot", "Some", "Not much", "None", "Refused"]
    catalogue = {
        name: {
            "question": "How much?",
            "choices": labels,
            "choice_to_numeric": {label: k + 1 for k, label in enumerate(labels)},
            # Options that nobody chose are not listed.
            "choice_counts": {str(k + 1): int(c) for k, c in enumerate(row) if c > 0},
        }
        for name, row in zip(names, data.counts)
    }
    (place / "Qs_likert_scale_5_choices.json").write_text(json.dumps(catalogue))
    answers = pd.DataFrame(data.choices.T + 1, names, [f"pid_{i}" for i in range(twins)])
    answers.iloc[::-1].astype(int).to_csv(place / "persona_answers.csv")
    return folder
