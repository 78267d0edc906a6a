"""MAXIM in PyTorch's stock layers, for forward.py to run beside ours; see `pytorch_peers`.

Written from the paper as `maxim_tf` is. Features are (batch, height, width, channels), the memory
order of `channels_last`: layer normalisation and what acts on each pixel alone take them as they
are, and convolutions see a view. Where a 1x1 convolution follows an enlargement, it comes first, as
in ours: both commute, and neither framework computes more than the other.

Modules are named as in the authors' code, so that parameters have the names of our variables.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

LEVELS = 3
_EPSILON = 1e-6


def _gelu(x):
    return F.gelu(x, approximate="tanh")


def _sized(x, factor):
    """Resizes features bilinearly, with antialiasing where they shrink."""
    if factor == 1:
        return x
    smaller = factor < 1
    dtype = x.dtype
    x = x.permute(0, 3, 1, 2)
    if smaller:
        x = x.float()  # PyTorch has no antialiasing in bfloat16
    resized = F.interpolate(
        x, scale_factor=factor, mode="bilinear", align_corners=False, antialias=smaller
    )
    return resized.permute(0, 2, 3, 1).to(dtype)


class Conv(nn.Conv2d):
    """A convolution of features, SAME."""

    def __init__(self, inputs, filters, side=1, strides=1):
        super().__init__(inputs, filters, side, strides, padding=(side - strides + 1) // 2)

    def forward(self, x):
        """(batch, h, w, inputs) -> (batch, h / strides, w / strides, filters)."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Up(nn.ConvTranspose2d):
    """A transposed convolution of 2x2."""

    def __init__(self, inputs, filters):
        super().__init__(inputs, filters, 2, stride=2)

    def forward(self, x):
        """(batch, h, w, inputs) -> (batch, 2 h, 2 w, filters)."""
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Named(nn.Module):
    """A module whose parts have the authors' names."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)

    def __getitem__(self, name):
        return getattr(self, name)


def _norm(channels):
    return nn.LayerNorm(channels, eps=_EPSILON)


class Tokens(nn.Linear):
    """A product over the cells of the grid, or over the pixels of blocks."""

    def __init__(self, size, axis):
        super().__init__(size * size, size * size)
        self.size, self.axis = size, axis

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        batch, height, width, channels = x.shape
        size = self.size
        rows, columns = height // size, width // size
        if self.axis == "grid":
            x = x.reshape(batch, size, rows, size, columns, channels).permute(0, 2, 4, 1, 3, 5)
        else:
            x = x.reshape(batch, rows, size, columns, size, channels).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(batch * rows * columns, size * size, channels)
        x = torch.matmul(self.weight, x) + self.bias[:, None]
        x = x.reshape(batch, rows, columns, size, size, channels)
        order = (0, 3, 1, 4, 2, 5) if self.axis == "grid" else (0, 1, 3, 2, 4, 5)
        return x.permute(order).reshape(batch, height, width, channels)


class GMLP(Named):
    """Gated MLP over the grid or over blocks (figure 3)."""

    def __init__(self, channels, size, axis):
        unit = f"{axis.capitalize()}GatingUnit"
        gate = {"intermediate_layernorm": _norm(channels), "Dense_0": Tokens(size, axis)}
        super().__init__(
            LayerNorm=_norm(channels),
            in_project=nn.Linear(channels, 2 * channels),
            out_project=nn.Linear(channels, channels),
            **{unit: Named(**gate)},
        )
        self.unit = unit

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        u, v = _gelu(self.in_project(self.LayerNorm(x))).chunk(2, dim=-1)
        gate = self[self.unit]
        return x + self.out_project(u * (gate.Dense_0(gate.intermediate_layernorm(v)) + 1.0))


class MAB(Named):
    """Multi-axis gated MLP block (figure 3)."""

    def __init__(self, channels, size):
        super().__init__(
            LayerNorm_in=_norm(channels),
            in_project=nn.Linear(channels, 2 * channels),
            GridGmlpLayer=GMLP(channels, size, "grid"),
            BlockGmlpLayer=GMLP(channels, size, "block"),
            out_project=nn.Linear(2 * channels, channels),
        )

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        u, v = _gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=-1)
        both = torch.cat([self.GridGmlpLayer(u), self.BlockGmlpLayer(v)], dim=-1)
        return x + self.out_project(both)


class ChannelAttention(Named):
    """Squeeze and excitation."""

    def __init__(self, channels):
        super().__init__(Conv_0=Conv(channels, channels // 4), Conv_1=Conv(channels // 4, channels))

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        mean = x.mean(dim=(1, 2), keepdim=True)
        return x * torch.sigmoid(self.Conv_1(F.relu(self.Conv_0(mean))))


class RCAB(Named):
    """Residual channel attention block."""

    def __init__(self, channels):
        super().__init__(
            LayerNorm=_norm(channels),
            conv1=Conv(channels, channels, 3),
            conv2=Conv(channels, channels, 3),
            channel_attention=ChannelAttention(channels),
        )

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        y = F.leaky_relu(self.conv1(self.LayerNorm(x)), 0.2, inplace=True)
        return x + self.channel_attention(self.conv2(y))


class RDCAB(Named):
    """Residual dense channel attention block."""

    def __init__(self, channels):
        super().__init__(
            LayerNorm=_norm(channels),
            channel_mixing=Named(
                Dense_0=nn.Linear(channels, channels), Dense_1=nn.Linear(channels, channels)
            ),
            channel_attention=ChannelAttention(channels),
        )

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        y = _gelu(self.channel_mixing.Dense_0(self.LayerNorm(x)))
        return x + self.channel_attention(self.channel_mixing.Dense_1(y))


class Gate(Named):
    """The gate of a cross gating block."""

    def __init__(self, channels, size):
        super().__init__(
            LayerNorm_in=_norm(channels),
            in_project=nn.Linear(channels, 2 * channels),
            Dense_0=Tokens(size, "grid"),
            Dense_1=Tokens(size, "block"),
            out_project=nn.Linear(2 * channels, channels),
        )

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        u, v = _gelu(self.in_project(self.LayerNorm_in(x))).chunk(2, dim=-1)
        return self.out_project(torch.cat([self.Dense_0(u), self.Dense_1(v)], dim=-1))


class CrossGatingBlock(Named):
    """Cross gating block (figure 2c)."""

    def __init__(self, channels, size, x_channels=None, up_from=None):
        up = {} if up_from is None else {"ConvTranspose_0": Up(up_from, channels)}
        super().__init__(
            **up,
            Conv_0=Conv(x_channels or channels, channels),
            Conv_1=Conv(channels, channels),
            LayerNorm_x=_norm(channels),
            LayerNorm_y=_norm(channels),
            in_project_x=nn.Linear(channels, channels),
            in_project_y=nn.Linear(channels, channels),
            SplitHeadMultiAxisGating_x=Gate(channels, size),
            SplitHeadMultiAxisGating_y=Gate(channels, size),
            out_project_x=nn.Linear(channels, channels),
            out_project_y=nn.Linear(channels, channels),
        )
        self.up = up_from is not None

    def forward(self, x, y):
        """Two features -> two features (batch, h, w, channels)."""
        x, y = self.Conv_0(x), self.Conv_1(self.ConvTranspose_0(y) if self.up else y)
        x1 = _gelu(self.in_project_x(self.LayerNorm_x(x)))
        y1 = _gelu(self.in_project_y(self.LayerNorm_y(y)))
        y = self.out_project_y(y1 * self.SplitHeadMultiAxisGating_x(x1)) + y
        return self.out_project_x(x1 * self.SplitHeadMultiAxisGating_y(y1)) + y + x, y


class UNetBlock(Named):
    """1x1 convolution, then pairs of MAB and RCAB, plus the shortcut (figure 2b)."""

    def __init__(self, channels, size, inputs, groups, cross_gating=False, down=False):
        parts = {"Conv_0": Conv(inputs, channels)}
        for group in range(groups):
            parts[f"SplitHeadMultiAxisGmlpLayer_{group}"] = MAB(channels, size)
            parts[f"channel_attention_block_1{group}"] = RCAB(channels)
        if cross_gating:
            parts["cross_gating_block"] = CrossGatingBlock(channels, size)
        if down:
            parts["Conv_1"] = Conv(channels, channels, 4, 2)
        super().__init__(**parts)
        self.groups, self.cross_gating = groups, cross_gating

    def forward(self, x, previous=None):
        """Features side by side -> (batch, h, w, channels)."""
        x = shortcut = self.Conv_0(x)
        for group in range(self.groups):
            x = self[f"SplitHeadMultiAxisGmlpLayer_{group}"](x)
            x = self[f"channel_attention_block_1{group}"](x)
        x = x + shortcut
        return self.cross_gating_block(x, previous)[0] if self.cross_gating else x


class BottleneckBlock(Named):
    """1x1 convolution, then pairs of MAB and RDCAB, plus the shortcut."""

    def __init__(self, channels, size, groups):
        parts = {"input_proj": Conv(channels, channels)}
        for group in range(groups):
            parts[f"SplitHeadMultiAxisGmlpLayer_{group}"] = MAB(channels, size)
            parts[f"channel_attention_block_1_{group}"] = RDCAB(channels)
        super().__init__(**parts)
        self.groups = groups

    def forward(self, x):
        """(batch, h, w, channels) -> the same shape."""
        x = shortcut = self.input_proj(x)
        for group in range(self.groups):
            x = self[f"SplitHeadMultiAxisGmlpLayer_{group}"](x)
            x = self[f"channel_attention_block_1_{group}"](x)
        return x + shortcut


class SAM(Named):
    """Supervised attention module."""

    def __init__(self, features, image_only):
        parts = {"Conv_1": Conv(features, 3, 3)}
        if not image_only:
            parts |= {"Conv_0": Conv(features, features, 3), "Conv_2": Conv(3, features, 3)}
        super().__init__(**parts)
        self.image_only = image_only

    def forward(self, features, images):
        """Returns gated features, None with `image_only`, and the restored image."""
        restored = self.Conv_1(features) + images
        if self.image_only:
            return None, restored
        gate = torch.sigmoid(self.Conv_2(restored))
        return self.Conv_0(features) * gate + features, restored


class MAXIM(Named):
    """Multi-axis MLP network (figure 2); arguments as `maxim_tf.model.MAXIM`'s."""

    def __init__(
        self,
        features=32,
        num_stages=3,
        num_groups=2,
        num_bottleneck_blocks=2,
        block_size_hr=16,
        block_size_lr=8,
        stages=None,
    ):
        widths = [features * 2**level for level in range(LEVELS)]
        sizes = [block_size_hr, block_size_hr, block_size_lr]
        count, parts = stages or num_stages, {}
        for stage in range(count):
            shape = (widths, sizes, num_groups, num_bottleneck_blocks)
            parts |= _stage(stage, stage == num_stages - 1, stage < count - 1, *shape)
        super().__init__(**parts)
        self.count, self.num_stages, self.bottlenecks = count, num_stages, num_bottleneck_blocks

    def forward(self, images):
        """(batch, 3, height, width) -> one image per stage and scale, coarse to fine."""
        steps = [2**level for level in range(LEVELS)]
        inputs = [images[:, :, step // 2 :: step, step // 2 :: step] for step in steps]
        inputs = [image.permute(0, 2, 3, 1) for image in inputs]
        outputs, gated, carried = [], None, [None] * LEVELS
        for stage in range(self.count):
            encoded, decoded = self._features(stage, inputs, gated, carried)
            carried = [e + d for e, d in zip(encoded, decoded, strict=True)]
            gated, restored = self._restore(stage, inputs, decoded)
            outputs += [image.permute(0, 3, 1, 2) for image in restored[::-1]]
        return outputs

    def _features(self, stage, inputs, gated, carried):
        def part(name):
            return self[f"stage_{stage}_{name}"]

        fused = [part(f"input_conv_{i}")(inputs[i]) for i in range(LEVELS)]
        if gated is not None:
            fused = [part(f"input_fuse_sam_{i}")(fused[i], gated[i])[0] for i in range(LEVELS)]
        encoded, x = [], fused[0]
        for i in range(LEVELS):
            block = part(f"encoder_block_{i}")
            encoded.append(block(torch.cat([x, fused[i]], dim=-1), carried[i]))
            x = block.Conv_1(encoded[i])
        for b in range(self.bottlenecks):
            x = part(f"global_block_{b}")(x)
        skips, y = [None] * LEVELS, x
        for i in reversed(range(LEVELS)):
            beside = self._beside(stage, i, range(LEVELS), 0, encoded)
            skips[i], y = part(f"cross_gating_block_{i}")(torch.cat(beside, dim=-1), y)
        decoded = [None] * LEVELS
        for i in reversed(range(LEVELS)):
            block = part(f"decoder_block_{i}")
            above = block.ConvTranspose_0(x)
            beside = self._beside(stage, i, range(LEVELS)[::-1], LEVELS**2, skips)
            x = decoded[i] = block.UNetEncoderBlock_0(torch.cat([above, *beside], dim=-1))
        return encoded, decoded

    def _beside(self, stage, own, levels, offset, features):
        """All levels' features brought to one level."""
        first, brought = _first_resize(stage, own) + offset, []
        for number, level in enumerate(levels, first):
            convolution = self[f"UpSampleRatio_{number}"].Conv_0
            factor = 2.0 ** (level - own)
            if factor > 1:
                brought.append(_sized(convolution(features[level]), factor))
            else:
                brought.append(convolution(_sized(features[level], factor)))
        return brought

    def _restore(self, stage, inputs, decoded):
        if stage == self.num_stages - 1:
            ends = [self[f"stage_{stage}_output_conv_{i}"](decoded[i]) for i in range(LEVELS)]
            return None, [end + image for end, image in zip(ends, inputs, strict=True)]
        sams = [self[f"stage_{stage}_supervised_attention_module_{i}"] for i in range(LEVELS)]
        ends = [sam(x, image) for sam, x, image in zip(sams, decoded, inputs, strict=True)]
        return tuple(zip(*ends, strict=True))


def _first_resize(stage, own):
    return 2 * LEVELS**2 * stage + LEVELS * (LEVELS - 1 - own)


def _stage(stage, last, runs_on, widths, sizes, groups, bottlenecks):
    """The parts of a stage, by name."""
    parts, prefix = {}, f"stage_{stage}_"
    for i, (width, size) in enumerate(zip(widths, sizes, strict=True)):
        parts[f"{prefix}input_conv_{i}"] = Conv(3, width, 3)
        if stage:
            parts[f"{prefix}input_fuse_sam_{i}"] = CrossGatingBlock(width, size)
        inputs = widths[max(i - 1, 0)] + width
        parts[f"{prefix}encoder_block_{i}"] = UNetBlock(
            width, size, inputs, groups, cross_gating=stage > 0, down=True
        )
        below = widths[min(i + 1, LEVELS - 1)]
        parts[f"{prefix}cross_gating_block_{i}"] = CrossGatingBlock(
            width, size, LEVELS * width, up_from=below
        )
        block = UNetBlock(width, size, (1 + LEVELS) * width, groups)
        parts[f"{prefix}decoder_block_{i}"] = Named(
            ConvTranspose_0=Up(below, width), UNetEncoderBlock_0=block
        )
        for offset, levels in ((0, range(LEVELS)), (LEVELS**2, range(LEVELS)[::-1])):
            for number, level in enumerate(levels, _first_resize(stage, i) + offset):
                parts[f"UpSampleRatio_{number}"] = Named(Conv_0=Conv(widths[level], width))
        if last:
            parts[f"{prefix}output_conv_{i}"] = Conv(width, 3, 3)
        else:
            sam = SAM(width, image_only=not runs_on)
            parts[f"{prefix}supervised_attention_module_{i}"] = sam
    for b in range(bottlenecks):
        parts[f"{prefix}global_block_{b}"] = BottleneckBlock(widths[-1], sizes[-1], groups)
    return parts


def parameter_map(keras_model) -> dict:
    """Returns {name of a parameter here: the variable of our network}, for a built network."""
    named = {}
    for variable in keras_model.weights:
        *modules, kind = variable.path.removeprefix(f"{keras_model.path}/").split("/")
        named[".".join([*modules, "bias" if kind == "bias" else "weight"])] = variable
    return named
