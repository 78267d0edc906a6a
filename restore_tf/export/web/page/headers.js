// What a picture's first bytes say that a browser does not.

const PNG = [0x89, 0x50, 0x4e, 0x47];

// Whether a file holds one channel: gray PNG and JPEG. A browser makes three of it.
export async function isGray(blob) {
  const bytes = new Uint8Array(await blob.slice(0, 64).arrayBuffer());
  if (PNG.every((value, index) => bytes[index] === value)) return [0, 4].includes(bytes[25]);
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return false;
  return await jpegComponents(blob) === 1;
}

// Walks over a JPEG's segments to the frame's; profiles and thumbnails come before it.
async function jpegComponents(blob) {
  for (let place = 2; place + 10 <= blob.size;) {
    const bytes = new Uint8Array(await blob.slice(place, place + 10).arrayBuffer());
    const kind = bytes[1];
    const isFrame = kind >= 0xc0 && kind <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(kind);
    if (bytes[0] !== 0xff || kind === 0xda) return 0;
    if (isFrame) return bytes[9];
    place += kind === 0xff ? 1 : 2 + 256 * bytes[2] + bytes[3];
  }
  return 0;
}
