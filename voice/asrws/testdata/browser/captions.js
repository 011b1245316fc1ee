// A page that captions its microphone as pages of WhisperLiveKit do: it waits for
// config, sends what it records in small binary frames, shows all lines anew with
// each message, and says by an empty frame that it has stopped. What it has shown
// goes to the test in the end.
const query = new URLSearchParams(location.search);
const lines = document.getElementById("lines");
const interim = document.getElementById("interim");
const report = { config: null, interim: 0, frames: 0, shown: [], kind: "" };
let stopped;
const end = new Promise((resolve) => (stopped = resolve));
let configured;
const config = new Promise((resolve) => (configured = resolve));

function show(message) {
  lines.replaceChildren(
    ...message.lines.filter((l) => l.text).map((l) => {
      const p = document.createElement("p");
      p.textContent = l.text.trim();
      return p;
    }),
  );
  interim.textContent = message.buffer_transcription;
  if (message.buffer_transcription) report.interim++;
}

function told(event) {
  const message = JSON.parse(event.data);
  switch (message.type) {
    case "config":
      report.config = message;
      return configured();
    case "ready_to_stop":
      return stopped();
  }
  show(message);
}

const socket = () =>
  new Promise((resolve, reject) => {
    const ws = new WebSocket(`ws://${location.host}/asr`);
    ws.onopen = () => resolve(ws);
    ws.onerror = () => reject(new Error("no connection"));
    ws.onmessage = told;
  });

function send(ws, data) {
  report.frames++;
  ws.send(data);
}

// Both return what ends the recording.
function recordWebM(ws, stream) {
  const recorder = new MediaRecorder(stream, { mimeType: "audio/webm" });
  recorder.ondataavailable = (e) => e.data.size && send(ws, e.data);
  recorder.onstart = () => (report.kind = recorder.mimeType);
  const done = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start(100);
  return () => (recorder.stop(), done);
}

async function recordPCM(ws, stream) {
  const context = new AudioContext({ sampleRate: 16000 });
  await context.audioWorklet.addModule("microphone.js");
  const node = new AudioWorkletNode(context, "microphone");
  node.port.onmessage = (e) => send(ws, e.data);
  context.createMediaStreamSource(stream).connect(node);
  report.kind = "s16le at " + context.sampleRate;
  return () => context.close();
}

// Until as many lines are shown as were spoken, or the patience ends.
function heard(want, seconds) {
  return new Promise((resolve) => {
    const giveUp = setTimeout(resolve, seconds * 1000);
    new MutationObserver(() => {
      if (lines.childElementCount >= want) {
        clearTimeout(giveUp);
        resolve();
      }
    }).observe(lines, { childList: true });
  });
}

async function run() {
  const ws = await socket();
  await config;
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const stop = await (query.get("as") === "pcm" ? recordPCM : recordWebM)(ws, stream);
  await heard(Number(query.get("lines")), 60);
  await stop();
  ws.send(new Blob([]));
  await end;
  ws.close();
}

try {
  await run();
} catch (error) {
  report.error = String(error);
}
report.shown = Array.from(lines.children, (p) => p.textContent);
await fetch("report", { method: "POST", body: JSON.stringify(report) });
