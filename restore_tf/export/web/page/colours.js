// A picture's colours through a network of three channels or one, and back: the counterpart of
// restore_tf/pictures/planes.py.

import {plan, restoreBlended} from "./tiles.js";

const RED = 0.299, GREEN = 0.587, BLUE = 0.114;  // BT.601

// How many times the network runs for a picture.
export function runs(picture, model) {
  return plan(picture.height, picture.width, model).count * passes(picture, model).length;
}

// The sources that a picture is split into, each with what takes its restored rows.
function passes(picture, model, pixels) {
  const {data, width, height, gray} = picture;
  const bytes = (offset, write) => ({source: {data, width, height, stride: 4, offset}, write});
  if (model.channels === 3) return [bytes(0, gray ? writeMean : writeColours)];
  if (gray) return [bytes(0, writeGray)];
  if (model.colour !== "luminance") {
    return [0, 1, 2].map(plane => bytes(plane, writePlane(plane)));
  }
  // The sum is made when it is run, not when runs are counted.
  const source = {data: pixels && luminance(data), width, height, stride: 1, offset: 0};
  return [{source, write: writeLuminance(data)}];
}

// Restores a picture of any size.
//
//   picture: {data: RGBA bytes, width, height, gray: whether the file has one channel}.
//   run, progress: see restoreBlended.
//
// Returns {data: RGBA bytes, width, height}; transparency stays as it is.
export async function restorePicture(picture, model, run, progress) {
  const scale = model.output_scale;
  const width = scale * picture.width, height = scale * picture.height;
  // Bytes of a Uint8ClampedArray are rounded as NumPy rounds, halves to even.
  const data = new Uint8ClampedArray(4 * width * height);
  for (const {source, write} of passes(picture, model, true)) {
    await restoreBlended(source, model, run, (top, rows, columns) => {
      const length = columns * model.channels, count = Math.min(rows.length / length, height - top);
      for (let y = 0; y < count; ++y) {
        write(data, 4 * (top + y) * width, rows.subarray(y * length, (y + 1) * length), width);
      }
    }, progress);
  }
  copyAlpha(picture, scale, data);
  return {data, width, height};
}

const byte = value => Math.fround(value * 255);

function writeColours(data, place, line, width) {
  for (let x = 0, value = 0; x < width; ++x, place += 4) {
    for (let channel = 0; channel < 3; ++channel) data[place + channel] = byte(line[value++]);
  }
}

// A gray picture is restored as three equal channels; their mean is its answer.
function writeMean(data, place, line, width) {
  writeColours(data, place, line, width);
  for (let x = 0; x < width; ++x, place += 4) {
    const mean = (data[place] + data[place + 1] + data[place + 2]) / 3;
    data[place] = data[place + 1] = data[place + 2] = mean;
  }
}

function writeGray(data, place, line, width) {
  for (let x = 0; x < width; ++x, place += 4) {
    data[place] = data[place + 1] = data[place + 2] = byte(line[x]);
  }
}

const writePlane = plane => (data, place, line, width) => {
  for (let x = 0; x < width; ++x, place += 4) data[place + plane] = byte(line[x]);
};

// Cb and Cr stay as they are. Such a picture is not enlarged: the exporter sees to it.
const writeLuminance = degraded => (data, place, line, width) => {
  for (let x = 0; x < width; ++x, place += 4) {
    const [red, green, blue] = [0, 1, 2].map(channel => degraded[place + channel] / 255);
    const y = RED * red + GREEN * green + BLUE * blue;
    const restoredRed = line[x] + (red - y), restoredBlue = line[x] + (blue - y);
    data[place] = byte(restoredRed);
    data[place + 1] = byte((line[x] - RED * restoredRed - BLUE * restoredBlue) / GREEN);
    data[place + 2] = byte(restoredBlue);
  }
};

function luminance(data) {
  const sums = new Float32Array(data.length / 4);
  for (let pixel = 0, place = 0; pixel < sums.length; ++pixel, place += 4) {
    sums[pixel] = (RED * data[place] + GREEN * data[place + 1] + BLUE * data[place + 2]) / 255;
  }
  return sums;
}

function copyAlpha(picture, scale, data) {
  const width = scale * picture.width, height = scale * picture.height;
  for (let y = 0, place = 3; y < height; ++y) {
    const line = Math.floor(y / scale) * picture.width;
    for (let x = 0; x < width; ++x, place += 4) {
      data[place] = picture.data[4 * (line + Math.floor(x / scale)) + 3];
    }
  }
}
