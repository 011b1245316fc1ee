// Hands each block of samples to the page, as s16le at the context's rate.
class Microphone extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) {
      const pcm = new Int16Array(samples.length);
      for (let i = 0; i < samples.length; i++) {
        pcm[i] = Math.max(-1, Math.min(1, samples[i])) * 32767;
      }
      this.port.postMessage(pcm.buffer, [pcm.buffer]);
    }
    return true;
  }
}
registerProcessor("microphone", Microphone);
