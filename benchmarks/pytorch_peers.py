"""SRN and MPRNet in PyTorch's stock layers, for forward.py to run beside ours; MAXIM beside it.

Written from the papers as `srn_tf` and `mprnet_tf` are, with the same arguments, the same result (a
list of stages, the last is the answer) and the same order of operations: an Up convolves before it
interpolates, so that neither framework computes more than the other. Tensors are (batch, channels,
height, width), best in memory format `channels_last`.

Modules are named so that parameters have the names of the authors' checkpoints, which the two
`convert` modules map to our weights: `copy_weights` makes both networks one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import pytorch_maxim
from benchmarks.pytorch_maxim import MAXIM

__all__ = ["MAXIM", "MPRNet", "SRN", "copy_weights", "parameter_map"]


def _same(inputs, filters, kernel_size=5, bias=True):
    return nn.Conv2d(inputs, filters, kernel_size, padding=kernel_size // 2, bias=bias)


def _halving(inputs, filters):
    # SAME at stride 2 pads an even size by one pixel before and two after; nn.Conv2d cannot.
    return nn.Sequential(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(inputs, filters, 5, stride=2))


def _doubling(inputs, filters):
    return nn.ConvTranspose2d(inputs, filters, 4, stride=2, padding=1)


def legacy_upsample2(x):
    """TensorFlow 1's bilinear resize to twice the size: copies, means of neighbours between."""
    batch, channels, height, width = x.shape
    shape = (batch, channels, 2 * height, 2 * width)
    result = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    right = torch.cat([x[..., 1:], x[..., -1:]], dim=3)
    result[:, :, ::2, ::2] = x
    result[:, :, ::2, 1::2] = 0.5 * (x + right)
    rows = result[:, :, ::2]
    result[:, :, 1::2] = 0.5 * (rows + torch.cat([rows[:, :, 1:], rows[:, :, -1:]], dim=2))
    return result


class ResBlock(nn.Module):
    """Residual block of SRN: conv + ReLU, conv, plus the input."""

    def __init__(self, filters):
        super().__init__()
        self.conv1 = _same(filters, filters)
        self.conv2 = _same(filters, filters)

    def forward(self, x):
        """(batch, filters, h, w) -> the same shape."""
        return x + self.conv2(F.relu(self.conv1(x), inplace=True))


