// openai's package for Node.
import { QUESTION, require, serve } from "./lines.mjs";

const { OpenAI } = require("openai");

await serve(async (baseURL, model, how) => {
  const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 60_000 });
  const chat = { model, messages: [{ role: "user", content: QUESTION }], max_tokens: 20 };
  const text = { model, prompt: QUESTION, max_tokens: 20 };
  const response = { model, input: QUESTION };
  const ofChat = (answer) => [answer.choices[0].message.content, answer.choices[0].finish_reason];
  let said = "";
  let finish = null;
  switch (how) {
    case "stream":
      for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
        said += chunk.choices[0]?.delta?.content ?? "";
        finish = chunk.choices[0]?.finish_reason ?? finish;
      }
      return [said, finish];
    case "helper":
      return ofChat(await client.chat.completions.stream(chat).finalChatCompletion());
    case "whole":
      return ofChat(await client.chat.completions.create(chat));
    case "text-stream":
      for await (const chunk of await client.completions.create({ ...text, stream: true })) {
        said += chunk.choices[0]?.text ?? "";
        finish = chunk.choices[0]?.finish_reason ?? finish;
      }
      return [said, finish];
    case "text-whole": {
      const { choices } = await client.completions.create(text);
      return [choices[0].text, choices[0].finish_reason];
    }
    case "responses-stream":
      for await (const event of await client.responses.create({ ...response, stream: true })) {
        if (event.type === "response.output_text.delta") said += event.delta;
        if (event.type === "response.completed") finish = event.response.status;
      }
      return [said, finish];
    case "responses-helper": {
      const final = await client.responses.stream(response).finalResponse();
      return [final.output.flatMap((item) => item.content).map((part) => part.text).join(""), final.status];
    }
    case "responses-whole": {
      const answer = await client.responses.create(response);
      return [answer.output_text, answer.status];
    }
  }
  throw new Error(how);
});
