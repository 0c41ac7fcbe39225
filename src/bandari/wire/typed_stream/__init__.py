"""The typed stream: oRPC's event iterator over SSE, with the chunks of Chat Completions as values.

Requests are those of Chat Completions. Answers are streams of named events with ids; errors, whole
and in-stream, have oRPC's envelope. Facts: protocols.md, section 2.
"""
