// When a frame is done, by which times of drawing are told.

/** Do something when what this frame drew is on its way to the screen. @param {() => void} done */
export function afterFrame(done) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    done();
  };
  port2.postMessage(null);
}
