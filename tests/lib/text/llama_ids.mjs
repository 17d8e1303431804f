// Writes the ids that llama.cpp gives to texts, control tokens being text.
//
// usage: node llama_ids.mjs VOCABULARY.gguf TEXTS.json OUT.json     (npm install node-llama-cpp)
import fs from "node:fs";
import {getLlama, LlamaLogLevel} from "node-llama-cpp";

const [modelPath, texts, out] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1});
const model = await llama.loadModel({modelPath, vocabOnly: true});
const ids = JSON.parse(fs.readFileSync(texts)).map((text) => [...model.tokenize(text, false)]);
fs.writeFileSync(out, JSON.stringify({release: llama.llamaCppRelease?.release ?? null, ids}));
process.exit(0);
