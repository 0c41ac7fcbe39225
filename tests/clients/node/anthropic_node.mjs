// Anthropic's TypeScript SDK against a running server.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { z } from "zod";
import { failure, step } from "./steps.mjs";

const { BANDARI_URL, BANDARI_KEY, ACTED_URL, ACTED_KEY } = process.env;

const client = new Anthropic({ baseURL: BANDARI_URL, apiKey: BANDARI_KEY, maxRetries: 0 });
const acted = new Anthropic({ baseURL: ACTED_URL, apiKey: ACTED_KEY, maxRetries: 0 });

const asked = (content) => [{ role: "user", content }];
const france = {
  model: "bandari-tiny",
  max_tokens: 100,
  temperature: 0,
  messages: asked("What is the capital of France?"),
};
const weather = {
  name: "get_weather",
  description: "The weather in a city.",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const nairobi = {
  ...france,
  tools: [weather],
  messages: asked("What is the weather in Nairobi?"),
};

await step("create", async () => {
  const message = await client.messages.create(france);
  return { ...message, request_id: message._request_id };
});

await step("stream", async () => {
  const stream = client.messages.stream(france);
  const saw = { text: "", types: [] };
  stream.on("text", (piece, soFar) => {
    saw.text += piece;
    saw.soFar = soFar;
  });
  stream.on("streamEvent", (event) => {
    if (saw.types.at(-1) !== event.type) saw.types.push(event.type);
  });
  saw.final = await stream.finalMessage();
  saw.finalText = await stream.finalText();
  saw.request_id = stream.request_id;
  return saw;
});

await step("raw stream", async () => {
  const events = [];
  for await (const event of await client.messages.create({ ...france, stream: true })) {
    events.push(event);
  }
  return { first: events[0], last: events.slice(-2) };
});

await step("tools", async () => {
  const stream = client.messages.stream({ ...nairobi, tool_choice: { type: "any" } });
  const saw = { pieces: 0 };
  stream.on("inputJson", (_piece, soFar) => {
    saw.pieces += 1;
    saw.input = soFar;
  });
  const message = await stream.finalMessage();
  const use = message.content.find((block) => block.type === "tool_use");
  const result = { type: "tool_result", tool_use_id: use.id, content: '{"weather": "sunny"}' };
  const told = await client.messages.create({
    ...nairobi,
    messages: [
      ...nairobi.messages,
      { role: "assistant", content: message.content },
      { role: "user", content: [result] },
    ],
  });
  return { ...saw, stop_reason: message.stop_reason, use, told };
});

await step("count", async () => {
  const { model, messages } = france;
  const counted = await client.messages.countTokens({ model, messages });
  const longer = await client.messages.countTokens({ model, messages, system: "Be brief." });
  return { counted, longer };
});

await step("models", async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model);
  return { models, one: await client.models.retrieve("bandari-tiny") };
});

await step("errors", async () => {
  const fields = ["status", "type", "requestID"];
  const stranger = new Anthropic({ baseURL: BANDARI_URL, apiKey: "nonsense", maxRetries: 0 });
  const refused = (asking, changes) =>
    failure(() => asking.messages.create({ ...france, ...changes }), ...fields);
  return {
    unauthenticated: await refused(stranger, {}),
    not_found: await refused(client, { model: "none" }),
    bad_request: await refused(client, { max_tokens: 0 }),
  };
});

await step("bearer", async () => {
  const bearer = new Anthropic({ baseURL: BANDARI_URL, authToken: BANDARI_KEY, apiKey: null });
  return (await bearer.messages.create(france)).content;
});

// What follows needs more than the model in the box can do.

const play = (content) => ({ model: "acted", max_tokens: 500, messages: asked(content) });

await step("thinking", async () => {
  const stream = acted.messages.stream({
    ...play("think"),
    thinking: { type: "enabled", budget_tokens: 100 },
  });
  let thought = "";
  stream.on("thinking", (piece) => {
    thought += piece;
  });
  const { content } = await stream.finalMessage();
  const again = await acted.messages.create({
    ...play("think"),
    messages: [...asked("think"), { role: "assistant", content }, ...asked("think again")],
  });
  return { thought, types: content.map((block) => block.type), again: again.content.at(-1) };
});

await step("break", async () => {
  const stream = acted.messages.stream(play("break"));
  let text = "";
  stream.on("text", (piece) => {
    text += piece;
  });
  return { ...(await failure(() => stream.finalMessage(), "status", "type")), text };
});

for (const streams of [false, true]) {
  await step(streams ? "runner, streamed" : "runner", async () => {
    const cities = [];
    const runner = acted.beta.messages.toolRunner({
      ...play("What is the weather?"),
      stream: streams,
      tools: [
        betaZodTool({
          name: "get_weather",
          description: "The weather in a city.",
          inputSchema: z.object({ city: z.string() }),
          run: ({ city }) => {
            cities.push(city);
            return `${city} is sunny`;
          },
        }),
      ],
    });
    const final = await runner.runUntilDone();
    return { cities, final };
  });
}

await step("leave", async () => {
  const stream = client.messages.stream({ ...france, messages: asked("Tell me a long story.") });
  for await (const event of stream) {
    if (event.type === "content_block_delta") break;
  }
  return true;
});
