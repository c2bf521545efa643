// Drags along a plot, which choose a range of what its x axis shows.

// Nearer than this to its start, in pixels, a pointer has been clicked, not dragged.
const CLICK = 4;

/**
 * Follow the pointer on a canvas: `moved` is given both ends in pixels, the smaller first, while a drag goes on, and
 * `ended` whether there was one.
 * @param {HTMLCanvasElement} canvas @param {(from: number, to: number) => void} moved
 * @param {(wasDragged: boolean) => void} ended
 */
export function followDrags(canvas, moved, ended) {
  let start = NaN;
  canvas.addEventListener("pointerdown", (event) => {
    start = event.offsetX;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (Number.isNaN(start) || Math.abs(event.offsetX - start) < CLICK) return;
    moved(Math.min(start, event.offsetX), Math.max(start, event.offsetX));
  });
  canvas.addEventListener("pointerup", (event) => {
    const wasDragged = Math.abs(event.offsetX - start) >= CLICK;
    start = NaN;
    ended(wasDragged);
  });
}
