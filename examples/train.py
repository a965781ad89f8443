"""Trains a tiny model on an export in the format ``numpy``, on CPUs: ``python train.py FOLDER``, where parts are."""

import sys
from pathlib import Path

import numpy as np
import torch

torch.manual_seed(0)
LENGTH, BATCH, WIDTH = 64, 32, 64
tokens = torch.from_numpy(np.concatenate([np.fromfile(p, np.uint16) for p in sorted(Path(sys.argv[1]).glob("*.bin"))]))
rows = tokens[: len(tokens) // (LENGTH + 1) * (LENGTH + 1)].long().view(-1, LENGTH + 1)
vocabulary = int(rows.max()) + 1
embed, read = torch.nn.Embedding(vocabulary, WIDTH), torch.nn.GRU(WIDTH, WIDTH, batch_first=True)
head = torch.nn.Linear(WIDTH, vocabulary)
parameters = [weight for part in (embed, read, head) for weight in part.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=3e-3)
for step, batch in enumerate(torch.utils.data.DataLoader(rows, BATCH, shuffle=True, drop_last=True)):
    logits = head(read(embed(batch[:, :-1]))[0])
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0:
        print(f"step {step}: loss {loss.item():.3f}", flush=True)
