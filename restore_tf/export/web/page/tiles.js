// Restoring a picture in tiles of one size that overlap and are blended. The counterpart of
// restore_tf/inference/blended_tiles.py, `pad` of restore_tf/inference/restore.py included, with
// the same numbers: sums are rounded to float32 where NumPy rounds them.

const fround = Math.fround;

// Tiles of one length along an axis, spread evenly, each with its weights.
export function spread(size, tile, overlap, step) {
  if (tile >= size) return [{start: 0, stop: size, weights: new Float32Array(size).fill(1)}];
  const least = Math.min(overlap + step - 1, tile - 1);  // starts are brought down to the step
  const count = Math.ceil((size - least) / (tile - least));
  const room = size - tile;
  const places = new Set();  // the step can bring two to one place
  for (let index = 0; index < count - 1; ++index) {
    places.add(Math.floor(Math.floor(room * index / (count - 1)) / step) * step);
  }
  places.add(room);
  const starts = [...places];
  const shared = starts.slice(1).map((start, index) => starts[index] + tile - start);
  return starts.map((start, index) => ({
    start,
    stop: start + tile,
    weights: ramps(tile, shared[index - 1] ?? 0, shared[index] ?? 0),
  }));
}

// Weights that rise over what is shared with the tile before, and fall over what comes after.
function ramps(tile, before, after) {
  const weights = new Float32Array(tile).fill(1);
  for (let index = 0; index < before; ++index) {
    weights[index] = Math.min(weights[index], fround((index + 1) / (before + 1)));
  }
  for (let index = 0; index < after; ++index) {
    const mirrored = tile - 1 - index;
    weights[mirrored] = Math.min(weights[mirrored], fround((index + 1) / (after + 1)));
  }
  return weights;
}

// Where each row (or column) of the padded picture comes from.
export function positions(length, size, padding) {
  const period = Math.max(2 * (size - 1), 1);
  return Int32Array.from({length}, (_, index) => {
    if (padding === "edge") return Math.min(index, size - 1);
    const place = index % period;
    return Math.min(place, period - place);
  });
}

// How a picture is cut up for a model of the manifest, without looking at its pixels.
export function plan(height, width, model) {
  const sides = [height, width].map((side, axis) => {
    const multiple = model.size_multiple;
    const padded = Math.max(Math.ceil(side / multiple) * multiple, model.size[axis]);
    const tiles = spread(padded, model.size[axis], model.overlap[axis], model.tile_step);
    return {padded, tiles, from: positions(padded, side, model.padding)};
  });
  return {down: sides[0], across: sides[1], count: sides[0].tiles.length * sides[1].tiles.length};
}

// Restores one source, tile row by tile row, so that no more than a row of tiles is held in floats.
//
//   source: {data, height, width, stride, offset}; pixel (y, x) begins at
//     data[(y * width + x) * stride + offset]. Bytes are taken as they are, floats lie in [0, 1].
//   run: takes a tile's values, as the source has them, gives float32 of output_scale its size.
//   give: takes (first row, float32 rows, their number of columns) of the padded restored picture,
//     from the top down. The rows are only valid during the call.
//   progress: called after each tile.
export async function restoreBlended(source, model, run, give, progress) {
  const {down, across} = plan(source.height, source.width, model);
  const [tileHeight, tileWidth] = model.size;
  const {channels, output_scale: scale} = model;
  const tile = new source.data.constructor(tileHeight * tileWidth * channels);
  const columns = scale * across.padded;
  const rows = scale * Math.min(tileHeight, down.padded);
  const band = {
    columns,
    total: new Float32Array(rows * columns * channels),
    weight: new Float32Array(rows * columns),
  };
  for (const [index, row] of down.tiles.entries()) {
    for (const column of across.tiles) {
      cut(source, down.from, across.from, row, column, channels, tile);
      add(band, await run(tile), row, column, scale, channels);
      progress();
    }
    // Rows above the next tile row get nothing more.
    const next = down.tiles[index + 1]?.start ?? down.padded;
    const done = scale * (next - row.start) * columns;
    const finished = band.total.subarray(0, done * channels);
    for (let pixel = 0, value = 0; pixel < done; ++pixel) {
      for (let channel = 0; channel < channels; ++channel, ++value) {
        finished[value] /= band.weight[pixel];
      }
    }
    give(scale * row.start, finished, columns);
    band.total.copyWithin(0, done * channels).fill(0, band.total.length - done * channels);
    band.weight.copyWithin(0, done).fill(0, band.weight.length - done);
  }
}

function cut(source, rowsFrom, columnsFrom, row, column, channels, tile) {
  let value = 0;
  for (let y = row.start; y < row.stop; ++y) {
    const line = rowsFrom[y] * source.width;
    for (let x = column.start; x < column.stop; ++x) {
      const pixel = (line + columnsFrom[x]) * source.stride + source.offset;
      for (let channel = 0; channel < channels; ++channel) {
        tile[value++] = source.data[pixel + channel];
      }
    }
  }
}

function add(band, restored, row, column, scale, channels) {
  let value = 0;
  const height = scale * (row.stop - row.start), width = scale * (column.stop - column.start);
  for (let y = 0; y < height; ++y) {
    const rowShare = row.weights[Math.floor(y / scale)];
    let pixel = y * band.columns + scale * column.start;
    for (let x = 0; x < width; ++x, ++pixel) {
      const share = fround(rowShare * column.weights[Math.floor(x / scale)]);
      band.weight[pixel] += share;
      for (let channel = 0; channel < channels; ++channel, ++value) {
        band.total[pixel * channels + channel] += fround(share * restored[value]);
      }
    }
  }
}
