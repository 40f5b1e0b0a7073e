// openai's package for Node: BASE_URL MODEL stream|whole FOLDER-WITH-NODE_MODULES; prints what the model said.
import { createRequire } from "node:module";

const [baseURL, model, how, folder] = process.argv.slice(2);
const { OpenAI } = createRequire(`${folder}/package.json`)("openai");
const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0, timeout: 60_000 });
const asked = { model, messages: [{ role: "user", content: "Where were you?" }], max_tokens: 20 };
if (how === "stream") {
  let said = "";
  for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
    said += chunk.choices[0]?.delta?.content ?? "";
  }
  console.log(said);
} else {
  console.log((await client.chat.completions.create(asked)).choices[0].message.content);
}
