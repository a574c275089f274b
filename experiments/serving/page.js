// Keys, and the easel on which regions are painted; what is painted travels as a PNG.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest(
    "textarea, [contenteditable=true], input:not([type=radio]):not([type=checkbox]):not([type=range])",
  );
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = document.getElementById({ a: "accept", n: "next" }[event.key]);
  if (!button) return;
  event.preventDefault();
  button.click();
});

window.painted = () => document.getElementById("paint")?.toDataURL("image/png") ?? "";

function setUp(easel) {
  easel.dataset.ready = "yes";
  const canvas = easel.querySelector("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const size = easel.querySelector("input[type=range]");
  const earlier = [];
  let last = null;
  const start = new Image();
  start.onload = () => context.drawImage(start, 0, 0);
  start.src = easel.dataset.paint;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  };
  const stroke = (event) => {
    const here = place(event);
    const isErasing = easel.querySelector("input[type=radio]:checked").value === "erase";
    context.globalCompositeOperation = isErasing ? "destination-out" : "source-over";
    context.strokeStyle = easel.dataset.color;
    context.lineWidth = Number(size.value);
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...(last ?? here));
    context.lineTo(...here);
    context.stroke();
    last = here;
  };
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    earlier.push(context.getImageData(0, 0, canvas.width, canvas.height));
    if (earlier.length > 20) earlier.shift();
    last = null;
    stroke(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons && canvas.hasPointerCapture(event.pointerId)) stroke(event);
  });
  easel.querySelector("button").addEventListener("click", () => {
    if (earlier.length) context.putImageData(earlier.pop(), 0, 0);
  });
}

new MutationObserver(() => {
  const easel = document.querySelector("#easel:not([data-ready])");
  if (easel) setUp(easel);
}).observe(document.documentElement, { childList: true, subtree: true });
