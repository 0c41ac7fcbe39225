// openai-node with Responses and embeddings against a running server.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { failure, step } from "./steps.mjs";

const { BANDARI_URL, BANDARI_KEY, ACTED_URL, ACTED_KEY } = process.env;

const client = new OpenAI({ baseURL: `${BANDARI_URL}/v1`, apiKey: BANDARI_KEY, maxRetries: 0 });
const acted = new OpenAI({ baseURL: `${ACTED_URL}/v1`, apiKey: ACTED_KEY, maxRetries: 0 });

const france = { model: "bandari-tiny", input: "What is the capital of France?", temperature: 0 };
const weather = {
  type: "function",
  name: "get_weather",
  description: "The weather in a city.",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
};

await step("create", async () => {
  const response = await client.responses.create(france);
  const kept = await client.responses.retrieve(response.id);
  await client.responses.delete(response.id);
  const { status, output_text, usage } = response;
  const gone = await failure(() => client.responses.retrieve(response.id), "status", "code");
  return { status, output_text, usage, kept: kept.output_text, gone };
});

await step("stream", async () => {
  const saw = { text: "", types: [], numbers: [] };
  for await (const event of await client.responses.create({ ...france, stream: true })) {
    if (event.type === "response.output_text.delta") saw.text += event.delta;
    if (saw.types.at(-1) !== event.type) saw.types.push(event.type);
    saw.numbers.push(event.sequence_number);
  }
  return saw;
});

await step("helper", async () => {
  const stream = client.responses.stream(france);
  let text = "";
  stream.on("response.output_text.delta", (event) => {
    text += event.delta;
  });
  const final = await stream.finalResponse();
  return { text, output_text: final.output_text, status: final.status };
});

await step("parse", async () => {
  const boat = z.object({ name: z.string().max(10), masts: z.int() });
  const response = await client.responses.parse({
    model: "bandari-tiny",
    input: "Describe a boat.",
    max_output_tokens: 300,
    text: { format: zodTextFormat(boat, "boat") },
  });
  return response.output_parsed;
});

await step("background", async () => {
  const response = await client.responses.create({ ...france, background: true });
  const statuses = [response.status];
  let current = response;
  while (["queued", "in_progress"].includes(current.status)) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    current = await client.responses.retrieve(response.id);
    if (statuses.at(-1) !== current.status) statuses.push(current.status);
  }
  return { statuses, output_text: current.output_text };
});

await step("tools", async () => {
  const asked = { model: "acted", tools: [weather] };
  const stream = acted.responses.stream({ ...asked, input: "What is the weather?" });
  const first = await stream.finalResponse();
  const calls = first.output.filter((item) => item.type === "function_call");
  const told = await acted.responses.create({
    ...asked,
    previous_response_id: first.id,
    input: calls.map(({ call_id, arguments: written }) => ({
      type: "function_call_output",
      call_id,
      output: `${JSON.parse(written).city} is sunny`,
    })),
  });
  return {
    calls: calls.map(({ name, arguments: written }) => [name, JSON.parse(written)]),
    told: told.output_text,
  };
});

await step("break", async () => {
  const stream = await acted.responses.create({ model: "acted", input: "break", stream: true });
  return failure(async () => {
    for await (const _ of stream);
  }, "message");
});

await step("embeddings", async () => {
  const asked = { model: "embedded", input: ["one", "three"] };
  const answer = await acted.embeddings.create(asked);
  const floats = await acted.embeddings.create({ ...asked, encoding_format: "float" });
  const vectors = ({ data }) => data.map(({ embedding }) => Array.from(embedding));
  return { vectors: vectors(answer), floats: vectors(floats), usage: answer.usage };
});

await step("errors", async () => ({
  bad_request: await failure(
    () => client.responses.create({ ...france, temperature: 3 }),
    "status",
    "param",
  ),
  not_found: await failure(() => client.responses.retrieve("resp_none"), "status"),
}));
