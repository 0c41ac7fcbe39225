// openai-node against a running server. Prints one JSON object of what it saw; the test judges it.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: `${process.env.BANDARI_URL}/v1`,
  apiKey: process.env.BANDARI_KEY,
});
const model = "bandari-tiny";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "The weather in a city.",
      parameters: {
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
      },
    },
  },
];

const seen = {};

const whole = await client.chat.completions.create({ model, messages, temperature: 0 });
seen.whole = { text: whole.choices[0].message.content, usage: whole.usage };

const stream = await client.chat.completions.create({
  model,
  messages,
  temperature: 0,
  stream: true,
  stream_options: { include_usage: true },
});
seen.streamed = { text: "", chunks: 0, usage: null };
for await (const chunk of stream) {
  seen.streamed.chunks += 1;
  seen.streamed.text += chunk.choices[0]?.delta?.content ?? "";
  seen.streamed.usage = chunk.usage ?? seen.streamed.usage;
}

const runner = client.chat.completions.stream({ model, messages, temperature: 0 });
seen.helper = (await runner.finalChatCompletion()).choices[0].message.content;

const called = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "What is the weather in Nairobi?" }],
  tools,
  tool_choice: "required",
  temperature: 0,
});
seen.call = called.choices[0].message.tool_calls[0].function;

seen.models = [];
for await (const entry of client.models.list()) seen.models.push(entry.id);

const failures = {
  bad_request: () => client.chat.completions.create({ model, messages, temperature: 3 }),
  not_found: () => client.chat.completions.create({ model: "no-such-model", messages }),
  unauthenticated: () =>
    new OpenAI({ baseURL: client.baseURL, apiKey: "nonsense" }).models.list(),
};
seen.errors = {};
for (const [name, attempt] of Object.entries(failures)) {
  try {
    await attempt();
  } catch (error) {
    seen.errors[name] = {
      class: error.constructor.name,
      status: error.status,
      code: error.code,
      param: error.param,
    };
  }
}

const leaving = await client.chat.completions.create({
  model,
  messages: [{ role: "user", content: "Tell me a long story." }],
  stream: true,
});
for await (const chunk of leaving) {
  if (chunk.choices[0]?.delta?.content) break;
}
seen.left = true;

console.log(JSON.stringify(seen));
