// Every line that is marked must not compile, and no other.
import { ask, events, type Schemas } from "./client.js";

const messages: Schemas["ChatMessage"][] = [{ role: "user", content: "Hi" }];
const body = { model: "bandari-tiny", messages };
const items = { model: "bandari-tiny", input: "Hi" };

await ask("post", "/v1/chat/completions", undefined, { ...body, temprature: 1 }); // wrong
await ask("post", "/v1/chat/completions", undefined, { messages }); // wrong
await ask("post", "/v1/chat/completions", undefined, { ...body, tool_choice: "always" }); // wrong
await ask("post", "/v1/chat/completion", undefined, body); // wrong
await ask("get", "/v1/chat/completions", undefined, body); // wrong
await ask("get", "/v1/responses/{id}", { name: "x" }, undefined); // wrong
await ask("post", "/v1/responses", undefined, { ...items, input: [{ type: "massage" }] }); // wrong
await ask("post", "/v1/embeddings", undefined, { ...items, input: [{ text: "Hi" }] }); // wrong

const answered = await ask("post", "/v1/chat/completions", undefined, body);
if (answered.status === 200) {
  answered.answer.choices[0]?.message.text; // wrong
} else {
  answered.answer.error.reason; // wrong
}
if (answered.status === 418) throw new Error(); // wrong

for await (const chunk of events("/v1/chat/completions", body)) {
  chunk.choices[0]?.message; // wrong
}
for await (const event of events("/api/v1/llm/chat/completions/stream", body)) {
  if (event.event === "done") event.data.choices; // wrong
  if (event.event === "close") break; // wrong
}
for await (const event of events("/v1/responses", items)) {
  if (event.type === "response.output_text.delta") event.text; // wrong
  if (event.type === "response.done") break; // wrong
}
for await (const event of events("/v1/messages", { ...body, max_tokens: 5 })) {
  if ("object" in event) continue;
  if (event.type === "content_block_delta") event.delta.text; // wrong
}
events("/v1/models", body); // wrong
