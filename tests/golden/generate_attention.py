# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes attention.safetensors: what PyTorch computes in float64 for attention and the layers of transformers.

    python generate_attention.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden

BATCH = 3


class Packed(nn.Module):
    """Attention among rows of a query, a key and a value behind each other."""

    def __init__(self, heads, causal=False):
        super().__init__()
        self.heads = heads
        self.causal = causal

    def forward(self, x):
        batch, rows, width = x.shape
        parts = x.reshape(batch, rows, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(*parts, is_causal=self.causal)
        return y.transpose(1, 2).reshape(batch, rows, width // 3)


class SelfAttention(nn.MultiheadAttention):
    """Of (x, x, x)."""

    def __init__(self, width, heads, causal=False, **options):
        super().__init__(width, heads, batch_first=True, **options)
        self.causal = causal

    def forward(self, x):
        hidden = later_rows(x) if self.causal else None
        return super().forward(x, x, x, attn_mask=hidden, need_weights=False)[0]


class EncoderLayer(nn.TransformerEncoderLayer):
    def __init__(self, *arguments, causal=False, **options):
        super().__init__(*arguments, dropout=0.0, batch_first=True, **options)
        self.causal = causal

    def forward(self, x):
        return super().forward(x, src_mask=later_rows(x) if self.causal else None)


class Memory(nn.Module):
    """Twice as many rows, made of those that arrive."""

    def __init__(self, width):
        super().__init__()
        self.fc = nn.Linear(width, width)

    def forward(self, x):
        return torch.cat([x, self.fc(x)], dim=1)


class CrossAttention(nn.MultiheadAttention):
    def __init__(self, width, heads, **options):
        super().__init__(width, heads, batch_first=True, **options)
        self.memory = Memory(width)

    def forward(self, x):
        memory = self.memory(x)
        return super().forward(x, memory, memory, need_weights=False)[0]


class DecoderLayer(nn.TransformerDecoderLayer):
    """The memory is made of what its attention reads."""

    def __init__(self, width, heads, feed_forward, **options):
        super().__init__(width, heads, feed_forward, dropout=0.0, batch_first=True, **options)
        self.multihead_attn.memory = Memory(width)

    def _mha_block(self, x, memory, *arguments):
        return super()._mha_block(x, self.multihead_attn.memory(x), *arguments)

    def forward(self, x):
        return super().forward(x, x, tgt_mask=later_rows(x))


def later_rows(x):
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)


class Conv1D(nn.Module):
    """That of transformers' GPT-2: a linear layer whose weight is (in, out)."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))

    def forward(self, x):
        return x @ self.weight + self.bias


class GptAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.c_attn = Conv1D(width, 3 * width)
        self.c_proj = Conv1D(width, width)
        self.core = Packed(heads, causal=True)

    def forward(self, x):
        return self.c_proj(self.core(self.c_attn(x)))


class GptMlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = Conv1D(width, 4 * width)
        self.c_proj = Conv1D(4 * width, width)

    def forward(self, x):
        return self.c_proj(nn.functional.gelu(self.c_fc(x), approximate="tanh"))


class GptBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = GptAttention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = GptMlp(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


# By case: stream, rows and features that arrive, the module.
LAYERS = {
    "packed/two_heads": (97000, [5, 18], lambda: Packed(2)),
    "packed/causal": (97100, [7, 12], lambda: Packed(4, causal=True)),
    "packed/long": (97200, [90, 12], lambda: Packed(1, causal=True)),
    "multi_head/plain": (97300, [5, 6], lambda: SelfAttention(6, 2)),
    "multi_head/causal": (97400, [6, 9], lambda: SelfAttention(9, 3, causal=True)),
    "multi_head/no_bias": (97500, [4, 10], lambda: SelfAttention(10, 1, bias=False)),
    "gpt2/attention": (97600, [6, 8], lambda: GptAttention(8, 2)),
    "gpt2/block": (97700, [6, 8], lambda: GptBlock(8, 4)),
    "encoder/after": (97800, [5, 6], lambda: EncoderLayer(6, 2, 11)),
    "encoder/first": (97900, [5, 6], lambda: EncoderLayer(6, 3, 11, norm_first=True)),
    "encoder/gelu": (98000, [5, 6], lambda: EncoderLayer(6, 2, 11, activation="gelu", layer_norm_eps=0.125)),
    "encoder/causal": (98100, [5, 8], lambda: EncoderLayer(8, 2, 9, causal=True, bias=False, norm_first=True)),
    "cross/plain": (98200, [4, 6], lambda: CrossAttention(6, 2)),
    "cross/no_bias": (98300, [1, 8], lambda: CrossAttention(8, 4, bias=False)),
    "decoder/after": (98400, [5, 6], lambda: DecoderLayer(6, 2, 11)),
    "decoder/first": (98500, [4, 8], lambda: DecoderLayer(8, 2, 9, norm_first=True, activation="gelu")),
}


def run_layer(name, stream, extents, build):
    """One batch, whose gradient arrives from a mean squared error."""
    layer = build().to(torch.float64)
    # Sorted, as the test has them, whose order of execution is another.
    parameters = dict(sorted(layer.named_parameters()))
    with torch.no_grad():
        for k, parameter in enumerate(parameters.values()):
            values = golden.symmetric(stream + 20 + k, parameter.numel())
            parameter.copy_(golden.as_tensor(values, list(parameter.shape)))
    x = golden.as_tensor(golden.symmetric(stream, BATCH * int(np.prod(extents))), [BATCH, *extents])
    x.requires_grad_()
    y = layer(x)
    target = golden.as_tensor(golden.symmetric(stream + 10, y.numel()), y.shape)
    nn.functional.mse_loss(y, target).backward()
    tensors = {f"{name}/output": y, f"{name}/grad_x": x.grad}
    for each, parameter in parameters.items():
        tensors[f"{name}/grad/{each}"] = parameter.grad
    return {each: values.detach().numpy().copy() for each, values in tensors.items()}


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of attention.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"batch": BATCH, "layers": {}}
    for name, (stream, extents, build) in LAYERS.items():
        tensors |= run_layer(name, stream, extents, build)
        description["layers"][name] = {"stream": stream, "extents": extents}
    golden.save(arguments.out / "attention.safetensors", tensors, description)


if __name__ == "__main__":
    main()
