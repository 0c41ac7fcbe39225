// The typed stream, read by oRPC's own client with a contract that checks every event.
import { createORPCClient, getEventMeta, ORPCError } from "@orpc/client";
import { eventIterator, oc } from "@orpc/contract";
import { ResponseValidationPlugin } from "@orpc/contract/plugins";
import { OpenAPILink } from "@orpc/openapi-client/fetch";
import { z } from "zod";
import { step } from "./steps.mjs";

const { BANDARI_URL, BANDARI_KEY, ACTED_URL, ACTED_KEY } = process.env;

const chunk = z.looseObject({
  id: z.string(),
  object: z.literal("chat.completion.chunk"),
  created: z.int(),
  model: z.string(),
  choices: z.array(
    z.looseObject({
      index: z.int(),
      delta: z.looseObject({ content: z.string().nullish() }),
      finish_reason: z.enum(["stop", "length", "tool_calls", "content_filter"]).nullable(),
    }),
  ),
});
const contract = {
  stream: oc
    .route({ method: "POST", path: "/chat/completions/stream" })
    .output(eventIterator(chunk, z.null())),
};

let comments = 0;

async function countingFetch(request, init) {
  const response = await fetch(request, init);
  if (!response.body) return response;
  const decoder = new TextDecoder();
  const counting = new TransformStream({
    transform(bytes, controller) {
      comments += decoder.decode(bytes, { stream: true }).split(/^: ?$/m).length - 1;
      controller.enqueue(bytes);
    },
  });
  return new Response(response.body.pipeThrough(counting), response);
}

function client(url, key) {
  const link = new OpenAPILink(contract, {
    url: `${url}/api/v1/llm`,
    headers: { authorization: `Bearer ${key}` },
    fetch: countingFetch,
    plugins: [new ResponseValidationPlugin(contract)],
  });
  return createORPCClient(link);
}

const bandari = client(BANDARI_URL, BANDARI_KEY);
const france = {
  model: "bandari-tiny",
  messages: [{ role: "user", content: "What is the capital of France?" }],
  temperature: 0,
};

async function read(events) {
  const saw = { text: "", ids: [], last: null };
  try {
    while (true) {
      const { done, value } = await events.next();
      if (done) return { ...saw, returned: value };
      saw.text += value.choices[0]?.delta.content ?? "";
      saw.ids.push(getEventMeta(value)?.id);
      saw.last = value;
    }
  } catch (error) {
    return { ...saw, error: told(error) };
  }
}

function told(error) {
  const { defined, code, status, message, data } = error;
  const name = error instanceof ORPCError ? "ORPCError" : error.constructor.name;
  return { class: name, defined, code, status, message, data };
}

const refused = (asking) => asking.then(() => null, told);

await step("answer", async () =>
  read(await bandari.stream({ ...france, stream_options: { include_usage: true } })),
);
await step("wrong key", () => refused(client(BANDARI_URL, "nonsense").stream(france)));
await step("bad request", () => refused(bandari.stream({ ...france, temperature: 9 })));
await step("no such model", () => refused(bandari.stream({ ...france, model: "none" })));

const acted = client(ACTED_URL, ACTED_KEY);
const asked = (words) => ({ model: "acted", messages: [{ role: "user", content: words }] });

await step("pause", async () => {
  comments = 0;
  const saw = await read(await acted.stream(asked("pause")));
  return { ...saw, comments };
});
await step("break", async () => read(await acted.stream(asked("break"))));
await step("leave", async () => {
  const messages = [{ role: "user", content: "Tell me a long story." }];
  const events = await bandari.stream({ ...france, messages });
  const first = await events.next();
  await events.return();
  return { done: first.done, after: (await events.next()).done };
});