class SRN(nn.Module):
    """Scale-recurrent network; arguments as `srn_tf.model.SRN`'s."""

    def __init__(
        self,
        channels=3,
        recurrent=True,
        width=32,
        scales=3,
        res_blocks=3,
        global_skip=False,
    ):
        super().__init__()
        self.scales = scales
        self.res_blocks = res_blocks
        self.global_skip = global_skip
        self.enc1_1 = _same(2 * channels, width)
        self.enc2_1 = _halving(width, 2 * width)
        self.enc3_1 = _halving(2 * width, 4 * width)
        self.convLSTM = None
        if recurrent:
            self.convLSTM = nn.ModuleDict({"LSTM_conv": _same(8 * width, 16 * width, 3)})
        self.dec2_4 = _doubling(4 * width, 2 * width)
        self.dec1_4 = _doubling(2 * width, width)
        self.dec1_0 = _same(width, channels)
        for level in (1, 2, 3):
            for number in range(1, res_blocks + 1):
                self.add_module(f"enc{level}_{number + 1}", ResBlock(width * 2 ** (level - 1)))
                self.add_module(f"dec{level}_{number}", ResBlock(width * 2 ** (level - 1)))

    def forward(self, images):
        """(batch, channels, height, width) -> one image per scale, coarse to fine."""
        stages, state = [], None
        for exponent in reversed(range(self.scales)):
            blurry = images[:, :, :: 2**exponent, :: 2**exponent]
            # No gradient flows through the previous output, as in ours.
            previous = legacy_upsample2(stages[-1].detach()) if stages else blurry
            restored, state = self._restore_scale(torch.cat([blurry, previous], dim=1), state)
            stages.append(restored)
            if state is not None and exponent:
                state = tuple(legacy_upsample2(part) for part in state)
        return stages

    def _restore_scale(self, x, state):
        shallow = self._encode(x, 1)
        half = self._encode(shallow, 2)
        features = self._encode(half, 3)
        if self.convLSTM is not None:
            if state is None:
                state = (torch.zeros_like(features), torch.zeros_like(features))
            features, state = self._remember(features, state)
        half = half + F.relu(self.dec2_4(self._decode(features, 3)), inplace=True)
        shallow = shallow + F.relu(self.dec1_4(self._decode(half, 2)), inplace=True)
        restored = self.dec1_0(self._decode(shallow, 1))
        return (restored + x[:, : x.shape[1] // 2] if self.global_skip else restored), state

    def _encode(self, x, level):
        x = F.relu(getattr(self, f"enc{level}_1")(x), inplace=True)
        for number in range(2, self.res_blocks + 2):
            x = getattr(self, f"enc{level}_{number}")(x)
        return x

    def _decode(self, x, level):
        for number in range(self.res_blocks, 0, -1):
            x = getattr(self, f"dec{level}_{number}")(x)
        return x

    def _remember(self, features, state):
        c, h = state
        gates = self.convLSTM["LSTM_conv"](torch.cat([features, h], dim=1))
        i, j, f, o = gates.chunk(4, dim=1)
        c = c * torch.sigmoid(f + 1.0) + torch.sigmoid(i) * torch.tanh(j)
        h = torch.tanh(c) * torch.sigmoid(o)
        return h, (c, h)


def _plain(inputs, filters, kernel_size=3):
    return _same(inputs, filters, kernel_size, bias=False)


def _halved(window):
    return window and (window[0] // 2, window[1] // 2)


class ChannelAttention(nn.Module):
    """Channel attention of MPRNet, over the whole map or over a sliding window."""

    def __init__(self, filters, reduction, window):
        super().__init__()
        self.window = window
        self.pool = nn.AdaptiveAvgPool2d(1)
        squeezed = filters // reduction
        self.conv_du = nn.Sequential(
            _plain(filters, squeezed, 1),
            nn.ReLU(inplace=True),
            _plain(squeezed, filters, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        """(batch, filters, h, w) -> the same shape."""
        if self.window is None:
            return x * self.conv_du(self.pool(x))
        gate = self.conv_du(_sliding_mean(x, self.window))
        down, across = x.shape[2] - gate.shape[2], x.shape[3] - gate.shape[3]
        sides = (across // 2, across - across // 2, down // 2, down - down // 2)
        return x * F.pad(gate, sides, mode="replicate")


def _sliding_mean(x, window):
    x = x.permute(0, 2, 3, 1)  # cumsum and cat would not keep channels_last
    for dim, length in zip((1, 2), window, strict=True):
        size = x.shape[dim]
        length = min(length, size)
        sums = x.cumsum(dim)
        first = sums.narrow(dim, length - 1, 1)
        later = sums.narrow(dim, length, size - length) - sums.narrow(dim, 0, size - length)
        x = torch.cat([first, later], dim=dim) / length
    return x.permute(0, 3, 1, 2)


class CAB(nn.Module):
    """Channel attention block of MPRNet: conv, PReLU, conv, channel attention, plus the input."""

    def __init__(self, filters, reduction, prelu, window):
        super().__init__()
        self.body = nn.Sequential(_plain(filters, filters), prelu, _plain(filters, filters))
        self.CA = ChannelAttention(filters, reduction, window)

    def forward(self, x):
        """(batch, filters, h, w) -> the same shape."""
        return x + self.CA(self.body(x))


class Down(nn.Module):
    """Bilinear x1/2, the mean of each 2x2 block, and a 1x1 convolution."""

    def __init__(self, inputs, filters):
        super().__init__()
        self.down = nn.Sequential(nn.AvgPool2d(2), _plain(inputs, filters, 1))

    def forward(self, x):
        """(batch, inputs, h, w) -> (batch, filters, h / 2, w / 2)."""
        return self.down(x)


class Up(nn.Module):
    """A 1x1 convolution and bilinear x2 (the other way round in the checkpoint's names)."""

    def __init__(self, inputs, filters):
        super().__init__()
        double = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.up = nn.Sequential(double, _plain(inputs, filters, 1))

    def forward(self, x):
        """(batch, inputs, h, w) -> (batch, filters, 2 h, 2 w)."""
        double, convolution = self.up
        return double(convolution(x))


class Encoder(nn.Module):
    """Three levels of two CABs, finest first, with fusion of an earlier stage's features."""

    def __init__(self, widths, reduction, prelu, window, fusion=False):
        super().__init__()
        for level, width in enumerate(widths, 1):
            cabs = [CAB(width, reduction, prelu, window) for _ in range(2)]
            self.add_module(f"encoder_level{level}", nn.Sequential(*cabs))
            if level > 1:
                self.add_module(f"down{level - 1}{level}", Down(widths[level - 2], width))
            if fusion:
                self.add_module(f"csff_enc{level}", _plain(width, width, 1))
                self.add_module(f"csff_dec{level}", _plain(width, width, 1))
            window = _halved(window)

    def forward(self, x, encoded=None, decoded=None):
        """(batch, widths[0], h, w) -> three levels, finest first."""
        features = []
        for level in (1, 2, 3):
            if level > 1:
                x = getattr(self, f"down{level - 1}{level}")(x)
            x = getattr(self, f"encoder_level{level}")(x)
            if encoded is not None:
                x = x + getattr(self, f"csff_enc{level}")(encoded[level - 1])
                x = x + getattr(self, f"csff_dec{level}")(decoded[level - 1])
            features.append(x)
        return features


class Decoder(nn.Module):
    """Three levels of two CABs, with a CAB on every skip connection."""

    def __init__(self, widths, reduction, prelu, window):
        super().__init__()
        for level, width in enumerate(widths, 1):
            cabs = [CAB(width, reduction, prelu, window) for _ in range(2)]
            self.add_module(f"decoder_level{level}", nn.Sequential(*cabs))
            if level < 3:
                self.add_module(f"skip_attn{level}", CAB(width, reduction, prelu, window))
                self.add_module(f"up{level + 1}{level}", Up(widths[level], width))
            window = _halved(window)

    def forward(self, encoded):
        """Takes and returns three levels, finest first."""
        first, second, third = encoded
        third = self.decoder_level3(third)
        second = self.decoder_level2(self.up32(third) + self.skip_attn2(second))
        first = self.decoder_level1(self.up21(second) + self.skip_attn1(first))
        return [first, second, third]


class SAM(nn.Module):
    """Supervised attention module: a restored image, and features that it gates."""

    def __init__(self, filters, image_only=False):
        super().__init__()
        self.conv2 = _plain(filters, 3, 1)
        if not image_only:
            self.conv1 = _plain(filters, filters, 1)
            self.conv3 = _plain(3, filters, 1)

    def forward(self, features, images):
        """Returns features and the restored image."""
        restored = self.restore(features, images)
        return self.conv1(features) * torch.sigmoid(self.conv3(restored)) + features, restored

    def restore(self, features, images):
        """The restored image alone."""
        return self.conv2(features) + images


class ORB(nn.Module):
    """Original-resolution block: CABs, a convolution, plus the input."""

    def __init__(self, filters, reduction, prelu, num_cab, window):
        super().__init__()
        cabs = [CAB(filters, reduction, prelu, window) for _ in range(num_cab)]
        self.body = nn.Sequential(*cabs, _plain(filters, filters))

    def forward(self, x):
        """(batch, filters, h, w) -> the same shape."""
        return x + self.body(x)


class ORSNet(nn.Module):
    """Original-resolution subnetwork: three ORBs, each followed by a fusion."""

    def __init__(self, widths, filters, reduction, prelu, num_cab, window):
        super().__init__()
        for level in (1, 2, 3):
            orb = ORB(filters, reduction, prelu, num_cab, window)
            self.add_module(f"orb{level}", orb)
        first, second, third = widths
        for side in ("enc", "dec"):
            self.add_module(f"up_{side}1", Up(second, first))
            self.add_module(f"up_{side}2", nn.Sequential(Up(third, second), Up(second, first)))
            for level in (1, 2, 3):
                self.add_module(f"conv_{side}{level}", _plain(first, filters, 1))

    def forward(self, x, encoded, decoded):
        """(batch, filters, h, w) -> the same shape."""
        for level in (1, 2, 3):
            x = getattr(self, f"orb{level}")(x)
            total = 0
            for side, features in (("enc", encoded[level - 1]), ("dec", decoded[level - 1])):
                for up in self._ups(side, level):
                    features = up.up[1](features)  # as in ours, all is summed before it is doubled
                total = total + getattr(self, f"conv_{side}{level}")(features)
            for up in self._ups("enc", level):
                total = up.up[0](total)
            x = x + total
        return x

    def _ups(self, side, level):
        if level == 1:
            return []
        ups = getattr(self, f"up_{side}{level - 1}")
        return [ups] if isinstance(ups, Up) else list(ups)


class MPRNet(nn.Module):
    """Multi-stage progressive restoration network; arguments as `mprnet_tf.model.MPRNet`'s."""

    def __init__(
        self,
        n_feat=96,
        scale_unetfeats=48,
        scale_orsnetfeats=32,
        num_cab=8,
        reduction=4,
        stages=3,
        local_attention=None,
    ):
        super().__init__()
        self.stages = stages
        widths = [n_feat + level * scale_unetfeats for level in range(3)]
        prelu = nn.PReLU()
        quarter, half, whole = _windows(local_attention)
        for stage, window in enumerate((quarter, half, whole)[:stages], 1):
            shallow = nn.Sequential(_plain(3, n_feat), CAB(n_feat, reduction, prelu, window))
            self.add_module(f"shallow_feat{stage}", shallow)
        self.stage1_encoder = Encoder(widths, reduction, prelu, quarter)
        self.stage1_decoder = Decoder(widths, reduction, prelu, half)
        self.sam12 = SAM(n_feat, image_only=stages == 1)
        if stages > 1:
            self.concat12 = _plain(2 * n_feat, n_feat)
            self.stage2_encoder = Encoder(widths, reduction, prelu, half, fusion=True)
            self.stage2_decoder = Decoder(widths, reduction, prelu, whole)
            self.sam23 = SAM(n_feat, image_only=stages == 2)
        if stages > 2:
            wide = n_feat + scale_orsnetfeats
            self.concat23 = _plain(2 * n_feat, wide)
            self.stage3_orsnet = ORSNet(widths, wide, reduction, prelu, num_cab, whole)
            self.tail = _plain(wide, 3)

    def forward(self, images):
        """(batch, 3, height, width) -> one image per stage."""
        halves = torch.cat(images.chunk(2, dim=2))
        quarters = torch.cat(halves.chunk(2, dim=3))

        encoded = self.stage1_encoder(self.shallow_feat1(quarters))
        encoded = [_join(level, dim=3) for level in encoded]
        decoded = self.stage1_decoder(encoded)
        if self.stages == 1:
            return [_join(self.sam12.restore(decoded[0], halves), dim=2)]
        attended, restored1 = self.sam12(decoded[0], halves)

        x = self.concat12(torch.cat([self.shallow_feat2(halves), attended], dim=1))
        encoded = self.stage2_encoder(x, encoded, decoded)
        encoded = [_join(level, dim=2) for level in encoded]
        decoded = self.stage2_decoder(encoded)
        outputs = [_join(restored1, dim=2)]
        if self.stages == 2:
            return [*outputs, self.sam23.restore(decoded[0], images)]
        attended, restored2 = self.sam23(decoded[0], images)

        x = self.concat23(torch.cat([self.shallow_feat3(images), attended], dim=1))
        x = self.stage3_orsnet(x, encoded, decoded)
        return [*outputs, restored2, self.tail(x) + images]


def _join(x, dim):
    return torch.cat(x.chunk(2), dim=dim)


def _windows(crop):
    if crop is None:
        return None, None, None
    whole, half = 3 * crop // 2, 3 * (crop // 2) // 2
    return (half, half), (half, whole), (whole, whole)


def parameter_map(keras_model) -> dict:
    """Returns {name of a parameter here: the variable of our network}, for a built network."""
    if type(keras_model).__name__ == "SRN":
        from srn_tf.convert import name_map

        return {_srn_name(name): variable for name, variable in name_map(keras_model).items()}
    if type(keras_model).__name__ == "MAXIM":
        return pytorch_maxim.parameter_map(keras_model)
    from mprnet_tf.convert import name_map

    return name_map(keras_model)


def _srn_name(name):
    module, kind = name.removeprefix("g_net/").rsplit("/", 1)
    module = module.replace("/", ".")
    if module in ("enc2_1", "enc3_1"):
        module += ".1"  # behind the padding
    return f"{module}.{'weight' if kind == 'weights' else 'bias'}"


def copy_weights(keras_model, torch_model: nn.Module) -> None:
    """Gives the PyTorch network the weights of ours.

    Args:
      keras_model: a built `SRN`, `MPRNet` or `MAXIM`.
      torch_model: the module of the same name and arguments.

    Raises:
      RuntimeError: from `load_state_dict`, if any parameter is missing, left over or misshapen.
    """
    state = {}
    for name, variable in parameter_map(keras_model).items():
        array = np.asarray(variable, np.float32)
        # Kernels: (h, w, in, out) -> (out, in, h, w), and (h, w, out, in) -> (in, out, h, w).
        orders = {4: (3, 2, 0, 1), 2: (1, 0)}
        array = array.transpose(orders[array.ndim]) if array.ndim in orders else array.reshape(-1)
        state[name] = torch.from_numpy(np.array(array))
    torch_model.load_state_dict(state)
