// Blobs of analysis/page/columns.py: gzip of a header and typed arrays, read from this document or from the server.

const ARRAYS = {
  uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array, float32: Float32Array,
};

/** The bytes of base64 text. @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** An element of this document, which the browser may still read: what has a neighbour is whole. @param {string} id */
async function embedded(id) {
  const found = document.getElementById(id);
  if (found?.nextElementSibling || document.readyState !== "loading" || document.body.dataset.live !== undefined) return found;
  await new Promise((done) => document.addEventListener("DOMContentLoaded", done, { once: true }));
  return document.getElementById(id);
}

/** The compressed bytes of a blob. @param {string} name @returns {Promise<Uint8Array<ArrayBuffer>>} */
async function compressed(name) {
  const held = await embedded(`blob-${name}`);
  if (held) return fromBase64((held.textContent ?? "").trim());
  const reply = await fetch(`blob/${name}${location.search}`, { cache: "no-store" });
  if (!reply.ok) throw new Error(`the server answered ${reply.status}`);
  return new Uint8Array(await reply.arrayBuffer());
}

/**
 * A blob's header and arrays.
 * @param {string} name
 * @returns {Promise<{header: any, arrays: Record<string, any>}>}
 */
export async function readBlob(name) {
  const stream = new Blob([await compressed(name)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  /** @type {Record<string, any>} */
  const arrays = {};
  let place = padded(4 + length);
  for (const [column, about] of Object.entries(header.arrays)) {
    const kind = ARRAYS[/** @type {keyof typeof ARRAYS} */ (about.dtype)];
    arrays[column] = new kind(buffer, place, about.length);
    place = padded(place + about.length * kind.BYTES_PER_ELEMENT);
  }
  return { header, arrays };
}

/** @param {number} length */
function padded(length) {
  return Math.ceil(length / 8) * 8;
}

/**
 * A metric's values, run by run, NaN where there is none.
 * @param {any} header @param {Uint8Array} planes bytes of equal weight side by side
 * @returns {Float32Array}
 */
export function valuesOf(header, planes) {
  const numSteps = header.steps.length;
  const count = header.runs * numSteps;
  if (header.scale === "exact") {
    const bytes = new Uint8Array(count * 4);
    for (let plane = 0; plane < 4; plane += 1) {
      for (let i = 0, from = plane * count; i < count; i += 1) bytes[4 * i + plane] = planes[from + i];
    }
    return new Float32Array(bytes.buffer);
  }
  const table = tableOf(header);
  const values = new Float32Array(count);
  const mask = table.length - 1;
  const isWide = header.bits === 16;
  for (let r = 0, i = 0; r < header.runs; r += 1) {
    let code = 0;
    for (let t = 0; t < numSteps; t += 1, i += 1) {
      code = (code + planes[i] + (isWide ? planes[count + i] << 8 : 0)) & mask;
      values[i] = table[code];
    }
  }
  return values;
}

/** The value of each code; the last code is "none". @param {any} header @returns {Float32Array} */
function tableOf(header) {
  const table = new Float32Array(2 ** header.bits);
  const last = table.length - 1;
  const step = (header.high - header.low) / (last - 1);
  for (let code = 0; code < last; code += 1) {
    const spaced = header.low + step * code;
    if (header.scale === "log") table[code] = Math.exp(spaced);
    else table[code] = header.scale === "asinh" ? header.unit * Math.sinh(spaced) : spaced;
  }
  table[last] = NaN;
  return table;
}

/** How exact the shown values are, in words. @param {any} header @returns {string} */
export function precisionText(header) {
  if (header.scale === "exact") return "values to 7 digits";
  const error = header.error;
  if (header.scale === "linear") return `values to ±${Number(error.toPrecision(1))}`;
  return `values to ±${Number((100 * error).toPrecision(1))}%`;
}
