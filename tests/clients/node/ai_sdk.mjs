// Vercel's AI SDK against a running server, in each of the three protocols that it speaks to us.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import {
  embedMany,
  generateObject,
  generateText,
  isStepCount,
  Output,
  streamObject,
  streamText,
  tool,
} from "ai";
import { z } from "zod";
import { failure, step } from "./steps.mjs";

const { BANDARI_URL, BANDARI_KEY, ACTED_URL, ACTED_KEY } = process.env;

globalThis.AI_SDK_LOG_WARNINGS = false;

function models(url, apiKey) {
  const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey });
  const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey });
  return {
    responses: (id) => openai(id),
    chat: (id) => openai.chat(id),
    messages: (id) => anthropic(id),
    embedding: (id) => openai.embedding(id),
  };
}

const real = models(BANDARI_URL, BANDARI_KEY);
const acted = models(ACTED_URL, ACTED_KEY);

const quiet = { maxRetries: 0, onError: () => {} };
const cold = { ...quiet, temperature: 0, maxOutputTokens: 300 };
const france = { ...cold, prompt: "What is the capital of France?" };
const boat = z.object({ name: z.string().max(10), masts: z.int() });
const wholeBoat = boat.extend({
  colour: z.enum(["red", "blue"]),
  crew: z.array(z.object({ name: z.string(), age: z.int() })),
});

function weather(cities) {
  return {
    get_weather: tool({
      description: "The weather in a city.",
      inputSchema: z.object({ city: z.string().max(20) }),
      execute: ({ city }) => {
        cities?.push(city);
        return `${city} is sunny`;
      },
    }),
  };
}

async function drained(result) {
  let text = "";
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") text += part.text;
    if (part.type === "error") throw part.error;
  }
  const { inputTokens, outputTokens, totalTokens } = await result.totalUsage;
  return {
    text,
    finish: await result.finishReason,
    usage: { inputTokens, outputTokens, totalTokens },
    steps: (await result.steps).length,
  };
}

for (const protocol of ["responses", "chat", "messages"]) {
  const tiny = real[protocol]("bandari-tiny");
  const actor = acted[protocol]("acted");
  const told = (name, attempt) => step(`${protocol}: ${name}`, attempt);

  await told("generate", async () => {
    const { text, finishReason, usage, response } = await generateText({ ...france, model: tiny });
    const { inputTokens, outputTokens, totalTokens } = usage;
    return {
      text,
      finish: finishReason,
      usage: { inputTokens, outputTokens, totalTokens },
      id: response.id,
    };
  });

  await told("stream", () => drained(streamText({ ...france, model: tiny })));

  await told("call", async () => {
    const { toolCalls, finishReason } = await generateText({
      ...cold,
      model: tiny,
      prompt: "What is the weather in Nairobi?",
      tools: weather(),
      toolChoice: "required",
    });
    const calls = toolCalls.map(({ toolName, input }) => ({ toolName, input }));
    return { calls, finish: finishReason };
  });

  await told("object", async () => {
    const { object } = await generateObject({
      ...cold,
      model: tiny,
      schema: boat,
      prompt: "Describe a boat.",
    });
    return object;
  });

  await told("loop", async () => {
    const cities = [];
    const result = streamText({
      model: actor,
      ...quiet,
      prompt: "What is the weather?",
      tools: weather(cities),
      stopWhen: isStepCount(3),
    });
    return { ...(await drained(result)), cities };
  });

  await told("loop without store", async () => {
    const result = await generateText({
      model: actor,
      ...quiet,
      prompt: "What is the weather?",
      tools: weather(),
      stopWhen: isStepCount(3),
      providerOptions: { openai: { store: false } },
    });
    return { text: result.text, steps: result.steps.length };
  });

  await told("streamed object", async () => {
    const result = streamObject({
      model: actor,
      ...quiet,
      schema: wholeBoat,
      prompt: "Describe a boat.",
    });
    let partial = 0;
    for await (const _ of result.partialObjectStream) partial += 1;
    return { partial, object: await result.object };
  });

  await told("output", async () => {
    const { output } = await generateText({
      model: actor,
      ...quiet,
      prompt: "Describe a boat.",
      output: Output.object({ schema: wholeBoat }),
    });
    return output;
  });

  await told("thinking", async () => {
    const result = streamText({ ...quiet, model: actor, prompt: "think" });
    return { ...(await drained(result)), thought: await result.reasoningText };
  });

  await told("break", async () => {
    const saw = { text: "", errors: [], finish: null };
    const result = streamText({ ...quiet, model: actor, prompt: "break" });
    try {
      for await (const part of result.fullStream) {
        if (part.type === "text-delta") saw.text += part.text;
        if (part.type === "error") saw.errors.push(String(part.error?.message ?? part.error));
        if (part.type === "finish") saw.finish = part.finishReason;
      }
    } catch {
      // The connection is cut after the error, so that no client takes the answer for whole.
      saw.cut = true;
    }
    return saw;
  });

  await told("not found", () =>
    failure(
      () => generateText({ ...france, model: real[protocol]("none") }),
      "statusCode",
      "isRetryable",
    ),
  );
}

await step("embeddings", async () => {
  const { embeddings, usage } = await embedMany({
    model: acted.embedding("embedded"),
    values: ["one", "three"],
    maxRetries: 0,
  });
  return { embeddings, usage };
});
