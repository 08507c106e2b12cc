// Draws at most so often, and only when the browser paints.

/** Return a function that runs `draw` at most every `ms`, in an animation frame. */
export function throttled(draw, ms = 1000) {
  let last = -Infinity;
  let wanted = false;
  const run = () => requestAnimationFrame(() => {
    wanted = false;
    last = performance.now();
    draw();
  });
  return () => {
    if (wanted) return;
    wanted = true;
    const wait = last + ms - performance.now();
    if (wait <= 0) run();
    else setTimeout(run, wait);
  };
}
