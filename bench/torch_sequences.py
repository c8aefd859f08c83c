# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The networks of tokens of torch_reference.py. `forward` is from (batch, T) tokens to the logits of those that follow;
`write` is one step of writing the most likely tokens, from what `memory` keeps of the tokens before.
"""

import torch
from torch import nn
from torch.nn import functional

VOCABULARY = 256
LENGTH = 128  # of a sample, and of a text


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x, kept=None, position=0):
        """With `kept`, the keys and values of the tokens before, x is the token at `position`."""
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, 2))
        if kept is not None:
            keys, values = kept
            keys[:, :, position : position + 1] = k
            values[:, :, position : position + 1] = v
            k, v = keys[:, :, : position + 1], values[:, :, : position + 1]
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=kept is None)
        return self.c_proj(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x, *kept):
        x = x + self.attn(self.ln_1(x), *kept)
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """examples/models/gpt.hpp: gpt<4, 4, 128, 128, 256>."""

    LAYERS, HEADS, WIDTH = 4, 4, 128

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, self.WIDTH)
        self.wpe = nn.Embedding(LENGTH, self.WIDTH)
        self.h = nn.ModuleList(Block(self.WIDTH, self.HEADS) for _ in range(self.LAYERS))
        self.ln_f = nn.LayerNorm(self.WIDTH)

    def logits(self, x):
        return functional.linear(self.ln_f(x), self.wte.weight)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight
        for block in self.h:
            x = block(x)
        return self.logits(x)

    def memory(self):
        """Keys and values of each layer."""
        autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if autocast else self.wte.weight.dtype
        extents = 1, self.HEADS, LENGTH, self.WIDTH // self.HEADS
        return [(torch.zeros(extents, dtype=dtype), torch.zeros(extents, dtype=dtype)) for _ in self.h]

    def write(self, token, position, memory):
        x = self.wte(token) + self.wpe.weight[position]
        for block, kept in zip(self.h, memory, strict=True):
            x = block(x, kept, position)
        return self.logits(x).argmax(2), memory


class Lstm(nn.Module):
    """`lstm` of reference_models.hpp."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.lstm = nn.LSTM(64, 256, num_layers=2, batch_first=True)
        self.head = nn.Linear(256, VOCABULARY)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])

    def memory(self):
        """The states of each layer."""
        zeros = torch.zeros(2, 1, 256, dtype=self.head.weight.dtype)
        return zeros, zeros

    def write(self, token, position, memory):
        x, memory = self.lstm(self.embedding(token), memory)
        return self.head(x).argmax(2), memory


class TokenLoss(nn.Module):
    """The mean of cross entropy over the tokens of all samples."""

    def forward(self, logits, targets):
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def text_writer(model, step):
    """A callable that writes LENGTH - 1 tokens after a prompt of one; `step` is model.write, or what was compiled of
    it."""

    def write():
        token, memory, written = torch.zeros(1, 1, dtype=torch.long), model.memory(), []
        for position in range(LENGTH - 1):
            token, memory = step(token, position, memory)
            written.append(token)
        return torch.cat(written, 1).tolist()

    return write


def random_tokens(batch):
    return torch.randint(0, VOCABULARY, (batch, LENGTH))
