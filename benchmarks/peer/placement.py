"""One persona placed by Algorithm 1 as it reads, in PyTorch."""

import numpy as np
import torch


def torch_persona(
    items: torch.Tensor, context: torch.Tensor, scale: float, r: np.ndarray, w0: np.ndarray, steps
) -> np.ndarray:
    """One persona by Algorithm 1. `items`: (p, M, d) and `context`: (p, d) projections."""
    a, b = np.nonzero(r[:, None] - r[None, :] >= 1)
    better, worse = torch.as_tensor(a), torch.as_tensor(b)
    w = torch.tensor(w0, requires_grad=True)
    adam = torch.optim.Adam([w], lr=0.01)
    for _ in range(steps):
        adam.zero_grad()
        pi = torch.softmax(w, dim=0)
        u = torch.nn.functional.normalize(pi @ context, dim=0)
        v = torch.nn.functional.normalize(torch.einsum("p,pmd->md", pi, items), dim=1)
        s = scale * (v @ u)
        loss = -torch.nn.functional.logsigmoid(s[better] - s[worse]).sum()
        loss.backward()
        adam.step()
    return w.detach().numpy()
