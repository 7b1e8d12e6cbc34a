"use strict";
const ms = require("ms");
const built = require("./built.json");

for (const text of process.argv.slice(2)) {
  console.log(`${text} is ${ms(text)} ms (${built.mode})`);
}
