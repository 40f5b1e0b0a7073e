// Anthropic's package for Node.
import { QUESTION, require, serve } from "./lines.mjs";

const { Anthropic } = require("@anthropic-ai/sdk");

await serve(async (baseURL, model, how) => {
  const client = new Anthropic({ baseURL: baseURL.replace(/\/v1$/, ""), apiKey: "none", maxRetries: 0, timeout: 60_000 });
  const asked = { model, messages: [{ role: "user", content: QUESTION }], max_tokens: 20 };
  const of = (message) => [message.content.map((block) => block.text).join(""), message.stop_reason];
  switch (how) {
    case "stream": {
      let said = "";
      let reason = null;
      for await (const event of await client.messages.create({ ...asked, stream: true })) {
        if (event.type === "content_block_delta") said += event.delta.text ?? "";
        if (event.type === "message_delta") reason = event.delta.stop_reason;
      }
      return [said, reason];
    }
    case "helper":
      return of(await client.messages.stream(asked).finalMessage());
    case "whole":
      return of(await client.messages.create(asked));
  }
  throw new Error(how);
});
