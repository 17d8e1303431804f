// Continues texts with llama.cpp, greedily. Usage: node llama.mjs MODEL.gguf ASKED.json ANSWERED.json   (npm install node-llama-cpp)
// ASKED: {"max_tokens", "prompts": [text]}; ANSWERED: [{"prompt": ids, "ids"}]. Keys and values are F32, as ours are.
import fs from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [modelPath, asked, answered] = process.argv.slice(2);
const {max_tokens: maxTokens, prompts} = JSON.parse(fs.readFileSync(asked, "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1}); // its threads wait busily for each other
const model = await llama.loadModel({modelPath});
const context = await model.createContext({contextSize: 512, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32",
  flashAttention: false, threads: 1});
const sequence = context.getSequence();
const found = [];
for (const text of prompts) {
  await sequence.clearHistory();
  const prompt = model.tokenize(text, true), ids = [];
  for await (const token of sequence.evaluate(prompt, {temperature: 0, yieldEogToken: true})) {
    ids.push(token);
    if (ids.length >= maxTokens || model.isEogToken(token)) break;
  }
  found.push({prompt, ids});
}
fs.writeFileSync(answered, JSON.stringify(found) + "\n");
process.exit(0);
