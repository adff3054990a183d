// Vercel's ai, with @ai-sdk/openai (responses and chats) and @ai-sdk/openai-compatible.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const baseURL = process.argv[2];
const openai = createOpenAI({ baseURL, apiKey: "none" });
const compatible = createOpenAICompatible({ name: "assistant", baseURL, apiKey: "none", supportsStructuredOutputs: true });

async function asked(model) {
  const maxRetries = 0;
  const done = {};
  const clock = tool({
    description: "Tell the time.",
    inputSchema: z.object({ zone: z.string() }),
    execute: async ({ zone }) => `noon in ${zone}`,
  });
  const messages = [{ role: "user", content: "What time is it?" }];
  const first = await generateText({ model, messages, tools: { clock }, stopWhen: stepCountIs(3), maxRetries });
  done.tool = first.text;
  messages.push(...first.response.messages, { role: "user", content: "And now?" });
  const second = streamText({ model, messages, maxRetries });
  done["second turn, streamed"] = "";
  for await (const part of second.textStream) done["second turn, streamed"] += part;
  messages.push(...(await second.response).messages, { role: "user", content: "Sure?" });
  done["third turn"] = (await generateText({ model, messages, maxRetries })).text;
  const schema = z.object({ name: z.string() });
  done.structured = (await generateObject({ model, schema, prompt: "Which city?", maxRetries })).object;
  const file = { type: "file", mediaType: "application/pdf", filename: "a.pdf", data: Buffer.from("%PDF-1.4") };
  const content = [{ type: "text", text: "Sum it up." }, file];
  done.pdf = (await generateText({ model, messages: [{ role: "user", content }], maxRetries })).text;
  return done;
}

const done = {
  responses: await asked(openai.responses("default")),
  chats: await asked(openai.chat("default")),
  compatible: await asked(compatible("default")),
};
const completion = { model: compatible.completionModel("fake-1"), prompt: "Paris is", maxRetries: 0 };
done["text completion"] = (await generateText(completion)).text;
console.log(JSON.stringify(done));
