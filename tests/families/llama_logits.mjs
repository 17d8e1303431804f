// Writes what llama.cpp says about token ids: the log-probabilities of what follows each of them, or why it does not load the file.
//
// usage: node llama_logits.mjs OUT.json MODEL.gguf=ID,ID,... ...     (npm install node-llama-cpp)
//
// Keys and values are F32. llama.cpp rounds the activations that it multiplies by quantised or half weights.
import fs from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [out, ...jobs] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 2});
const result = {release: llama.llamaCppRelease?.release ?? null, files: {}};
for (const job of jobs) {
  const [modelPath, text] = job.split("=");
  const ids = text.split(",").map(Number);
  try {
    const model = await llama.loadModel({modelPath});
    const context = await model.createContext({contextSize: 32, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
      flashAttention: false, threads: 2});
    const asked = ids.map((id) => [id, {generateNext: {probabilities: true, options: {temperature: 0}}}]);
    const rows = await context.getSequence().controlledEvaluate(asked);
    result.files[modelPath] = rows.map(({next}) => Object.fromEntries([...next.probabilities].map(([id, p]) => [id, Math.log(p)])));
    await context.dispose();
    await model.dispose();
  } catch (error) {
    result.files[modelPath] = String(error);
  }
}
fs.writeFileSync(out, JSON.stringify(result));
process.exit(0);
