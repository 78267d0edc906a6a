"""Degrades sharp pictures: linear light, blur kernels, saturation, sensor noise.

Light adds up on the sensor before a camera encodes it, so pictures are blurred in linear light and
encoded afterwards; a blur of sRGB values would lack the bright streaks of real lamps.

Kernels are (2 r + 1, 2 r + 1) float64 arrays, indexed (row, column), that sum to 1. They are
applied as convolutions: a kernel is the picture that one point of light leaves. Its centroid lies
on the middle pixel, so that the blurred picture is not shifted against the sharp one.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft, ndimage, special

from restore_tf.errors import UserError

SAMPLES = 512  # samples of one exposure: about 1 pixel apart at most, on the longest paths


def srgb_to_linear(image: np.ndarray) -> np.ndarray:
    """Decodes sRGB values to linear light (IEC 61966-2-1).

    Args:
      image: floats in [0, 1], of any shape.

    Returns:
      Linear light in [0, 1], the same shape.
    """
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(image: np.ndarray) -> np.ndarray:
    """Encodes linear light as sRGB values (IEC 61966-2-1).

    Args:
      image: floats in [0, 1], of any shape.

    Returns:
      sRGB values in [0, 1], the same shape.
    """
    return np.where(
        image <= 0.0031308,
        12.92 * image,
        1.055 * np.maximum(image, 0.0031308) ** (1 / 2.4) - 0.055,
    )


def defocus_kernel(sigma: float) -> np.ndarray:
    """Isotropic out-of-focus blur: the discrete Gaussian of variance sigma^2.

    Lindeberg, "Scale-space for discrete signals", PAMI 1990: T(n, t) = exp(-t) I_n(t). Its sum is
    1 and its variance exactly t at any width, where a sampled Gaussian is too narrow below one
    pixel.

    Args:
      sigma: standard deviation along each axis in pixels, at least 0.

    Returns:
      (2 r + 1, 2 r + 1) float64 kernel with r about 5 sigma + 2.

    Raises:
      UserError: sigma is negative.
    """
    line = _gaussian_line(sigma)
    return np.outer(line, line)


def _gaussian_line(sigma: float) -> np.ndarray:
    if sigma < 0:
        raise UserError(f"sigma is {sigma}; expected a standard deviation of 0 pixels or more.")
    radius = math.ceil(5 * sigma + 2) if sigma > 0 else 0
    line = special.ive(np.abs(np.arange(-radius, radius + 1)), sigma**2)
    return line / line.sum()


def shake_path(rng: np.random.Generator, length: float) -> np.ndarray:
    """Draws the path of a point of light on the sensor during one hand-held exposure.

    The hand is modelled as a damped spring: noise and a few jolts push it, inertia smooths the
    response, and a drift remains. Follows Boracchi and Foi (TIP 2012) and DeblurGAN (Kupyn et al.
    2018, algorithm 1), a random walk with inertia and impulses; unlike theirs, the speed varies
    along the path, so that the camera dwells at places as in the kernels of Levin et al. (2009).

    Args:
      rng: source of randomness.
      length: the largest distance between two points of the path, in pixels.

    Returns:
      (512, 2) float64 offsets (row, column) in pixels at equal times, mean 0.
    """
    from scipy import signal, spatial  # a second to import, and defocus needs neither

    count, burn_in = SAMPLES, SAMPLES // 2
    push = rng.standard_normal((count + burn_in, 2))
    for _ in range(rng.poisson(2.0)):
        push[rng.integers(count + burn_in)] += 25.0 * rng.standard_normal(2)
    cycles, damping = rng.uniform(0.3, 1.5), rng.uniform(0.3, 1.0)
    step = 2 * math.pi * cycles / count
    pole = np.exp(step * complex(-damping, math.sqrt(max(1 - damping**2, 0.0))))
    sway = signal.lfilter([1.0], [1.0, -2 * pole.real, abs(pole) ** 2], push, axis=0)[burn_in:]
    sway = sway / (sway.std() + 1e-12) * (1.0, rng.uniform(0.2, 1.0))  # shake has a main direction
    drift = np.linspace(-1.0, 1.0, count)[:, None] * rng.normal(0.0, 1.0, 2)
    path = (sway + drift) @ _rotation(rng.uniform(0.0, 2 * math.pi))
    path *= length / spatial.distance.pdist(path[::4]).max()
    return path - path.mean(axis=0)


def _rotation(angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def path_kernel(path: np.ndarray) -> np.ndarray:
    """Draws a path of offsets as a kernel, exact to a fraction of a pixel.

    Each sample is shared among its four nearest pixels (bilinear weights), which keeps the
    centroid of the path to the last digit.

    Args:
      path: (count, 2) offsets (row, column) in pixels from the kernel's middle, at equal times.

    Returns:
      (2 r + 1, 2 r + 1) float64 kernel, the smallest that holds the path.
    """
    radius = math.ceil(np.abs(path).max()) if np.abs(path).max() > 0 else 0
    side = 2 * radius + 1
    corner = np.floor(path).astype(int)
    fraction = path - corner
    kernel = np.zeros((side + 1, side + 1))  # the last row and column only ever receive weight 0
    for rows in (0, 1):
        for columns in (0, 1):
            weight = np.abs(1 - rows - fraction[:, 0]) * np.abs(1 - columns - fraction[:, 1])
            where = corner[:, 0] + radius + rows, corner[:, 1] + radius + columns
            np.add.at(kernel, where, weight)
    return kernel[:side, :side] / len(path)


def camera_shake_kernel(
    rng: np.random.Generator,
    length: float | None = None,
    defocus: float = 0.0,
    max_radius: int = 24,
) -> np.ndarray:
    """Draws one camera-shake kernel: a shake path, slightly out of focus.

    Args:
      rng: source of randomness.
      length: extent of the path in pixels (see `shake_path`); None draws it from [3, 25], short
        ones likelier.
      defocus: sigma of the out-of-focus blur in pixels, on top of the shake.
      max_radius: the kernel is at most (2 max_radius + 1) pixels wide; a path that strays farther
        from its centroid is shrunk to fit.

    Returns:
      (2 r + 1, 2 r + 1) float64 kernel, r <= max_radius, sum 1, centroid on the middle pixel.

    Raises:
      UserError: a length of 0 or less, or a max_radius that the defocus alone exceeds.
    """
    length = 3.0 + 22.0 * rng.random() ** 1.5 if length is None else length
    line = _gaussian_line(defocus)
    spread = len(line) // 2
    if length <= 0 or spread >= max_radius:
        raise UserError(
            f"length {length}, defocus {defocus}, max_radius {max_radius}: expected a length above "
            f"0 and a max_radius above {spread} pixels; change one of them."
        )
    path = shake_path(rng, length)
    path *= min(1.0, (max_radius - spread) / np.abs(path).max())
    kernel = np.pad(path_kernel(path), spread)
    for axis in (0, 1):
        kernel = ndimage.convolve1d(kernel, line, axis=axis, mode="constant")
    return kernel


def degrade(
    sharp: np.ndarray,
    kernel: np.ndarray,
    rng: np.random.Generator,
    highlights: float = 1.0,
    shot: float = 0.0,
    read: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Photographs a sharp picture with a blurring camera, in linear light.

    sRGB -> linear -> brighten the highlights -> blur -> shot and read noise -> clip -> sRGB. The
    brightening undoes the sharp picture's clipping: a lamp of value 1 may have been many times as
    bright, and leaves a clipped streak when blurred (as in Hu et al. 2014).

    Args:
      sharp: (height + 2 r, width + 2 r, 3) float sRGB picture in [0, 1]. Its border of r pixels is
        blurred into the picture from outside; it is cut off in both results.
      kernel: (2 r + 1, 2 r + 1) kernel.
      rng: source of the noise.
      highlights: factor for white; 1 changes nothing. Grows smoothly from 1 at 70 % of linear full
        scale; the sharp result is that brighter picture, clipped.
      shot: variance of the shot noise at full scale, in units of full scale squared, linear.
      read: standard deviation of the read noise in units of full scale, linear.

    Returns:
      (degraded, sharp), both (height, width, 3) float32 sRGB in [0, 1].

    Raises:
      UserError: the kernel is no square of odd width, or the picture is smaller than it.
    """
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise UserError(f"kernel has shape {kernel.shape}; expected a square of odd width.")
    if sharp.ndim != 3 or min(sharp.shape[:2]) < len(kernel):
        raise UserError(
            f"sharp has shape {sharp.shape}; expected (height, width, channels) of at least the "
            f"kernel's {len(kernel)} pixels."
        )
    planes = np.moveaxis(sharp, -1, 0).astype(np.float32, order="C")
    light = brighten(srgb_to_linear(planes), highlights)
    blurred = _convolve(light, kernel.astype(np.float32))
    np.maximum(blurred, 0.0, out=blurred)
    noise = rng.standard_normal(blurred.shape, dtype=np.float32)
    blurred += noise * np.sqrt(np.float32(shot) * blurred + np.float32(read**2))
    radius = len(kernel) // 2
    inside = slice(radius, sharp.shape[0] - radius), slice(radius, sharp.shape[1] - radius)
    return encode(blurred), sharp[inside] if highlights == 1.0 else encode(light[:, *inside])


