// openai-node: chats, responses, tools, structured output, stored responses.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const model = "default";
const text = "What is the capital of France?";
const messages = [{ role: "user", content: text }];
const City = z.object({ name: z.string() });
const done = {};

done.chat = (await client.chat.completions.create({ model, messages })).choices[0].message.content;
done["chat stream"] = await client.chat.completions.stream({ model, messages }).finalContent();
const clock = { function: () => "noon", description: "Tell the time.", parameters: { type: "object", properties: {} }, name: "clock" };
const runner = client.chat.completions.runTools({ model, messages, tools: [{ type: "function", function: clock }] });
done["chat tool"] = await runner.finalContent();
const form = { model, messages, response_format: zodResponseFormat(City, "city") };
done["chat structured"] = (await client.chat.completions.parse(form)).choices[0].message.parsed;

const first = await client.responses.create({ model, input: text });
done.response = first.output_text;
const stream = client.responses.stream({ model, input: "And now?", previous_response_id: first.id });
done["second turn, streamed"] = (await stream.finalResponse()).output_text;
const { function: _, ...named } = clock;
const tools = [{ type: "function", strict: false, ...named }];
const called = await client.responses.create({ model, input: text, tools });
const result = { type: "function_call_output", call_id: called.output[0].call_id, output: "noon" };
const input = [...messages, ...called.output, result];
done.tool = (await client.responses.create({ model, input, tools })).output_text;
done.structured = (await client.responses.parse({ model, input: text, text: { format: zodTextFormat(City, "city") } })).output_parsed;
done.stored = (await client.responses.retrieve(first.id)).output_text;
done["input items"] = (await client.responses.inputItems.list(first.id)).data.map((item) => item.type);
console.log(JSON.stringify(done));
