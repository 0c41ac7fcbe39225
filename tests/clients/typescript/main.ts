// Asks a running server in every protocol. Prints one JSON object of what it saw; the test judges it.
import { ask, type Schemas } from "./client.js";
import { readChat, readMessages, readResponse, readTyped } from "./reading.js";

const model = "bandari-tiny";
const question = "What is the capital of France?";
const messages: Schemas["ChatMessage"][] = [{ role: "user", content: question }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
};
const weather = "What is the weather in Nairobi?";
const deterministic = { model, temperature: 0 } as const;

/** The good answer; anything else is an error. */
function good<A extends { status: number; answer: unknown }>(answered: A): Extract<A, { status: 200 }> {
  if (answered.status !== 200) throw new Error(JSON.stringify(answered.answer));
  return answered as Extract<A, { status: 200 }>;
}

const chat = { ...deterministic, messages };
const whole = good(await ask("post", "/v1/chat/completions", undefined, chat)).answer;

const hot = { ...chat, temperature: 3 };
const refused = await ask("post", "/v1/chat/completions", undefined, hot);
if (refused.status !== 400) throw new Error(`the status is ${refused.status}`);

const first = good(
  await ask("post", "/v1/responses", undefined, { ...deterministic, input: question }),
).answer;
const second = good(
  await ask("post", "/v1/responses", undefined, {
    ...deterministic,
    store: false,
    input: [
      { role: "user", content: question },
      ...first.output, // the items of an answer are those of a request
      { role: "user", content: "And of Kenya?" },
    ],
  }),
).answer;
const stored = good(await ask("get", "/v1/responses/{id}", { id: first.id }, undefined)).answer;
const models = good(await ask("get", "/v1/models", undefined, undefined)).answer;

console.log(
  JSON.stringify({
    whole: { text: whole.choices[0]?.message.content, tokens: whole.usage.total_tokens },
    refused: refused.answer.error,
    stored: stored.output,
    second: second.status,
    models: models.data.map((entry) => entry.id),
    chat: await readChat({
      ...deterministic,
      messages,
      stream_options: { include_usage: true },
    }),
    chatCall: await readChat({
      ...deterministic,
      messages: [{ role: "user", content: weather }],
      tools: [{ type: "function", function: { name: "get_weather", parameters } }],
      tool_choice: "required",
    }),
    typed: await readTyped({
      ...deterministic,
      messages,
      stream_options: { include_usage: true },
    }),
    messages: await readMessages({
      ...deterministic,
      max_tokens: 100,
      messages: [{ role: "user", content: question }],
    }),
    messagesCall: await readMessages({
      ...deterministic,
      max_tokens: 100,
      messages: [{ role: "user", content: weather }],
      tools: [{ name: "get_weather", input_schema: parameters }],
      tool_choice: { type: "any" },
    }),
    responses: await readResponse({ ...deterministic, input: question }),
    responsesCall: await readResponse({
      ...deterministic,
      input: weather,
      tools: [{ type: "function", name: "get_weather", parameters }],
      tool_choice: "required",
    }),
  }),
);
