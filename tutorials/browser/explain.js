// Runs explained.onnx on what is drawn: outputs, attributions and completeness gap of each image.
"use strict";

const SIDE = 28;
const pixels = new Float32Array(SIDE * SIDE);
const at = (id) => document.getElementById(id);
let session, classes, busy = false, again = false;

function paint(canvas, colour) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) image.data.set([...colour(i), 255], 4 * i);
  context.putImageData(image, 0, 0);
}

// White at zero; red for the class, blue against it.
function heatOf(values) {
  const most = values.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-12);
  return (i) => {
    const pale = 255 * (1 - Math.abs(values[i]) / most);
    return values[i] > 0 ? [255, pale, pale] : [pale, pale, 255];
  };
}

async function run() {
  const inputs = new ort.Tensor("float32", pixels.slice(), [1, 1, SIDE, SIDE]);
  const found = await session.run({ inputs });
  return {
    outputs: found.outputs.data,
    attributions: found.attributions.data,
    gap: found.completeness_gap.data[0],
  };
}

// One run at a time; what is drawn meanwhile is explained by the next.
async function explain() {
  paint(at("picture"), (i) => Array(3).fill(255 * pixels[i]));
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    show(await run());
  }
  busy = false;
}

function show({ outputs, attributions, gap }) {
  const most = Math.max(...outputs);
  const powers = Array.from(outputs, (v) => Math.exp(v - most));
  const total = powers.reduce((a, b) => a + b);
  const best = outputs.indexOf(most);
  paint(at("heat"), heatOf(attributions));
  at("classes").replaceChildren(...classes.map((name, i) => {
    const line = document.createElement("div"), bar = document.createElement("i"), label = document.createElement("span");
    label.textContent = name;
    label.style.fontWeight = i === best ? "bold" : "";
    bar.style.width = `${(8 * powers[i]) / total}rem`;
    line.append(label, bar);
    return line;
  }));
  at("said").textContent = Number.isFinite(gap)
    ? `${classes[best]}. The attributions add up to its output but for ${Math.abs(gap).toExponential(0)}.`
    : "This file was changed: its explanations are not shown to be right.";
}

function pick(image) {
  pixels.set(image.map((v) => v / 255));
  return explain();
}

function draw(event) {
  if (!event.buttons) return;
  const box = at("picture").getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * SIDE, y = ((event.clientY - box.top) / box.height) * SIDE;
  for (let i = 0; i < SIDE * SIDE; i++) {
    const distance = Math.hypot((i % SIDE) + 0.5 - x, Math.floor(i / SIDE) + 0.5 - y);
    pixels[i] = Math.max(pixels[i], Math.min(1, Math.max(0, 2 - distance)));
  }
  explain();
}

async function start() {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", document.baseURI).href;
  const garments = await (await fetch("garments.json")).json();
  classes = garments.classes;
  session = await ort.InferenceSession.create("explained.onnx");
  for (const image of garments.images) {
    const small = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
    paint(small, (i) => Array(3).fill(image[i]));
    small.onclick = () => pick(image);
    at("garments").append(small, " ");
  }
  at("picture").onpointerdown = at("picture").onpointermove = draw;
  at("clear").onclick = () => { pixels.fill(0); explain(); };
  await pick(garments.images[0]);
}

const ready = start();
ready.catch((error) => { at("said").textContent = String(error); });
