# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes pictures.safetensors, what PyTorch computes in float64 for layers that change the extents of pictures and
signals and for models of them, and the names and shapes of these models' tensors for tests/models.

    python generate_pictures.py [--out DIR] [--models DIR]         needs torch, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden
import training


class PixelRows(nn.Module):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)


class MeanRows(nn.Module):
    def forward(self, x):
        return x.mean(1)


# By case: the layer, and the extents of a batch. The case at position k has the streams from 95000 + 100 k on.
LAYERS = {
    "conv_transpose2d/plain": (nn.ConvTranspose2d(3, 4, 3), [3, 3, 4, 5]),
    "conv_transpose2d/stride": (nn.ConvTranspose2d(8, 16, 2, stride=2), [3, 8, 4, 3]),
    "conv_transpose2d/padding": (nn.ConvTranspose2d(16, 5, 3, padding=1), [2, 16, 5, 5]),
    "conv_transpose2d/output_padding": (
        nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
        [3, 4, 4, 4],
    ),
    "conv_transpose2d/dilation": (nn.ConvTranspose2d(3, 4, 3, dilation=(2, 3)), [2, 3, 4, 3]),
    "conv_transpose2d/groups": (nn.ConvTranspose2d(6, 4, 3, groups=2), [2, 6, 4, 4]),
    "conv_transpose2d/depthwise": (nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8), [2, 8, 3, 3]),
    "conv_transpose2d/no_bias": (nn.ConvTranspose2d(3, 4, 3, bias=False), [2, 3, 4, 4]),
    "conv_transpose2d/all": (
        nn.ConvTranspose2d(
            4, 6, (3, 2), stride=(3, 2), padding=(1, 0), output_padding=(2, 1), dilation=(1, 2), groups=2, bias=False
        ),
        [3, 4, 4, 3],
    ),
    "conv1d/plain": (nn.Conv1d(3, 4, 3), [3, 3, 9]),
    "conv1d/stride_padding": (nn.Conv1d(3, 16, 5, stride=2, padding=2), [3, 3, 12]),
    "conv1d/dilation": (nn.Conv1d(16, 8, 3, dilation=3), [2, 16, 11]),
    "conv1d/groups": (nn.Conv1d(6, 4, 3, groups=2), [2, 6, 9]),
    "conv1d/no_bias": (nn.Conv1d(3, 4, 2, bias=False), [2, 3, 7]),
    "max_pool1d/plain": (nn.MaxPool1d(2), [3, 4, 9]),
    "max_pool1d/stride_padding": (nn.MaxPool1d(3, stride=2, padding=1), [3, 8, 10]),
    "avg_pool1d/plain": (nn.AvgPool1d(3), [3, 4, 10]),
    "avg_pool1d/padding": (nn.AvgPool1d(3, stride=2, padding=1), [3, 8, 9]),
    "avg_pool1d/exclude_padding": (nn.AvgPool1d(3, stride=2, padding=1, count_include_pad=False), [3, 4, 9]),
    "adaptive_avg_pool2d/global": (nn.AdaptiveAvgPool2d(1), [3, 16, 7, 5]),
    "adaptive_avg_pool2d/shared": (nn.AdaptiveAvgPool2d((3, 4)), [3, 5, 7, 9]),
    "adaptive_avg_pool2d/wide": (nn.AdaptiveAvgPool2d(7), [2, 8, 3, 10]),
    "upsample/nearest": (nn.Upsample(scale_factor=2), [3, 4, 3, 5]),
    "upsample/bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), [3, 16, 3, 5]),
    "upsample/bilinear_uneven": (nn.Upsample(scale_factor=(1, 3), mode="bilinear"), [3, 5, 4, 3]),
    "upsample/bilinear_corners": (nn.Upsample(scale_factor=3, mode="bilinear", align_corners=True), [3, 8, 3, 4]),
    "upsample_to/nearest": (nn.Upsample(size=(5, 12)), [3, 4, 8, 7]),
    "upsample_to/bilinear": (nn.Upsample(size=(5, 12), mode="bilinear"), [3, 4, 8, 7]),
    "upsample_to/bilinear_corners": (nn.Upsample(size=(5, 12), mode="bilinear", align_corners=True), [3, 4, 8, 7]),
    "pixel_rows": (PixelRows(), [3, 5, 2, 3]),
    "mean_rows": (MeanRows(), [3, 7, 19]),
}
FIRST_STREAM = 95000
STEPS = 5
# All exact in float32.
OPTIMIZER = {"lr": 0.0625, "momentum": 0.875, "weight_decay": 2.0**-10}


