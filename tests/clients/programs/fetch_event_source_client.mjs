// @microsoft/fetch-event-source, as its README shows it: every message's data is JSON. It is made for browsers, of which
// it needs a window and a document that is never hidden.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

const { QUESTION, require, serve } = await import("./lines.mjs");
const { fetchEventSource } = require("@microsoft/fetch-event-source");

const APIS = {
  stream: ["chat/completions", { messages: [{ role: "user", content: QUESTION }] }, (choice) => choice.delta.content],
  "text-stream": ["completions", { prompt: QUESTION }, (choice) => choice.text],
};

await serve(async (baseURL, model, how) => {
  const [path, asked, wordOf] = APIS[how];
  let said = "";
  let finish = null;
  await fetchEventSource(`${baseURL}/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, ...asked, stream: true, max_tokens: 20 }),
    onmessage({ data }) {
      if (data === "[DONE]") return;
      const choice = JSON.parse(data).choices[0];
      said += (choice && wordOf(choice)) ?? "";
      finish = choice?.finish_reason ?? finish;
    },
    onerror(error) {
      throw error; // else it asks again
    },
  });
  return [said, finish];
});
