// What llama.cpp accepts of a draft's greedy proposals. Usage: node race_draft.mjs MODEL.gguf DRAFT.gguf ASKED.json ANSWERED.json
// ASKED: {"gamma", "max_tokens", "prompts": [ids]}; ANSWERED: [{"ids", "looked", "accepted", "counted"}]: proposals up to the first refused one.
// The draft proposes behind what stands, and the model keeps what it writes itself. counted is what node-llama-cpp's own
// DraftSequenceTokenPredictor counts: of version 3.22.1 one proposal of a pass at most is validated, whatever the models are, and
// what it proposes behind a refused one is not what the draft writes there; so rounds are driven here.
import fs from "node:fs";
import {getLlama, LlamaLogLevel, DraftSequenceTokenPredictor} from "node-llama-cpp";

const [modelPath, draftPath, asked, answered] = process.argv.slice(2);
const {gamma, max_tokens: maxTokens, prompts} = JSON.parse(fs.readFileSync(asked, "utf8"));
const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.error, maxThreads: 1}); // its threads wait busily for each other
const exact = {contextSize: 512, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32", flashAttention: false, threads: 1};
const model = await llama.loadModel({modelPath}), draft = await llama.loadModel({modelPath: draftPath});

async function write(sequence, tokens, count, stop) {
  const ids = [];
  for await (const token of sequence.evaluate(tokens, {temperature: 0, yieldEogToken: true})) {
    ids.push(token);
    if (ids.length >= count || (stop && model.isEogToken(token))) break;
  }
  return ids;
}

async function propose(sequence, text, count) {
  await sequence.adaptStateToTokens(text.slice(0, -1), false);
  return write(sequence, text.slice(sequence.nextTokenIndex), count, false);
}

async function countRounds(sequence, prompt, ids) {
  let looked = 0, accepted = 0;
  for (let at = 1; at < ids.length; at++) { // the first token comes out of the prompt; the token behind a round is the model's
    const text = [...prompt, ...ids.slice(0, at)], room = Math.min(gamma, ids.length - at);
    for (const token of await propose(sequence, text, room)) {
      looked++;
      if (token !== ids[at]) break;
      accepted++;
      at++;
    }
  }
  return {looked, accepted};
}

const found = [];
for (const prompt of prompts) {
  const context = await model.createContext(exact), drafts = await draft.createContext({...exact, sequences: 2}); // a sequence is given back late
  const ids = await write(context.getSequence(), prompt, maxTokens, true);
  const again = await model.createContext(exact);
  const predictor = new DraftSequenceTokenPredictor(drafts.getSequence(), {minTokens: gamma, maxTokens: gamma, minConfidence: 0});
  const watched = again.getSequence({tokenPredictor: predictor});
  await write(watched, prompt, maxTokens, true);
  found.push({ids, ...await countRounds(drafts.getSequence(), prompt, ids), counted: watched.tokenPredictions});
  for (const one of [context, again, drafts]) await one.dispose();
}
fs.writeFileSync(answered, JSON.stringify(found) + "\n");
process.exit(0);
