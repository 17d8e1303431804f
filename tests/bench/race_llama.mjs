// Reading a prompt and writing behind it by llama.cpp: one line of JSON.
//
// usage: node race_llama.mjs MODEL.gguf PROMPT KEYS TOKENS THREADS     (npm install node-llama-cpp; race_llama.py runs it)
//
// Tokens are counted from the second on, so that reading the keys is left out; flash attention as FLASH says (0 or 1, 1 unless said otherwise).
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [modelPath, ...numbers] = process.argv.slice(2);
const [prompt, keys, tokens, threads] = numbers.map(Number);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: threads});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({contextSize: Math.max(prompt, keys + tokens) + 8, batchSize: 512, threads,
  flashAttention: process.env.FLASH !== "0"});
const sequence = context.getSequence();
const ids = (count) => Array.from({length: count}, (_, i) => (i * 7919 + 13) % 31000 + 5);
const seconds = () => Number(process.hrtime.bigint()) * 1e-9;
const reading = [], writing = [];
for (let round = 0; round < 4; round++) { // the first one touches memory
  await sequence.clearHistory();
  let begin = seconds();
  await sequence.evaluateWithoutGeneratingNewTokens(ids(prompt));
  if (round) reading.push(prompt / (seconds() - begin));
}
for (let round = 0; round < 3; round++) {
  await sequence.clearHistory();
  let count = 0, begin = 0, last = 0;
  for await (const _ of sequence.evaluate(ids(keys), {temperature: 0, yieldEogToken: true})) {
    last = seconds();
    if (!count++) begin = last;
    if (count > tokens) break;
  }
  if (round) writing.push((count - 1) / (last - begin));
}
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
console.log(JSON.stringify({prefill: median(reading), decode: median(writing)}));
process.exit(0);
