// What web_page_test.py asks of the page's modules: node page_program.mjs PAGE < JSON > JSON

import {readFileSync} from "node:fs";
import {pathToFileURL} from "node:url";

const load = name => import(pathToFileURL(`${process.argv[2]}/${name}`).href);
const {restorePicture} = await load("colours.js");
const {isGray} = await load("headers.js");
const {positions, spread} = await load("tiles.js");

const plain = tiles => tiles.map(({start, stop, weights}) => ({start, stop, weights: [...weights]}));

// A network's stand-in that tells tiles apart: darker to the right, with what makes its sums uneven.
function standIn({size: [height, width], channels, output_scale: scale}) {
  return tile => {
    const given = new Float32Array(scale * height * scale * width * channels);
    for (let y = 0, value = 0; y < scale * height; ++y) {
      for (let x = 0; x < scale * width; ++x) {
        for (let channel = 0; channel < channels; ++channel) {
          const from = Math.floor(y / scale) * width + Math.floor(x / scale);
          const read = tile[from * channels + channel];
          const pixel = tile instanceof Float32Array ? read : Math.fround(read / 255);
          given[value++] = pixel * (1 - x / (2 * scale * width)) + 0.1 * channel;
        }
      }
    }
    return given;
  };
}

const tasks = {
  spread: ({size, tile, overlap, step}) => plain(spread(size, tile, overlap, step)),
  positions: ({length, size, padding}) => [...positions(length, size, padding)],
  gray: async ({path}) => isGray(new Blob([readFileSync(path)])),
  restore: async ({picture, model}) => {
    let runs = 0;
    const restored = await restorePicture({...picture, data: Uint8ClampedArray.from(picture.data)},
      model, standIn(model), () => { ++runs; });
    return {...restored, data: [...restored.data], runs};
  },
};

const asked = JSON.parse(readFileSync(0, "utf8"));
const answers = [];
for (const {task, ...rest} of asked) answers.push(await tasks[task](rest));
console.log(JSON.stringify(answers));
