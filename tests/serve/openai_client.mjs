// The openai package of npm against a server whose URL is given.
import assert from "node:assert";
import OpenAI from "openai";

const client = new OpenAI({baseURL: process.argv[2], apiKey: "none", maxRetries: 0});
const models = [];
for await (const model of client.models.list()) models.push(model.id);
assert.deepEqual(models, ["small"]);

const asked = {model: "small", messages: [{role: "user", content: "the cat"}], max_tokens: 8, temperature: 0};
const whole = await client.chat.completions.create({...asked, logprobs: true, top_logprobs: 2});
assert.equal(whole.choices[0].logprobs.content.length, whole.usage.completion_tokens);
let text = "", usage = null;
for await (const part of await client.chat.completions.create({...asked, stream: true, stream_options: {include_usage: true}})) {
  text += part.choices[0]?.delta.content ?? "";
  usage = part.usage ?? usage;
}
assert.equal(text, whole.choices[0].message.content);
assert.deepEqual([usage.prompt_tokens, usage.completion_tokens], [whole.usage.prompt_tokens, whole.usage.completion_tokens]);

const completion = await client.completions.create({model: "small", prompt: "The dog", max_tokens: 4, logprobs: 1, echo: true, n: 2, seed: 3});
assert.equal(completion.choices.length, 2);
assert.ok(completion.choices[0].text.startsWith("The dog"));

const left = await client.completions.create({model: "small", prompt: "One day", max_tokens: 200, stream: true});
for await (const part of left) { assert.ok(part.choices); left.controller.abort(); break; }

await assert.rejects(client.completions.create({model: "other", prompt: "a"}), OpenAI.NotFoundError);
await assert.rejects(client.completions.create({model: "small", prompt: "a", user: "me"}), OpenAI.BadRequestError);
console.log("openai of npm: as it should be");
