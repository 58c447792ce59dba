"""The preference encoder written straightforwardly in PyTorch."""

import time

import numpy as np
import torch

from syndigits_jax.preferences.pairs import Pairs

WIDTH = 384  # of the text vectors


class TorchModel(torch.nn.Module):
    """Equations 1 to 3 and Table 4."""

    def __init__(self, users: int):
        super().__init__()
        nn = torch.nn

        def projector():
            return nn.Sequential(
                nn.Linear(WIDTH, 256),
                nn.GELU(),
                nn.Dropout(0.1),
                nn.Linear(256, 256),
                nn.GELU(),
                nn.Dropout(0.1),
                nn.Linear(256, 128),
            )

        self.projectors = nn.ModuleList([projector() for _ in range(4)])
        self.mixtures = nn.Embedding(users, 4)
        self.logit_scale = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))

    def mixed(self, x: torch.Tensor, pi: torch.Tensor) -> torch.Tensor:
        projected = torch.stack([p(x) for p in self.projectors], dim=1)
        return torch.nn.functional.normalize((pi[:, :, None] * projected).sum(1), dim=1)

    def forward(self, user, better, worse, context):
        pi = torch.softmax(self.mixtures(user), dim=1)
        reference = torch.stack([p(context[None])[0] for p in self.projectors])
        u = torch.nn.functional.normalize(pi @ reference, dim=1)
        scale = torch.clamp(self.logit_scale.exp(), max=100.0)
        margin = (u * (self.mixed(better, pi) - self.mixed(worse, pi))).sum(1)
        return torch.nn.functional.softplus(-scale * margin).mean()


def torch_speed(pairs: Pairs, vectors, users: int, steps: int, size: int, loader: bool) -> float:
    """Pairs per second over `steps` batches, after a few to warm up."""
    torch.manual_seed(0)
    model = TorchModel(users)
    texts = torch.as_tensor(vectors)
    context = texts.mean(0)
    groups = [
        {"params": model.projectors.parameters(), "lr": 1e-4},
        {"params": model.mixtures.parameters(), "lr": 5e-3},
        {"params": [model.logit_scale], "lr": 0.1},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    rates = [1e-4, 5e-3, 0.1]
    warm = 3
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rates, total_steps=steps + warm, pct_start=0.1
    )
    columns = [torch.as_tensor(c).long() for c in (pairs.user, pairs.better, pairs.worse)]
    if loader:
        data = torch.utils.data.TensorDataset(*columns)
        batches = iter(torch.utils.data.DataLoader(data, batch_size=size, shuffle=True))
    else:
        order = torch.randperm(len(columns[0]))
        batches = (tuple(c[part] for c in columns) for part in order.split(size))
    began = 0.0
    for i in range(steps + warm):
        if i == warm:
            began = time.perf_counter()
        user, better, worse = next(batches)
        optimiser.zero_grad()
        loss = model(user, texts[better], texts[worse], context)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        loss.item()
    return steps * size / (time.perf_counter() - began)
