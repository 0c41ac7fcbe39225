// A typed client: its requests, answers and events have the types that the server describes.
import type { components, paths } from "./generated/api.js";

export type Schemas = components["schemas"];

type Method = "get" | "post" | "delete";
type PathsOf<M extends Method> = {
  [Path in keyof paths]: paths[Path] extends Record<M, object> ? Path : never;
}[keyof paths];
type Operation<Path extends keyof paths, M extends Method> =
  paths[Path] extends Record<M, infer Found> ? Found : never;

type BodyOf<Found> = Found extends { requestBody: { content: { "application/json": infer Body } } }
  ? Body
  : undefined;
type ParametersOf<Found> = Found extends { parameters: { path: infer Parameters } }
  ? Parameters
  : undefined;
type JsonOf<Answer> = Answer extends { content: { "application/json": infer Json } } ? Json : never;
type AnswerOf<Found> = Found extends { responses: infer Answers }
  ? { [Status in keyof Answers]: { status: Status; answer: JsonOf<Answers[Status]> } }[keyof Answers]
  : never;
type EventOf<Found> = Found extends {
  responses: { 200: { content: { "text/event-stream": infer Event } } };
}
  ? Event
  : never;

/** The paths of which the answer to a POST may be a stream. */
type Streaming = {
  [Path in PathsOf<"post">]: [EventOf<Operation<Path, "post">>] extends [never] ? never : Path;
}[PathsOf<"post">];

export type Body<Path extends PathsOf<"post">> = BodyOf<Operation<Path, "post">>;

const url = process.env["BANDARI_URL"] ?? "http://127.0.0.1:8080";
const authorization = `Bearer ${process.env["BANDARI_API_KEY"] ?? ""}`;

async function send(method: string, path: string, body: unknown, more: Record<string, string> = {}) {
  const init: RequestInit = { method, headers: { authorization, ...more } };
  if (body !== undefined) init.body = JSON.stringify(body);
  return fetch(url + path, init);
}

function filled(path: string, parameters: object | undefined): string {
  return Object.entries(parameters ?? {}).reduce(
    (rest, [name, value]) => rest.replace(`{${name}}`, encodeURIComponent(String(value))),
    path,
  );
}

/** An answer that is not streamed, of which `status` says the type. */
export async function ask<M extends Method, Path extends PathsOf<M>>(
  method: M,
  path: Path,
  parameters: ParametersOf<Operation<Path, M>>,
  body: BodyOf<Operation<Path, M>>,
): Promise<AnswerOf<Operation<Path, M>>> {
  const response = await send(
    method.toUpperCase(),
    filled(path, parameters as object | undefined),
    body,
  );
  const answer: unknown = await response.json();
  return { status: response.status, answer } as AnswerOf<Operation<Path, M>>;
}

/**
 * Each event of a stream, as the description has it: the data of most, and of a typed stream's the
 * whole event.
 */
export async function* events<Path extends Streaming>(
  path: Path,
  body: Body<Path>,
  more: Record<string, string> = {},
): AsyncGenerator<EventOf<Operation<Path, "post">>> {
  const response = await send("POST", path, body, more);
  if (!response.ok || response.body === null) throw new Error(await response.text());
  const isWhole = path.endsWith("/stream");
  for await (const { data, ...head } of serverSentEvents(response.body)) {
    if (data === "[DONE]") return;
    const value: unknown = JSON.parse(data);
    yield (isWhole ? { ...head, data: value } : value) as EventOf<Operation<Path, "post">>;
  }
}

interface ServerSentEvent {
  event: string;
  id?: string;
  data: string;
}

/** Takes a stream apart: blocks with an empty line between them, comments left out. */
async function* serverSentEvents(
  bytes: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of bytes) {
    rest += decoder.decode(piece, { stream: true });
    const blocks = rest.split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = parsed(block);
      if (event !== undefined) yield event;
    }
  }
}

function parsed(block: string): ServerSentEvent | undefined {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    fields.set(line.slice(0, at), line.slice(at + 1).replace(/^ /, ""));
  }
  const [data, id] = [fields.get("data"), fields.get("id")];
  if (data === undefined) return undefined;
  const event = { event: fields.get("event") ?? "message", data };
  return id === undefined ? event : { ...event, id };
}
