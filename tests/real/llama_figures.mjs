// Writes what llama.cpp says about some texts: ids, greedy answers with their log-probabilities, and the log-probabilities of a text.
//
// usage: node llama_figures.mjs MODEL.gguf OUT.json     (npm install node-llama-cpp)
//
// Keys and values are F32. llama.cpp rounds the activations that it multiplies by quantised or half weights, so exact figures come from
// a file whose weights are F32 (widen_gguf.py makes one of the same values).
import fs from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [modelPath, out] = process.argv.slice(2);
const chat = (text) => "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" +
  `<|im_start|>user\n${text}<|im_end|>\n<|im_start|>assistant\n`;
const prompts = ["The capital of France is", chat("What is the capital of France?"), chat("Name three primary colors."),
  "Once upon a time, there was a little girl who"];
const text = "Water boils at 100 degrees Celsius at sea level. The Portuguese explorer Vasco da Gama reached India in 1498; his fleet had " +
  "four ships.\n\nfor (int i = 0; i < 10; i++) printf(\"%d\\n\", i);";
const rounded = (p) => +Math.log(p).toFixed(5);

const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 2});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({contextSize: 512, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
  flashAttention: false, threads: 2});
const sequence = context.getSequence();
const result = {generated: [], scored: {text, ids: model.tokenize(text, true)}};
for (const prompt of prompts) {
  await sequence.clearHistory();
  const ids = model.tokenize(prompt, true), answer = [], logProbs = [];
  for await (const {token, probabilities} of sequence.evaluateWithMetadata(ids, {probabilities: true},
    {temperature: 0, yieldEogToken: true})) {
    answer.push(token);
    logProbs.push(rounded([...probabilities.values()][0]));
    if (answer.length >= 32 || model.isEogToken(token)) break;
  }
  result.generated.push({prompt, ids, answer, log_probs: logProbs});
}
await sequence.clearHistory();
const {ids} = result.scored;
const rows = await sequence.controlledEvaluate(ids.map((id) => [id, {generateNext: {probabilities: true, options: {temperature: 0}}}]));
result.scored.log_probs = ids.slice(1).map((id, i) => rounded(rows[i].next.probabilities.get(id)));
fs.writeFileSync(out, JSON.stringify(result) + "\n");
process.exit(0);
