// Parses an AsyncAPI document with the parser of the AsyncAPI initiative; prints its errors and its messages as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const ERROR = 0;
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const errors = diagnostics.filter((each) => each.severity === ERROR).map((each) => each.message);
const messages = document ? document.messages().all().map((each) => each.name()) : [];
console.log(JSON.stringify({ errors, messages: [...new Set(messages)] }));
