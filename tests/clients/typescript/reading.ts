// What each protocol's stream adds up to. Every event type that is described has its case: a new one
// does not compile until it is handled.
import { events, type Body, type Schemas } from "./client.js";

export interface Read {
  text: string;
  calls: { name: string; arguments: string }[];
  tokens: number;
  /** How many there were of each type of event. */
  seen: Record<string, number>;
  ended: string;
}

const nothing = (): Read => ({ text: "", calls: [], tokens: 0, seen: {}, ended: "" });

function unexpected(value: never): never {
  throw new Error(`unexpected: ${JSON.stringify(value)}`);
}

function addChunk(read: Read, chunk: Schemas["ChatCompletionChunk"]): void {
  read.tokens = chunk.usage?.total_tokens ?? read.tokens;
  for (const choice of chunk.choices) {
    read.text += choice.delta.content ?? "";
    for (const piece of choice.delta.tool_calls ?? []) {
      const call = (read.calls[piece.index] ??= { name: "", arguments: "" });
      call.name += piece.function.name ?? "";
      call.arguments += piece.function.arguments ?? "";
    }
    read.ended = choice.finish_reason ?? read.ended;
  }
}

function count(read: Read, type: string): void {
  read.seen[type] = (read.seen[type] ?? 0) + 1;
}

export async function readChat(body: Body<"/v1/chat/completions">): Promise<Read> {
  const read = nothing();
  for await (const chunk of events("/v1/chat/completions", { ...body, stream: true })) {
    count(read, chunk.object);
    addChunk(read, chunk);
  }
  return read;
}

export async function readTyped(
  body: Body<"/api/v1/llm/chat/completions/stream">,
): Promise<Read> {
  const read = nothing();
  let next = 0;
  for await (const event of events("/api/v1/llm/chat/completions/stream", body)) {
    count(read, event.event);
    switch (event.event) {
      case "message":
        if (Number(event.id) !== next++) throw new Error(`an id is ${event.id}`);
        addChunk(read, event.data);
        break;
      case "error":
        throw new Error(`${event.data.code}: ${event.data.data.code}`);
      case "done":
        return read;
      default:
        unexpected(event);
    }
  }
  throw new Error("the stream was cut");
}

export async function readMessages(body: Schemas["MessagesRequest"]): Promise<Read> {
  const read = nothing();
  const version = { "anthropic-version": "2023-06-01" };
  for await (const event of events("/v1/messages", { ...body, stream: true }, version)) {
    if ("object" in event) throw new Error("a chunk where Anthropic's events were asked for");
    count(read, event.type);
    switch (event.type) {
      case "message_start":
        read.tokens = event.message.usage.input_tokens;
        break;
      case "content_block_start":
        addBlock(read, event.content_block);
        break;
      case "content_block_delta":
        addDelta(read, event.delta);
        break;
      case "message_delta":
        read.ended = event.delta.stop_reason;
        read.tokens = whole(event.usage);
        break;
      case "content_block_stop":
      case "ping":
        break;
      case "error":
        throw new Error(event.error.type);
      case "message_stop":
        return read;
      default:
        unexpected(event);
    }
  }
  throw new Error("the stream was cut");
}

function whole(usage: Schemas["MessagesUsage"]): number {
  return (
    usage.input_tokens +
    usage.cache_creation_input_tokens +
    usage.cache_read_input_tokens +
    usage.output_tokens
  );
}

function addBlock(read: Read, block: Schemas["AnswerBlock"]): void {
  switch (block.type) {
    case "text":
      read.text += block.text;
      break;
    case "tool_use":
      read.calls.push({ name: block.name, arguments: "" });
      break;
    case "thinking":
    case "redacted_thinking":
      break;
    default:
      unexpected(block);
  }
}

function addDelta(read: Read, delta: Schemas["BlockDelta"]): void {
  switch (delta.type) {
    case "text_delta":
      read.text += delta.text;
      break;
    case "input_json_delta": {
      const call = read.calls.at(-1);
      if (call !== undefined) call.arguments += delta.partial_json;
      break;
    }
    case "thinking_delta":
    case "signature_delta":
      break;
    default:
      unexpected(delta);
  }
}

export async function readResponse(body: Schemas["ResponsesRequest"]): Promise<Read> {
  const read = nothing();
  let next = 0;
  for await (const event of events("/v1/responses", { ...body, stream: true })) {
    count(read, event.type);
    if (event.sequence_number !== next++) throw new Error(`a number is ${event.sequence_number}`);
    switch (event.type) {
      case "response.output_text.delta":
        read.text += event.delta;
        break;
      case "response.output_item.done":
        if (event.item.type === "function_call") {
          read.calls.push({ name: event.item.name, arguments: event.item.arguments });
        }
        break;
      case "response.completed":
      case "response.incomplete":
        read.ended = event.response.status;
        read.tokens = event.response.usage.total_tokens;
        return read;
      case "response.failed":
        throw new Error(event.response.error?.message);
      case "error":
        throw new Error(event.error.code);
      case "response.created":
      case "response.queued":
      case "response.in_progress":
      case "response.output_item.added":
      case "response.content_part.added":
      case "response.content_part.done":
      case "response.output_text.done":
      case "response.refusal.delta":
      case "response.refusal.done":
      case "response.function_call_arguments.delta":
      case "response.function_call_arguments.done":
      case "response.reasoning_summary_part.added":
      case "response.reasoning_summary_part.done":
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_summary_text.done":
        break;
      default:
        unexpected(event);
    }
  }
  throw new Error("the stream was cut");
}
