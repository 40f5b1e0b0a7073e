// What every client's program for Node has in common: it reads lines `BASE_URL MODEL HOW`, asks, and answers each line with
// one of JSON: what the model said and why it stopped, or what the client made of it instead.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

export const QUESTION = "Where were you?";

// Of the folder with node_modules that the program was given.
export const require = createRequire(`${process.argv[2]}/package.json`);

export async function serve(ask) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [baseURL, model, how] = line.trim().split(" ");
    try {
      const [said, finish] = await ask(baseURL, model, how);
      console.log(JSON.stringify({ said, finish }));
    } catch (error) {
      console.log(JSON.stringify({ error: `${error.constructor.name}: ${error.message}` }));
    }
  }
}
