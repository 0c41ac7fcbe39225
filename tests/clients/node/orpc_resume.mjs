// The typed stream through a network that cuts it, read by oRPC's own client with its retry plugin.
import { createORPCClient, getEventMeta } from "@orpc/client";
import { ClientRetryPlugin } from "@orpc/client/plugins";
import { eventIterator, oc } from "@orpc/contract";
import { ResponseValidationPlugin } from "@orpc/contract/plugins";
import { OpenAPILink } from "@orpc/openapi-client/fetch";
import { z } from "zod";
import { step } from "./steps.mjs";

// What to ask through which network: { step: { url, key, words } }.
const questions = JSON.parse(process.env.QUESTIONS);

const contract = {
  stream: oc
    .route({ method: "POST", path: "/chat/completions/stream" })
    .output(eventIterator(z.looseObject({ id: z.string() }), z.null())),
};

async function assembled({ url, key, words }) {
  const saw = { events: [], ids: [], retries: [] };
  const retry = new ClientRetryPlugin({
    default: {
      retry: 100,
      retryDelay: 0,
      onRetry: ({ lastEventId }) => {
        saw.retries.push(lastEventId);
      },
    },
  });
  const link = new OpenAPILink(contract, {
    url: `${url}/api/v1/llm`,
    headers: { authorization: `Bearer ${key}` },
    plugins: [retry, new ResponseValidationPlugin(contract)],
  });
  const messages = [{ role: "user", content: words }];
  const events = await createORPCClient(link).stream({ model: "acted", messages });
  while (true) {
    const { done, value } = await events.next();
    if (done) return { ...saw, returned: value };
    saw.events.push(value);
    saw.ids.push(getEventMeta(value)?.id);
  }
}

for (const [name, question] of Object.entries(questions)) {
  await step(name, () => assembled(question));
}