def run_layer(name, stream, layer, extents):
    """The gradient that arrives is that of a mean squared error."""
    layer = layer.to(torch.float64)
    with torch.no_grad():
        for offset, parameter in enumerate(layer.parameters()):
            parameter.copy_(golden.as_tensor(golden.symmetric(stream + 1 + offset, parameter.numel()), parameter.shape))
    x = golden.as_tensor(golden.symmetric(stream, int(np.prod(extents))), extents).requires_grad_()
    y = layer(x)
    target = golden.as_tensor(golden.symmetric(stream + 10, y.numel()), y.shape)
    nn.functional.mse_loss(y, target).backward()
    results = {"output": y, "grad_x": x.grad}
    results |= {f"grad_{each}": parameter.grad for each, parameter in layer.named_parameters()}
    return {f"{name}/{each}": values.detach().numpy().copy() for each, values in results.items()}


class DoubleConv(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)

    def forward(self, x):
        x = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(x)))


class UNetSmall(nn.Module):
    """A U-Net of three levels."""

    def __init__(self, channels, classes, width):
        super().__init__()
        self.encoder1 = DoubleConv(channels, width)
        self.encoder2 = DoubleConv(width, 2 * width)
        self.encoder3 = DoubleConv(2 * width, 4 * width)
        self.bottleneck = DoubleConv(4 * width, 8 * width)
        self.upconv3 = nn.ConvTranspose2d(8 * width, 4 * width, 2, stride=2)
        self.decoder3 = DoubleConv(8 * width, 4 * width)
        self.upconv2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, stride=2)
        self.decoder2 = DoubleConv(4 * width, 2 * width)
        self.upconv1 = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.decoder1 = DoubleConv(2 * width, width)
        self.conv = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        def down(value):
            return nn.functional.max_pool2d(value, 2)

        full = self.encoder1(x)
        half = self.encoder2(down(full))
        quarter = self.encoder3(down(half))
        x = self.upconv3(self.bottleneck(down(quarter)))
        x = self.upconv2(self.decoder3(torch.cat([quarter, x], dim=1)))
        x = self.upconv1(self.decoder2(torch.cat([half, x], dim=1)))
        return self.conv(self.decoder1(torch.cat([full, x], dim=1)))


class Autoencoder(nn.Module):
    def __init__(self, code):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, code, 7),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(code, 32, 7),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


class SignalNet(nn.Module):
    """Signals of 3x20; a residual, two branches side by side, and features at the end."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(3, 8, 5, padding=2)
        self.body = nn.Conv1d(8, 8, 3, padding=1)
        self.left = nn.Conv1d(8, 4, 3, padding=1)
        self.right = nn.Conv1d(8, 6, 3, padding=2, dilation=2)
        self.fc = nn.Linear(50, 4)

    def forward(self, x):
        x = nn.functional.max_pool1d(torch.relu(self.first(x)), 2)
        x = torch.relu(x + self.body(x))
        x = torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], dim=1)
        return self.fc(nn.functional.avg_pool1d(x, 2).flatten(1))


# By name: the model, the extents of a batch, and whether to keep the trained parameters.
MODELS = {
    "unet_small": (lambda: UNetSmall(2, 3, 4), [7, 2, 8, 16], True),
    "autoencoder": (lambda: Autoencoder(12), [5, 1, 28, 28], False),
    "signals": (SignalNet, [7, 3, 20], True),
}


def run_model(name, build, extents, keep_trained):
    model = build().to(torch.float64)
    parameters = golden.initialize(model)
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, int(np.prod(extents))), extents)
    shape = model(x).shape
    model = build().to(torch.float64)  # whose running statistics have seen nothing
    golden.initialize(model)
    y = golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, shape.numel()), shape)
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    tensors = training.train(
        model,
        optimizer,
        STEPS,
        lambda: (nn.functional.mse_loss(model(x), y), {}),
        f"{name}/",
        golden.gradient_values,
        lambda: [(each, values.double()) for each, values in model.state_dict().items()] if keep_trained else [],
    )
    model.eval()
    tensors[f"{name}/inferred"] = model(x).detach().numpy().copy()
    return tensors, {"extents": extents, "parameters": parameters}


def write_names(path, model):
    """The state dict's names and shapes, sorted as tests/models/names.cpp does."""
    lines = [f"{each} {'x'.join(map(str, values.shape)) or 'scalar'}\n" for each, values in model.state_dict().items()]
    path.write_text("".join(sorted(lines)))


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Write the golden values of layers that change extents.")
    parser.add_argument("--out", type=pathlib.Path, default=here)
    parser.add_argument("--models", type=pathlib.Path, default=here.parent / "models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"layers": {}, "steps": STEPS, "optimizer": OPTIMIZER}
    for index, (name, (layer, extents)) in enumerate(LAYERS.items()):
        stream = FIRST_STREAM + 100 * index
        tensors |= run_layer(name, stream, layer, extents)
        description["layers"][name] = {"stream": stream, "extents": extents, "layer": repr(layer)}
    for name, (build, extents, keep_trained) in MODELS.items():
        results, description[name] = run_model(name, build, extents, keep_trained)
        tensors |= results
    golden.save(arguments.out / "pictures.safetensors", tensors, description)
    write_names(arguments.models / "unet_small.txt", UNetSmall(3, 2, 16))
    write_names(arguments.models / "autoencoder.txt", Autoencoder(64))


if __name__ == "__main__":
    main()
