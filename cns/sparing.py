"""Convolutions whose weights are frozen keep no input for the backward pass: the same bits in less memory.

torch's own (2.13) keep it for the gradient of their weights, whether or not anybody asks for that: a sixth of what a
training of Stable Diffusion keeps. Under autocast they keep the cast weights, too, which are cast again here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.how = values.shape, how
        return conv2d(values, weight.to(values.dtype), None if bias is None else bias.to(values.dtype), *how)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        (weight,) = ctx.saved_tensors
        return (conv2d_input(ctx.shape, weight.to(slope.dtype), slope, *ctx.how), None, None, *(None for _ in ctx.how))


class SparingConv2d(torch.nn.Conv2d):
    """As its base, but that it keeps no input where its weight gets no gradient."""

    def _conv_forward(self, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        frozen = not weight.requires_grad and not (bias is not None and bias.requires_grad)
        if not (frozen and values.requires_grad and torch.is_grad_enabled()):
            return super()._conv_forward(values, weight, bias)
        if torch.is_autocast_enabled(values.device.type):
            values = values.to(torch.get_autocast_dtype(values.device.type))
        return _Convolution.apply(values, weight, bias, self.stride, self.padding, self.dilation, self.groups)


def spare(denoiser: torch.nn.Module) -> None:
    """Have the convolutions of a denoiser keep nothing for gradients of frozen weights."""
    for layer in denoiser.modules():
        if type(layer) is torch.nn.Conv2d and layer.padding_mode == "zeros" and isinstance(layer.padding, tuple):
            layer.__class__ = SparingConv2d