def _convolve(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolves each plane by FFT; returns the valid part."""
    margin = len(kernel) - 1
    sides = [fft.next_fast_len(side + margin, real=True) for side in planes.shape[1:]]
    spectrum = fft.rfft2(planes, sides) * fft.rfft2(kernel, sides)
    height, width = planes.shape[1:]
    return fft.irfft2(spectrum, sides)[:, margin:height, margin:width]


def brighten(light: np.ndarray, highlights: float) -> np.ndarray:
    """Brightens highlights, see `degrade`.

    Args:
      light: (3, height, width) float32 linear planes in [0, 1].
      highlights: factor for white, 1 or more.

    Returns:
      (3, height, width), in [0, highlights].
    """
    if highlights == 1.0:
        return light
    white = np.clip((light.min(axis=0) - 0.7) / 0.3, 0.0, 1.0)
    return light * (1.0 + np.float32(highlights - 1.0) * white * white)


def encode(light: np.ndarray) -> np.ndarray:
    """Encodes linear planes as an sRGB picture, clipped to [0, 1].

    Args:
      light: (3, height, width) float.

    Returns:
      (height, width, 3) float32.
    """
    return np.moveaxis(linear_to_srgb(np.clip(light, 0.0, 1.0)), 0, -1).astype(np.float32)
